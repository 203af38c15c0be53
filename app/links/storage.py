"""Links in MongoDB: the truth that every cache is filled from.

In: links, already judged. Out: rows of the collection `links`, written to a majority before anyone is told.
Inserts of one turn of the loop share one write, and so do those that come while WRITES_MAX are under way; each gets its
own result. Links asked for in one turn share a read. A change and the note that tells of it are one transaction
(`noting`).
A deleted link stays as a tombstone (`tombstones`), so that its key's version never falls when it is taken again.
May import: pymongo, and `model`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from bson.int64 import Int64
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import BulkWriteError, DuplicateKeyError, ExecutionTimeout, PyMongoError
from pymongo.read_concern import ReadConcern

from app.links.folding import Folding
from app.links.labels import domain_label, same_as
from app.links.listing import Listing, ListingError, Page, Place
from app.links.model import Link, LinkState, StoredLink
from app.links.noting import LINKS, NotedLinks, Tell, Write, WriteNotes
from app.links.rows import from_row, set_fields, to_row
from app.links.tombstones import DELETED_INDEX, Tombstones, free_query
from app.stores import Database

__all__ = ["COUNT_MAX", "INDEXES", "LINKS", "LinkStore", "SameTakenError", "SlugTakenError"]

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
BATCH_MAX = 1_000  # rows of one write, unless one caller has more
READ_KEYS = 250  # of one query, whose answer PyMongo decodes in one go: 2 ms
WRITES_MAX = 2  # inserts under way at once: what comes meanwhile shares the next one
INSERTS_MAX = 8  # times that a write is tried while others take its keys
COUNT_MAX = 10_000
SAME_MAX = 100  # links to one target that are looked at for one that may be seen
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


class _Order(NamedTuple):
    """Wishes of one caller, who waits for what becomes of each."""

    wishes: list[_Wish]
    results: asyncio.Future[list[Link | Exception]]


class LinkStore:
    """The collection of one database; raises `pymongo.errors.PyMongoError` when it does not answer.

    Args:
        kept_s: for how long a deleted link keeps its slug and can be restored.
        write_notes: for whoever passes a `tell`.
    """

    def __init__(self, database: Database, *, kept_s: int = 0, write_notes: WriteNotes | None = None) -> None:
        self._links = database[LINKS]
        #: Never what a fail-over may take back: Redis would keep it, for its version is newer than what is true.
        self._committed = self._links.with_options(read_concern=ReadConcern("majority"))
        self._noted = NotedLinks(database, write_notes)
        self.tombstones = Tombstones(self._links, self._noted, kept_s)
        self.folding = Folding(database, write_notes)
        self._waiting: deque[_Order] = deque()
        self._writes: set[asyncio.Task[None]] = set()
        self._asked: dict[str, asyncio.Future[Link | None]] = {}
        self._reads: set[asyncio.Task[None]] = set()

    async def find_many(self, keys: Sequence[str]) -> dict[str, StoredLink]:
        """What is known of each key, tombstones included, as far as redirects need it."""
        rows = await self._committed.find({"_id": {"$in": list(keys)}}, _REDIRECT_FIELDS).to_list()
        return {row["_id"]: msgspec.convert(row, StoredLink) for row in rows}

    async def get(self, key: str) -> Link | None:
        """One link with all its fields; None when there is none or it is deleted. Those of one turn share a query."""
        future = self._asked.get(key)
        if future is None:
            loop = asyncio.get_running_loop()
            if not self._asked:
                loop.call_soon(self._read_asked)
            future = self._asked[key] = loop.create_future()
        return await asyncio.shield(future)

    async def get_many(self, keys: Sequence[str]) -> dict[str, Link]:
        """Those of the keys that are living links."""
        links: dict[str, Link] = {}
        for start in range(0, len(keys), READ_KEYS):
            living = {"_id": {"$in": list(keys[start : start + READ_KEYS])}, "state": {"$ne": LinkState.DELETED.value}}
            links |= {row["_id"]: from_row(row) for row in await self._links.find(living).to_list()}
        return links

    async def find_same(self, draft: Link) -> list[Link]:
        """Active links of the same domain and owner that do what the draft would do; at most SAME_MAX."""
        same = same_as(draft)
        assert same is not None
        found = self._links.find({"same": Int64(same), "target": draft.target, "owner": draft.owner}).limit(SAME_MAX)
        return [from_row(row) for row in await found.to_list()]

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
        order = _Order([_Wish(link, tell) for link in links], loop.create_future())
        self._waiting.append(order)
        return await order.results

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

    def _read_asked(self) -> None:
        asked, self._asked = self._asked, {}
        task = asyncio.get_running_loop().create_task(self._answer(asked))
        self._reads.add(task)
        task.add_done_callback(self._reads.discard)

    async def _answer(self, asked: dict[str, asyncio.Future[Link | None]]) -> None:
        try:
            found = await self.get_many(list(asked))
        except Exception as error:
            for future in asked.values():
                future.set_exception(error)
                future.exception()  # who went away is not warned
            return
        for key, future in asked.items():
            future.set_result(found.get(key))

    def _flush(self) -> None:
        while self._waiting and len(self._writes) < WRITES_MAX:
            orders, rows = list[_Order](), 0
            while self._waiting and (not orders or rows + len(self._waiting[0].wishes) <= BATCH_MAX):
                orders.append(self._waiting.popleft())
                rows += len(orders[-1].wishes)
            task = asyncio.get_running_loop().create_task(self._insert_orders(orders))
            self._writes.add(task)
            task.add_done_callback(self._on_inserted)

    def _on_inserted(self, task: asyncio.Task[None]) -> None:
        self._writes.discard(task)
        self._flush()

    async def _insert_orders(self, orders: list[_Order]) -> None:
        """Whose links are all new need not wait for what becomes of the others'."""
        try:
            known = await self._insert_new([wish for order in orders for wish in order.wishes])
            late, first = list[tuple[_Order, list[int]]](), 0
            for order in orders:
                places = [n - first for n in range(first, first + len(order.wishes)) if n in known]
                first += len(order.wishes)
                if places:
                    late.append((order, places))
                else:
                    _settle(order, [wish.link for wish in order.wishes])
            for order, places in late:
                results: list[Link | Exception] = [wish.link for wish in order.wishes]
                for n, outcome in zip(places, await self._outcomes([order.wishes[n] for n in places]), strict=True):
                    results[n] = outcome
                _settle(order, results)
        except Exception as error:
            for order in orders:
                _settle(order, [error] * len(order.wishes))

    async def _insert_new(self, batch: list[_Wish]) -> set[int]:
        """Inserts all at once but those whose keys are known; returns the places of these."""
        known: set[int] = set()
        for turn in range(INSERTS_MAX):
            try:
                await self._noted.insert([wish for n, wish in enumerate(batch) if n not in known])
            except BulkWriteError:
                if turn == INSERTS_MAX - 1:
                    raise
                known = await self._known(batch)
            else:
                break
        return known

    async def _known(self, batch: list[_Wish]) -> set[int]:
        """The places of those of whose unique fields another has one, stored or before it in the batch."""
        clauses: list[dict[str, Any]] = []
        for name in _UNIQUE:
            values = [value for wish in batch if (value := _unique(wish.link)[name]) is not None]
            clauses += [{name: {"$in": values}}] if values else []
        rows = await self._links.find({"$or": clauses}, dict.fromkeys(_UNIQUE, 1)).to_list()
        seen = {(name, row[name]) for row in rows for name in _UNIQUE if name in row}
        known: set[int] = set()
        for n, wish in enumerate(batch):
            own = {(name, value) for name, value in _unique(wish.link).items() if value is not None}
            if own & seen:
                known.add(n)
            seen |= own
        return known

    async def _outcomes(self, wishes: list[_Wish]) -> list[Link | Exception]:
        """What comes of wishes of whose unique fields other links have one."""
        links, keys = [Int64(wish.link.link) for wish in wishes], [wish.link.key for wish in wishes]
        try:
            # An id was never used before, unless this is the same wish once more: then what it made is what it gets.
            made = {row["link"]: row for row in await self._links.find({"link": {"$in": links}}).to_list()}
            living = {"_id": {"$in": keys}, "state": {"$ne": LinkState.DELETED.value}}
            taken = {row["_id"] for row in await self._links.find(living, {"_id": 1}).to_list()}
        except PyMongoError as error:
            return [error] * len(wishes)
        outcomes: list[Link | Exception] = []
        for wish in wishes:
            if (row := made.get(wish.link.link)) is not None:
                outcomes.append(from_row(row))
            elif wish.link.key in taken and not wish.link.is_only:
                outcomes.append(SlugTakenError(wish.link.key))
            else:
                outcomes.append(await self._outcome(wish))
        return outcomes

    async def _outcome(self, wish: _Wish) -> Link | Exception:
        """What comes of a wish for a key that may be a tombstone's, or for the only link of its kind."""
        try:
            if wish.link.is_only and await self._links.find_one({"once": _unique(wish.link)["once"]}) is not None:
                return SameTakenError()
            return await self._take_over(wish) or SlugTakenError(wish.link.key)
        except DuplicateKeyError:  # on `once`, by one that came in between
            return SameTakenError()
        except PyMongoError as error:
            return error

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


def _settle(order: _Order, results: list[Link | Exception]) -> None:
    if not order.results.done():  # else whoever waited went away
        order.results.set_result(results)


def _too_slow(listing: Listing, error: PyMongoError) -> Exception:
    """What to raise where a list took LIST_MS: filters that seldom meet, or a database that is slow with anything."""
    if not listing.is_crossed:
        return error
    message = "finds too few among too many links together with the other filters: leave one out"
    return ListingError(listing.filters[0], message)
