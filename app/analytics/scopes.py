"""Sums over many links: of all, of a domain, of a user, of a tag. Statistics of them cost what those of one link cost.

In: a batch's parts of links. Out: its parts of scopes, which the ledger stores in the same transaction; so a click is
in each of its scopes exactly when it is in its link.

    a scope's id   bit 63, and 63 bits of a hash of its kind and name; links' ids have no bit 63
    clicks_sum     one document per scope, day and batch: `_id` = scope, day, source and position; written once and
                   never again, so aggregators never meet in it. Rollup moves them within seconds into days and months

A click belongs to the domain, user and tags that its link has when it is counted, as far as REMEMBERED_S knows; what a
link gets later does not change what was. Clicks of nobody's slugs are in no scope. May import: links, stores.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from app.analytics.bucket import NO_LINK_ID, Bucket, BucketKey, Delta, signed
from app.links import LINKS, split_key
from app.stores import Database

__all__ = ["ALL", "CLICKS_SUM", "ScopeBook", "add_delta", "scope_id", "sum_documents"]

CLICKS_SUM = "clicks_sum"
REMEMBERED_S = 60.0
KNOWN_MAX = 100_000  # links whose scopes are remembered, 14 MB; then all are forgotten
_SIGN = 1 << 63
_Scopes = tuple[int, ...]


def scope_id(kind: str, name: str = "") -> int:
    """The id of the sum over all links, or over those of a domain, user or tag of that name."""
    digest = hashlib.blake2b(f"{kind}:{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") | _SIGN


ALL = scope_id("all")


class ScopeBook:
    """Knows for a while which scopes a link belongs to. `monotonic` is a clock in seconds."""

    def __init__(self, database: Database, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._links = database[LINKS]
        self._monotonic = monotonic
        self._known: dict[int, tuple[float, _Scopes]] = {}

    async def sums(self, deltas: Mapping[BucketKey, Delta]) -> dict[BucketKey, Delta]:
        """The parts of scopes that the parts of links make; raises PyMongoError."""
        scopes = await self._scopes_of({link for link, _ in deltas if link != NO_LINK_ID})
        groups: dict[tuple[_Scopes, int], Delta] = {}  # most links share theirs: each part is added once, not thrice
        for (link, day), delta in deltas.items():
            if link != NO_LINK_ID:
                add_delta(groups.setdefault((scopes[link], day), Delta()), delta)
        sums: dict[BucketKey, Delta] = {}
        for (wanted, day), delta in groups.items():
            delta.dims.pop("variant", None)  # a number that means something else with every link
            for scope in wanted:
                add_delta(sums.setdefault((scope, day), Delta()), delta)
        return sums

    async def _scopes_of(self, links: Iterable[int]) -> dict[int, _Scopes]:
        now_s = self._monotonic()
        found: dict[int, _Scopes] = {}
        unknown = []
        for link in links:
            expires_s, scopes = self._known.get(link, (0.0, ()))
            if expires_s > now_s:
                found[link] = scopes
            else:
                unknown.append(link)
        if unknown:
            fresh = dict.fromkeys(unknown, (ALL,)) | await self._read(unknown)
            if len(self._known) + len(fresh) > KNOWN_MAX:
                self._known.clear()
            until_s = now_s + REMEMBERED_S
            shared: dict[_Scopes, tuple[float, _Scopes]] = {}
            for link, scopes in fresh.items():
                self._known[link] = shared.setdefault(scopes, (until_s, scopes))
            found |= fresh
        return found

    async def _read(self, links: list[int]) -> dict[int, _Scopes]:
        query = {"link": {"$in": [signed(link) for link in links]}}
        return {
            row["link"]: scopes_of(row) async for row in self._links.find(query, {"link": 1, "owner": 1, "tags": 1})
        }


def scopes_of(row: Mapping[str, Any]) -> _Scopes:
    """The scopes of a stored link, deleted or not."""
    domain, _ = split_key(row["_id"])
    tags = (scope_id("tag", tag) for tag in row.get("tags", ()))
    return (ALL, scope_id("domain", domain), scope_id("user", row.get("owner", "")), *tags)


def add_delta(into: Delta, part: Delta) -> None:
    """Adds a part to a sum, whatever fields a part has."""
    for name in Delta.__slots__:
        value = getattr(part, name)
        if not value:
            continue
        if isinstance(value, int):
            setattr(into, name, getattr(into, name) + value)
        elif isinstance(value, bytearray):
            getattr(into, name).extend(value)
        else:
            _add_counts(getattr(into, name), value)


def _add_counts(into: dict[Any, Any], part: Mapping[Any, Any]) -> None:
    for key, value in part.items():
        if isinstance(value, int):
            into[key] = into.get(key, 0) + value
        else:
            _add_counts(into.setdefault(key, {}), value)


def sum_documents(sums: Mapping[BucketKey, Delta], source: str, begin: int) -> list[dict[str, Any]]:
    """The documents of a batch that begins at `begin` in its source."""
    documents = []
    for key, delta in sums.items():
        bucket = Bucket()
        bucket.add(delta)
        bucket.rev = 1
        documents.append(bucket.document(key, f"{source}-{begin:x}"))
    return documents
