"""Further domains of this instance: names that links may live under, beside the default one. And what each is set to.

In: names as people type them, options. Out: documents of the collection `domains`; `_id` is the name in lower-case
ASCII (IDNA). Every process reads all of them every few seconds, so there are at most DOMAINS_MAX; Redis keeps a copy,
so that a process that starts while MongoDB is away knows them too. The default domain's name is empty, as in keys; it
has a document once it has options. May import: pymongo, redis, and `targets` for what a host is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec
import redis.asyncio
from pymongo import ASCENDING
from pymongo.errors import DuplicateKeyError, PyMongoError
from redis.exceptions import RedisError

from app.links.noting import WriteNotes
from app.links.options import PLAIN_OPTIONS, DomainOptions
from app.links.storage import LinkStore
from app.links.targets import TargetError, normalise_host
from app.stores import Database, Session, transact

__all__ = ["DOMAINS", "Domain", "DomainError", "DomainStore", "DomainWatch", "normalise_domain"]

DOMAINS = "domains"
REDIS_KEY = "domains"
DOMAINS_MAX = 1_000  # read in 4 ms by each process
POLL_S = 2.0
READ_S = 1.0  # with POLL_S below the 5 s within which a change is known everywhere
KNOWN_S = POLL_S + READ_S + 0.5
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, DomainOptions]).decode
_NAMED = {"_id": {"$ne": ""}}

#: The options of each domain that has any, by name; "" is the default domain.
Known = Mapping[str, DomainOptions]


class DomainError(ValueError):
    """A domain that cannot be had or ended; the text says why."""


class Domain(msgspec.Struct, frozen=True, kw_only=True):
    """One domain; `created` is Unix seconds, `owner` the id of the key that made it."""

    name: str
    created: int
    owner: str = ""
    options: DomainOptions = PLAIN_OPTIONS


def normalise_domain(text: str) -> str:
    """A domain's name as it will be stored: lower-case ASCII without a final dot. Raises DomainError."""
    try:
        name = normalise_host(text.strip()).removesuffix(".")
    except TargetError as error:
        raise DomainError("must be a host name such as go.example.com, without scheme, port or path") from error
    if name.startswith("[") or name.rpartition(".")[2].isdigit():
        raise DomainError("must be a name, not an address")
    return name


class DomainStore:
    """The domains of one database; raises `PyMongoError` when it does not answer."""

    def __init__(
        self, database: Database, client: redis.asyncio.Redis, links: LinkStore, write_notes: WriteNotes
    ) -> None:
        self._database = database
        self._write_notes = write_notes
        self._domains = database[DOMAINS]
        self._client = client
        self._links = links

    async def add(self, domain: Domain, note: Mapping[str, Any]) -> None:
        """Stores a new domain, and the note of it; raises DomainError when it is known, or there are too many."""

        async def work(session: Session) -> None:
            row = {"_id": domain.name, "created": domain.created, "owner": domain.owner}
            await self._domains.insert_one(row, session=session)
            await self._write_notes([note], session)

        if await self._domains.count_documents(_NAMED) >= DOMAINS_MAX:
            raise DomainError(f"there are {DOMAINS_MAX} domains already")
        try:
            await transact(self._database, work)
        except DuplicateKeyError as error:
            raise DomainError("is known already") from error

    async def list(self) -> list[Domain]:
        """All further domains by name."""
        rows = self._domains.find(_NAMED).sort("_id", ASCENDING).limit(DOMAINS_MAX)
        return [_from_row(row) async for row in rows]

    async def get(self, name: str) -> Domain | None:
        """One domain; None when it is unknown, which the default one never is."""
        return self._found(name, await self._domains.find_one({"_id": name}))

    async def change(
        self,
        name: str,
        change: Callable[[DomainOptions], DomainOptions],
        tell: Callable[[DomainOptions, DomainOptions], Mapping[str, Any]],
    ) -> Domain | None:
        """Changes options, and notes it unless they stay as they are; None when the domain is unknown.

        Args:
            change: makes the new options of those that are stored; what it raises ends this.
            tell: makes the note, of the options before and after.
        """

        async def work(session: Session) -> Domain | None:
            domain = self._found(name, await self._domains.find_one({"_id": name}, session=session))
            if domain is None:
                return None
            after = change(domain.options)
            if after != domain.options:
                update = {
                    "$set": {"options": msgspec.to_builtins(after)},
                    "$setOnInsert": {"created": domain.created, "owner": domain.owner},
                }
                await self._domains.update_one({"_id": name}, update, upsert=not name, session=session)
                await self._write_notes([tell(domain.options, after)], session)
            return msgspec.structs.replace(domain, options=after)

        return await transact(self._database, work)

    async def has(self, name: str) -> bool:
        """Whether a domain is known."""
        return await self._domains.find_one({"_id": name}, {"_id": 1}) is not None

    async def remove(self, name: str, note: Mapping[str, Any]) -> bool:
        """Ends a domain, and notes it; False when it is unknown. Raises DomainError while it has links."""

        async def work(session: Session) -> bool:
            if not (await self._domains.delete_one({"_id": name}, session=session)).deleted_count:
                return False
            await self._write_notes([note], session)
            return True

        if await self._links.has_links(name):
            raise DomainError("still has links: delete them first")
        return await transact(self._database, work)

    async def read_all(self) -> Known:
        """All domains, from MongoDB."""
        rows = self._domains.find({}, {"options": 1}).limit(DOMAINS_MAX + 1)
        return {row["_id"]: _options_of(row) async for row in rows}

    async def copy_all(self, known: Known) -> None:
        """Leaves a copy in Redis; raises RedisError."""
        await self._client.set(REDIS_KEY, _encode(known))

    async def read_copy(self) -> Known | None:
        """The copy in Redis, or None when there is none that can be read; raises RedisError."""
        value: Any = await self._client.get(REDIS_KEY)
        try:
            return None if value is None else _decode(value)
        except msgspec.MsgspecError:
            return None

    @staticmethod
    def _found(name: str, row: Mapping[str, Any] | None) -> Domain | None:
        if row is not None:
            return _from_row(row)
        return None if name else Domain(name="", created=0)


