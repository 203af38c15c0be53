"""Links in MongoDB: the truth that every cache is filled from.

In: links, already judged. Out: rows of the collection `links`, written to a majority before anyone is told.
Inserts of one turn of the loop share one write, and so do those that come while WRITES_MAX are under way; each gets its
own result. A change and the note that tells of it are one transaction (`noting`).
A deleted link stays as a tombstone (`tombstones`), so that its key's version never falls when it is taken again.
May import: pymongo, and `model`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from bson.int64 import Int64
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import BulkWriteError, DuplicateKeyError, ExecutionTimeout, PyMongoError

from app.links.labels import domain_label, same_as
from app.links.listing import Listing, ListingError, Page, Place
from app.links.model import Link, LinkState, StoredLink
from app.links.noting import LINKS, NotedLinks, Tell, Write, WriteNotes
from app.links.rows import from_row, set_fields, to_row
from app.links.tombstones import DELETED_INDEX, Tombstones, free_query
from app.stores import Database

__all__ = ["INDEXES", "LINKS", "LinkStore", "SameTakenError", "SlugTakenError"]

INDEXES = [
    IndexModel([("link", ASCENDING)], unique=True),
    IndexModel([("labels", ASCENDING), ("created", DESCENDING), ("_id", DESCENDING)]),
    IndexModel([("labels", ASCENDING), ("clicks", DESCENDING), ("_id", DESCENDING)]),
    IndexModel(
        [("labels", ASCENDING), ("expires", DESCENDING), ("_id", DESCENDING)],
        partialFilterExpression={"expires": {"$exists": True}},
    ),
    IndexModel([("terms", ASCENDING), ("created", DESCENDING), ("_id", DESCENDING)]),
    IndexModel([("same", ASCENDING)], sparse=True),
    IndexModel([("once", ASCENDING)], sparse=True, unique=True),
    DELETED_INDEX,
]
BATCH_MAX = 1_000  # rows of one write
WRITES_MAX = 2  # inserts under way at once: what comes meanwhile shares the next one
INSERTS_MAX = 8  # times that a write is tried while others take its keys
COUNT_MAX = 10_000
LIST_MS = 1_000  # a list that takes longer finds too little among too many
_UNIQUE = ("_id", "link", "once")
#: What a redirect needs; titles, notes and tags stay in MongoDB.
_REDIRECT_FIELDS = {
    **dict.fromkeys(("link", "target", "state", "version", "starts", "expires", "max_visits"), 1),
    **dict.fromkeys(("password_hash", "code", "rules", "variants", "forward_query", "forward_path"), 1),
}


class SlugTakenError(Exception):
    """The key belongs to another link, also if that one was disabled, banned, or deleted not long ago."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key} is taken")
        self.key = key


class SameTakenError(Exception):
    """Another draft that wishes to be the only one of its kind was stored first."""


class _Wish(NamedTuple):
    """A link that waits to be stored."""

    link: Link
    tell: Tell
    result: asyncio.Future[Link | Exception]


