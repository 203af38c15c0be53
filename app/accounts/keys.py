"""API keys: made, checked, revoked. The key itself is shown once and never stored; its SHA-256 is its `_id`.

In: keys as requests carry them. Out: who is calling, or nobody; a note of each change in the audit log. A key has 256
random bits, so a fast hash is enough and a look-up by the hash tells an attacker nothing through its timing.
May import: audit, stores.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from pymongo import DESCENDING, IndexModel

from app.accounts.audit import SYSTEM, AuditLog, Author
from app.stores import Database, Session, transact

__all__ = ["KEYS", "KEY_INDEXES", "ApiKey", "KeyRing", "hash_key", "make_key"]

KEYS = "api_keys"
KEY_INDEXES = [IndexModel([("created", DESCENDING), ("_id", DESCENDING)])]
KEY_MARK = "blk_"  # so that a leaked key is recognised by people and scanners
PREFIX_CHARACTERS = 8
CACHE_S = 1.0  # a revoked key is refused everywhere within this time
CACHE_MAX = 1_000
LIST_MAX = 1_000


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as stored: `id` is its SHA-256 in hex, `created` and `revoked` Unix seconds."""

    id: str
    name: str
    prefix: str
    created: int
    revoked: int | None = None


def make_key(token: Callable[[int], str]) -> str:
    """A new key; `token` is `secrets.token_urlsafe`."""
    return KEY_MARK + token(32)


def hash_key(key: str) -> str:
    """What is stored of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


class KeyRing:
    """The keys of one database. `monotonic` and `now_s` are clocks in seconds."""

    def __init__(
        self, database: Database, audit: AuditLog, *, monotonic: Callable[[], float], now_s: Callable[[], int]
    ) -> None:
        self._database = database
        self._audit = audit
        self._keys = database[KEYS]
        self._monotonic = monotonic
        self._now_s = now_s
        self._known: dict[str, tuple[float, ApiKey]] = {}
        self._flights: dict[str, asyncio.Task[ApiKey | None]] = {}

    @property
    def known_count(self) -> int:
        """How many keys are remembered."""
        return len(self._known)

    def recall(self, key: str) -> ApiKey | None:
        """Whose key this is, if it was found within CACHE_S; else None, and it is forgotten."""
        digest = hash_key(key)
        until, found = self._known.get(digest, (0.0, None))
        if found is not None and self._monotonic() < until:
            return found
        self._known.pop(digest, None)
        return None

    async def find(self, key: str, admit: Callable[[], Awaitable[Any]] | None = None) -> ApiKey | None:
        """Whose key this is; None for an unknown or revoked one. Known keys are remembered for CACHE_S.

        The same key is looked up once for all who ask at the same time. `admit` is awaited before that; what it raises
        is raised to all of them.
        """
        found = self.recall(key)
        if found is not None:
            return found
        digest = hash_key(key)
        flight = self._flights.get(digest)
        if flight is None:
            flight = self._flights[digest] = asyncio.create_task(self._look_up(digest, admit))
            flight.add_done_callback(lambda _: self._flights.pop(digest))
        return await asyncio.shield(flight)

    async def _look_up(self, digest: str, admit: Callable[[], Awaitable[Any]] | None) -> ApiKey | None:
        if admit is not None:
            await admit()
        row = await self._keys.find_one({"_id": digest, "revoked": None})
        if row is None:
            return None
        found = _from_row(row)
        if len(self._known) >= CACHE_MAX:
            self._known.clear()
        self._known[digest] = (self._monotonic() + CACHE_S, found)
        return found

    async def add(self, key: str, name: str, author: Author = SYSTEM) -> ApiKey:
        """Stores a key; one that is known stays as it is, so a revoked key is never given life again."""
        digest = hash_key(key)
        fields = {"name": name, "prefix": key[:PREFIX_CHARACTERS], "created": self._now_s(), "revoked": None}
        note = self._audit.note(author, "key.create", f"key:{digest}", new={"name": name})

        async def work(session: Session) -> None:
            query, update = {"_id": digest}, {"$setOnInsert": fields}
            result = await self._keys.update_one(query, update, upsert=True, session=session)
            if result.upserted_id is not None:
                await self._audit.write([note], session)

        await transact(self._database, work)
        row = await self._keys.find_one({"_id": digest})
        assert row is not None
        return _from_row(row)

    async def list(self) -> list[ApiKey]:
        """All keys, the newest first, revoked ones included; at most LIST_MAX."""
        rows = self._keys.find().sort([("created", DESCENDING), ("_id", DESCENDING)]).limit(LIST_MAX)
        return [_from_row(row) async for row in rows]

    async def revoke(self, digest: str, author: Author = SYSTEM) -> bool:
        """Ends a key by its id; False when there is no such living key."""
        self._known.pop(digest, None)
        note = self._audit.note(author, "key.revoke", f"key:{digest}")

        async def work(session: Session) -> bool:
            query, update = {"_id": digest, "revoked": None}, {"$set": {"revoked": self._now_s()}}
            if not (await self._keys.update_one(query, update, session=session)).modified_count:
                return False
            await self._audit.write([note], session)
            return True

        return await transact(self._database, work)


def _from_row(row: Mapping[str, Any]) -> ApiKey:
    return msgspec.convert({**row, "id": row["_id"]}, ApiKey)
