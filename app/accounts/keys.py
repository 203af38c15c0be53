"""API keys: made, checked, used, revoked. The key itself is shown once and never stored; its SHA-256 is its `_id`.

In: keys as requests carry them. Out: who is calling, or nobody; a note of each change in the audit log. A key has 256
random bits, so a fast hash is enough and a look-up by the hash tells an attacker nothing through its timing.
A key that was stored without scopes is from before there were any, and has all rights. When a key was used is written
behind a request, once in USED_S. May import: audit, callers, stores.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec
from pymongo import DESCENDING, IndexModel
from pymongo.errors import PyMongoError

from app.accounts.audit import SYSTEM, AuditLog, Author
from app.accounts.callers import Bounds, Caller, Scope
from app.stores import Database, Session, transact

__all__ = ["KEYS", "KEY_INDEXES", "ApiKey", "KeyRing", "hash_key", "make_key"]

KEYS = "api_keys"
KEY_INDEXES = [IndexModel([("created", DESCENDING), ("_id", DESCENDING)])]
KEY_MARK = "blk_"  # so that a leaked key is recognised by people and scanners
PREFIX_CHARACTERS = 8
CACHE_S = 1.0  # a revoked key is refused everywhere within this time
CACHE_MAX = 1_000
PROVEN_MAX = 10_000  # 1 MB
USED_S = 60  # `used` is as exact as this


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as stored: `id` is its SHA-256 in hex; all times are Unix seconds, `used` to the minute.

    `domain`, `tag` and `own` narrow its rights, as `Bounds` says.
    """

    id: str
    name: str
    prefix: str
    created: int
    revoked: int | None = None
    scopes: tuple[Scope, ...] = (Scope.ADMIN,)
    domain: str | None = None
    tag: str = ""
    own: bool = False
    expires: int | None = None
    used: int | None = None

    def caller(self) -> Caller:
        """Who calls with it."""
        bounds = Bounds(domain=self.domain, tag=self.tag, owner=self.id if self.own else "")
        scopes = frozenset(self.scopes)
        return Caller(who=f"key:{self.id}", owner=self.id, scopes=scopes, bounds=bounds, expires=self.expires)


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
        self._proven: dict[str, None] = {}  # keys that were right when they were last looked up, the oldest first
        self._flights: dict[str, asyncio.Task[ApiKey | None]] = {}
        self._noted: dict[str, int] = {}  # when a key's use was last written from here
        self._writing: set[asyncio.Task[None]] = set()

    @property
    def known_count(self) -> int:
        """How many keys are remembered."""
        return len(self._known)

    def recall(self, key: str) -> ApiKey | None:
        """Whose key this is, if it was found within CACHE_S; else None, and it is forgotten."""
        digest = hash_key(key)
        until, found = self._known.get(digest, (0.0, None))
        if found is not None and self._monotonic() < until and self._is_in_time(found):
            return found
        self._known.pop(digest, None)
        return None

    async def find(self, key: str, admit: Callable[[], Awaitable[Any]] | None = None) -> ApiKey | None:
        """Whose key this is; None for an unknown, revoked or expired one. Known keys are remembered for CACHE_S.

        The same key is looked up once for all who ask at the same time. `admit` is awaited before that, unless it was
        right before: who guesses beside it locks nobody out. What it raises is raised to all of them.
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
        if admit is not None and digest not in self._proven:
            await admit()
        row = await self._keys.find_one({"_id": digest, "revoked": None})
        found = None if row is None else _from_row(row)
        if found is None or not self._is_in_time(found):
            self._proven.pop(digest, None)
            return None
        self._proven[digest] = None
        if len(self._proven) > PROVEN_MAX:
            del self._proven[next(iter(self._proven))]
        if len(self._known) >= CACHE_MAX:
            self._known.clear()
        self._known[digest] = (self._monotonic() + CACHE_S, found)
        return found

    def _is_in_time(self, key: ApiKey) -> bool:
        return key.expires is None or self._now_s() < key.expires

    def note_use(self, key: ApiKey) -> None:
        """Has it written that a key is used now, unless it was within USED_S; nobody waits for it."""
        now_s = self._now_s()
        if now_s - max(key.used or 0, self._noted.get(key.id, 0)) < USED_S:
            return
        if len(self._noted) >= CACHE_MAX:
            self._noted.clear()
        self._noted[key.id] = now_s
        task = asyncio.get_running_loop().create_task(self._write_use(key.id, now_s))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _write_use(self, digest: str, now_s: int) -> None:
        is_older = [{"used": None}, {"used": {"$lte": now_s - USED_S}}]
        with suppress(PyMongoError):  # the next use is written
            await self._keys.update_one({"_id": digest, "$or": is_older}, {"$set": {"used": now_s}})

    async def add(self, key: str, name: str, author: Author = SYSTEM, **rights: Any) -> ApiKey:
        """Stores a key; one that is known stays as it is, so a revoked key is never given life again.

        Args:
            rights: `scopes` (all rights by default), `domain`, `tag`, `own`, `expires`, as `ApiKey` has them.
        """
        digest = hash_key(key)
        made = ApiKey(id=digest, name=name, prefix=key[:PREFIX_CHARACTERS], created=self._now_s(), **rights)
        fields = msgspec.to_builtins(made)
        del fields["id"]
        new = {"name": name, **msgspec.to_builtins(rights)}
        note = self._audit.note(author, "key.create", f"key:{digest}", new=new)

        async def work(session: Session) -> None:
            query, update = {"_id": digest}, {"$setOnInsert": fields}
            result = await self._keys.update_one(query, update, upsert=True, session=session)
            if result.upserted_id is not None:
                await self._audit.write([note], session)

        await transact(self._database, work)
        row = await self._keys.find_one({"_id": digest})
        assert row is not None
        return _from_row(row)

    async def page(self, limit: int, after: str = "") -> tuple[list[ApiKey], str | None]:
        """Keys, the newest first, revoked ones included, and where the next page begins; None at the end.

        `after` is such a place: the id of a key, which is never removed. Raises LookupError where there is none.
        """
        query: dict[str, Any] = {}
        if after:
            last = await self._keys.find_one({"_id": after}, {"created": 1})
            if last is None:
                raise LookupError(after)
            older = {"created": {"$lt": last["created"]}}
            query = {"$or": [older, {"created": last["created"], "_id": {"$lt": after}}]}
        found = self._keys.find(query).sort([("created", DESCENDING), ("_id", DESCENDING)]).limit(limit + 1)
        keys = [_from_row(row) async for row in found]
        return keys[:limit], keys[limit - 1].id if len(keys) > limit else None

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