class LinkStore:
    """The collection of one database; raises `pymongo.errors.PyMongoError` when it does not answer.

    Args:
        kept_s: for how long a deleted link keeps its slug and can be restored.
        write_notes: for whoever passes a `tell`.
    """

    def __init__(self, database: Database, *, kept_s: int = 0, write_notes: WriteNotes | None = None) -> None:
        self._links = database[LINKS]
        self._noted = NotedLinks(database, write_notes)
        self.tombstones = Tombstones(self._links, self._noted, kept_s)
        self._waiting: list[_Wish] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def find_many(self, keys: Sequence[str]) -> dict[str, StoredLink]:
        """What is known of each key, tombstones included, as far as redirects need it."""
        rows = await self._links.find({"_id": {"$in": list(keys)}}, _REDIRECT_FIELDS).to_list()
        return {row["_id"]: msgspec.convert(row, StoredLink) for row in rows}

    async def get(self, key: str) -> Link | None:
        """One link with all its fields; None when there is none or it is deleted."""
        row = await self._links.find_one({"_id": key, "state": {"$ne": LinkState.DELETED.value}})
        return None if row is None else from_row(row)

    async def get_many(self, keys: Sequence[str]) -> dict[str, Link]:
        """Those of the keys that are living links, in one query."""
        found = self._links.find({"_id": {"$in": list(keys)}, "state": {"$ne": LinkState.DELETED.value}})
        return {row["_id"]: from_row(row) for row in await found.to_list()}

    async def find_same(self, draft: Link) -> Link | None:
        """An active link of the same domain and owner that does what the draft would do."""
        same = same_as(draft)
        assert same is not None
        row = await self._links.find_one({"same": Int64(same), "target": draft.target, "owner": draft.owner})
        return None if row is None else from_row(row)

    async def page(self, listing: Listing, *, limit: int, after: Place | None = None) -> Page:
        """Links of a listing, behind `after`; stable while links are added and removed. Raises ListingError."""
        found = self._links.find(listing.query(after), hint=listing.hint, max_time_ms=LIST_MS).sort(listing.order)
        try:
            rows = await found.limit(limit + 1).to_list()
        except ExecutionTimeout as error:
            raise _too_slow(listing, error) from error
        items = [from_row(row) for row in rows[:limit]]
        return Page(items, listing.place(items[-1]) if len(rows) > limit else None)

    async def count(self, listing: Listing) -> int:
        """How many links a listing has; COUNT_MAX + 1 when there are more. Raises ListingError."""
        hint: Any = {} if listing.hint is None else {"hint": listing.hint}
        try:
            return await self._links.count_documents(listing.query(), limit=COUNT_MAX + 1, maxTimeMS=LIST_MS, **hint)
        except ExecutionTimeout as error:
            raise _too_slow(listing, error) from error

    async def has_links(self, domain: str) -> bool:
        """Whether a further domain has a living link."""
        return await self._links.find_one({"labels": domain_label(domain)}, {"_id": 1}) is not None

    async def spend_visit(self, key: str, link: int) -> bool:
        """Counts one visit if the link may have one more; False when it may not, or is not active any more.

        What decides is the stored limit, not the one that a cache knows. A retry by the driver counts once.
        """
        left = {"$lt": ["$visits", {"$ifNull": ["$max_visits", Int64(2**62)]}]}
        query = {"_id": key, "link": Int64(link), "state": LinkState.ACTIVE.value, "$expr": left}
        result = await self._links.update_one(query, {"$inc": {"visits": 1}})
        return result.matched_count == 1

    async def has_visits(self, key: str, link: int) -> bool:
        """Whether the link may have one more visit; counts nothing."""
        row = await self._links.find_one({"_id": key, "link": Int64(link)}, {"visits": 1, "max_visits": 1, "state": 1})
        if row is None or row["state"] != LinkState.ACTIVE.value:
            return False
        most = row.get("max_visits")
        return most is None or row.get("visits", 0) < most

    async def insert(self, link: Link) -> Link:
        """Stores a new link, in one write with others of this turn; the returned one has its final version.

        Raises:
            SlugTakenError: the key is another link's.
        """
        result = (await self.insert_many([link]))[0]
        if isinstance(result, Exception):
            raise result
        return result

    async def insert_many(self, links: Sequence[Link], tell: Tell = None) -> list[Link | Exception]:
        """As `insert`, for several links: for each its final form, or why it was not stored."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._flush)
        futures: list[asyncio.Future[Link | Exception]] = [loop.create_future() for _ in links]
        self._waiting += (_Wish(link, tell, future) for link, future in zip(links, futures, strict=True))
        return [await future for future in futures]

    async def change(
        self, key: str, fields: Mapping[str, Any], *, now_ms: int, version: int | None, tell: Tell = None
    ) -> Link | None:
        """Sets fields of a link and raises its version; None when there is no such link at that version.

        A field that is None is taken away; `version` None means any. The new version is max(old + 1, `now_ms`).
        """
        query: dict[str, Any] = {"_id": key, "state": {"$ne": LinkState.DELETED.value}}
        if version is not None:
            query["version"] = version
        return await self._noted.update(query, set_fields(fields, now_ms), tell)

    async def change_many(self, writes: Sequence[Write]) -> set[str]:
        """As `change`, of different links at once; the keys of those that were at their version."""
        return await self._noted.update_many(writes) if writes else set()

    def _flush(self) -> None:
        while self._waiting and len(self._tasks) < WRITES_MAX:
            batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
            task = asyncio.get_running_loop().create_task(self._insert_many(batch))
            self._tasks.add(task)
            task.add_done_callback(self._on_inserted)

    def _on_inserted(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._flush()

    async def _insert_many(self, batch: list[_Wish]) -> None:
        try:
            new, known = await self._insert_new(batch)
            for wish in new:
                _settle(wish, wish.link)
            for wish in known:
                _settle(wish, await self._outcome(wish))
        except Exception as error:
            for wish in batch:
                _settle(wish, error)

    async def _insert_new(self, batch: list[_Wish]) -> tuple[list[_Wish], list[_Wish]]:
        """Inserts all at once but those whose keys are known; returns both."""
        new, known = batch, list[_Wish]()
        for turn in range(INSERTS_MAX):
            try:
                await self._noted.insert([(wish.link, wish.tell) for wish in new])
            except BulkWriteError:
                if turn == INSERTS_MAX - 1:
                    raise
                new, known = await self._part(batch)
            else:
                break
        return new, known

    async def _part(self, batch: list[_Wish]) -> tuple[list[_Wish], list[_Wish]]:
        """Those of whose unique fields nobody has any, each value once, and the others."""
        clauses: list[dict[str, Any]] = []
        for name in _UNIQUE:
            values = [value for wish in batch if (value := _unique(wish.link)[name]) is not None]
            clauses += [{name: {"$in": values}}] if values else []
        rows = await self._links.find({"$or": clauses}, dict.fromkeys(_UNIQUE, 1)).to_list()
        seen = {(name, row[name]) for row in rows for name in _UNIQUE if name in row}
        parts: tuple[list[_Wish], list[_Wish]] = ([], [])
        for wish in batch:
            own = {(name, value) for name, value in _unique(wish.link).items() if value is not None}
            parts[bool(own & seen)].append(wish)
            seen |= own
        return parts

    async def _outcome(self, wish: _Wish) -> Link | Exception:
        """What comes of a wish of whose unique fields another link has one."""
        # An id was never used before, unless this is the same wish once more: then what it made is what it gets.
        made = await self._links.find_one({"link": Int64(wish.link.link)})
        if made is not None:
            return from_row(made)
        if wish.link.is_only and await self._links.find_one({"once": _unique(wish.link)["once"]}) is not None:
            return SameTakenError()
        try:
            return await self._take_over(wish) or SlugTakenError(wish.link.key)
        except DuplicateKeyError:  # on `once`, by one that came in between
            return SameTakenError()

    async def _take_over(self, wish: _Wish) -> Link | None:
        """Puts a link in place of a tombstone, with a higher version; None while the key is another link's."""
        link = wish.link
        row = to_row(link)
        del row["_id"], row["version"]
        update: list[dict[str, Any]] = [
            {"$replaceWith": {"$mergeObjects": [{"_id": "$_id", "version": "$version"}, {"$literal": row}]}},
            {"$set": {"version": {"$max": [{"$add": ["$version", 1]}, Int64(link.version)]}}},
        ]
        query = free_query(link.key, link.created, self.tombstones.kept_s)
        return await self._noted.update(query, update, wish.tell)


def _unique(link: Link) -> dict[str, Any]:
    """What no other link may have, as it is stored; None for what it need not have."""
    same = same_as(link) if link.is_only else None
    return {"_id": link.key, "link": Int64(link.link), "once": None if same is None else Int64(same)}


def _settle(wish: _Wish, result: Link | Exception) -> None:
    if not wish.result.done():  # else it is settled, or whoever wished for it went away
        wish.result.set_result(result)


def _too_slow(listing: Listing, error: PyMongoError) -> Exception:
    """What to raise where a list took LIST_MS: filters that seldom meet, or a database that is slow with anything."""
    if not listing.is_crossed:
        return error
    message = "finds too few among too many links together with the other filters: leave one out"
    return ListingError(listing.filters[0], message)