class DomainWatch:
    """Keeps what one process knows of domains up to date.

    Args:
        on_change: called with all domains whenever they changed, and with the first ones.

    Attributes:
        known: all domains; None until a store has said them once.
        known_s: after so long, every process that can write to MongoDB has read what it said of domains before.
    """

    def __init__(self, store: DomainStore, on_change: Callable[[Known], None], known_s: float = KNOWN_S) -> None:
        self.known_s = known_s
        self.known: Known | None = None
        self.store = store
        self._on_change = on_change

    async def run(self) -> None:
        """Reads again and again until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(POLL_S)

    async def refresh(self) -> None:
        """Reads all domains: from MongoDB, or the copy while none is known; when both fail, what is known stays."""
        try:
            async with asyncio.timeout(READ_S):
                known = await self.store.read_all()
        except (PyMongoError, OSError, TimeoutError):
            if self.known is None:
                await self._take_copy()
            return
        self._take(known)
        await self._leave_copy(known)

    async def knows(self, name: str) -> bool:
        """Whether a domain is known, if need be by asking MongoDB; raises PyMongoError."""
        return (self.known is not None and name in self.known) or await self.store.has(name)

    def options_of(self, name: str) -> DomainOptions:
        """The options of a domain, "" for the default one, as far as this process knows."""
        return PLAIN_OPTIONS if self.known is None else self.known.get(name, PLAIN_OPTIONS)

    def _take(self, known: Known) -> bool:
        if known == self.known:
            return False
        self.known = known
        self._on_change(known)
        return True

    async def _take_copy(self) -> None:
        try:
            async with asyncio.timeout(READ_S):
                known = await self.store.read_copy()
        except (RedisError, OSError, TimeoutError):
            return
        if known is not None:
            self._take(known)

    async def _leave_copy(self, known: Known) -> None:
        with suppress(RedisError, OSError, TimeoutError):  # the next round leaves it
            async with asyncio.timeout(READ_S):
                await self.store.copy_all(known)


def _from_row(row: Mapping[str, Any]) -> Domain:
    return Domain(name=row["_id"], created=row["created"], owner=row.get("owner", ""), options=_options_of(row))


def _options_of(row: Mapping[str, Any]) -> DomainOptions:
    options = row.get("options")
    return msgspec.convert(options, DomainOptions) if options else PLAIN_OPTIONS
