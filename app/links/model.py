"""What a link is: its fields, its states, and the part of it that a redirect needs.

In: rows of MongoDB and bodies of requests. Out: typed links. Pure. May import: msgspec.
None of them can be part of a cycle, so the collector need not look at them (`gc=False`): there are many at a time.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec

from app.links.branches import Rule, Variant

__all__ = ["Broken", "Cached", "CachedLink", "Link", "LinkState", "StoredLink", "join_key", "short_url", "split_key"]


class LinkState(StrEnum):
    """Only an active link redirects; a deleted one is kept as a tombstone, so that versions never fall."""

    ACTIVE = "active"
    DISABLED = "disabled"
    BANNED = "banned"
    DELETED = "deleted"


def join_key(domain: str, slug: str) -> str:
    """`domain/slug`: the links' `_id`; the default domain is empty."""
    return f"{domain}/{slug}"


def split_key(key: str) -> tuple[str, str]:
    """(domain, slug) of a key."""
    domain, _, slug = key.partition("/")
    return domain, slug


def short_url(key: str, public_url: str) -> str:
    """Where a link is followed; a further domain is reached by the scheme and port of the default one."""
    name, slug = split_key(key)
    if not name:
        return f"{public_url}/{slug}"
    scheme, _, authority = public_url.partition("://")
    port = authority.rpartition("]")[2].partition(":")[2]
    return f"{scheme}://{name}{f':{port}' if port else ''}/{slug}"


class CachedLink(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a redirect needs of a link. Times are Unix seconds, targets visible ASCII, `password` a hash or b""."""

    link: int
    state: str
    target: str
    code: int = 302
    starts: int | None = None
    expires: int | None = None
    max_visits: int | None = None
    password: bytes = b""
    forward_query: bool = False
    forward_path: bool = False
    rules: tuple[Rule, ...] = ()
    variants: tuple[Variant, ...] = ()


class Cached(msgspec.Struct, frozen=True, gc=False):
    """What a store says of a key: a link, an absence (version 0) or a tombstone (`is_deleted`)."""

    version: int
    entry: CachedLink | None = None
    is_deleted: bool = False


class StoredLink(msgspec.Struct, kw_only=True, gc=False):
    """What MongoDB holds of a link for redirects. Times are Unix seconds.

    `link` is its 63-bit id, made with it and never used again. `version` never falls for a key, not even when a slug is
    deleted and taken again: max(old + 1, now in ms).
    """

    link: int
    target: str
    version: int
    state: LinkState = LinkState.ACTIVE
    starts: int | None = None
    expires: int | None = None
    max_visits: int | None = None
    password_hash: bytes | None = None
    code: int = 302
    rules: tuple[Rule, ...] = ()
    variants: tuple[Variant, ...] = ()
    forward_query: bool = False
    forward_path: bool = False

    def cached(self) -> Cached:
        """What redirects need, or the tombstone of a deleted link."""
        if self.state is LinkState.DELETED:
            return Cached(self.version, None, is_deleted=True)
        return Cached(
            self.version,
            CachedLink(
                link=self.link,
                state=self.state.value,
                target=self.target,
                code=self.code,
                starts=self.starts,
                expires=self.expires,
                max_visits=self.max_visits,
                password=self.password_hash or b"",
                forward_query=self.forward_query,
                forward_path=self.forward_path,
                rules=self.rules,
                variants=self.variants,
            ),
        )


class Broken(msgspec.Struct, frozen=True, gc=False):
    """That a link's page is gone: since when (Unix seconds), and what was found there instead."""

    since: int
    reason: str

    def told(self) -> dict[str, Any]:
        """As the API and the audit log show it."""
        return {"since": datetime.fromtimestamp(self.since, UTC), "reason": self.reason}


class Link(StoredLink, kw_only=True, omit_defaults=True, gc=False):
    """One link with everything that is known of it; encoded, it leaves out what is as by default.

    Attributes:
        deleted: when it was, Unix seconds.
        broken: that its target's page is gone (`app.checks`); None while nothing is known against it.
        is_only: of a draft: no other one of the same wish shall be made beside it. Not stored.
    """

    domain: str
    slug: str
    owner: str = ""
    tags: list[str] = []
    title: str = ""
    notes: str = ""
    created: int = 0
    visits: int = 0
    clicks: int = 0
    deleted: int | None = None
    broken: Broken | None = None
    is_only: bool = False

    @property
    def key(self) -> str:
        """The link's `_id`."""
        return join_key(self.domain, self.slug)
