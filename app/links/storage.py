"""Links in MongoDB: the truth that every cache is filled from.

In: links, already judged. Out: rows of the collection `links`, written to a majority before anyone is told.
Inserts of one turn of the loop share one unordered bulk write, and each gets its own result.
A deleted link stays as a tombstone (`tombstones`), so that its key's version never falls when it is taken again.
May import: pymongo, and `model`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from bson.int64 import Int64
from pymongo import ASCENDING, DESCENDING, IndexModel, ReturnDocument
from pymongo.errors import BulkWriteError, ExecutionTimeout, PyMongoError, WriteError

from app.links.labels import domain_label
from app.links.listing import Listing, ListingError, Page, Place
from app.links.model import Link, LinkState, StoredLink
from app.links.rows import from_row, set_fields, to_row
from app.links.tombstones import DELETED_INDEX, Tombstones, free_query
from app.stores import Database

__all__ = ["INDEXES", "LINKS", "LinkStore", "SlugTakenError"]

LINKS = "links"
INDEXES = [
    IndexModel([("link", ASCENDING)], unique=True),
    IndexModel([("labels", ASCENDING), ("created", DESCENDING), ("_id", DESCENDING)]),
    IndexModel([("labels", ASCENDING), ("clicks", DESCENDING), ("_id", DESCENDING)]),
    IndexModel(
        [("labels", ASCENDING), ("expires", DESCENDING), ("_id", DESCENDING)],
        partialFilterExpression={"expires": {"$exists": True}},
    ),
    IndexModel([("terms", ASCENDING), ("created", DESCENDING), ("_id", DESCENDING)]),
    DELETED_INDEX,
]
BATCH_MAX = 1_000  # rows of one bulk write
DUPLICATE_KEY = 11000
COUNT_MAX = 10_000
LIST_MS = 1_000  # a list that takes longer finds too little among too many
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


class LinkStore:
    """The collection of one database; raises `pymongo.errors.PyMongoError` when it does not answer.

    Args:
        kept_s: for how long a deleted link keeps its slug and can be restored.
    """

    def __init__(self, database: Database, *, kept_s: int = 0) -> None:
        self._links = database[LINKS]
        self.tombstones = Tombstones(self._links, kept_s)
        self._waiting: list[tuple[Link, asyncio.Future[Link | Exception]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def find_many(self, keys: Sequence[str]) -> dict[str, StoredLink]:
        """What is known of each key, tombstones included, as far as redirects need it."""
        rows = await self._links.find({"_id": {"$in": list(keys)}}, _REDIRECT_FIELDS).to_list()
        return {row["_id"]: msgspec.convert(row, StoredLink) for row in rows}

    async def get(self, key: str) -> Link | None:
        """One link with all its fields; None when there is none or it is deleted."""
        row = await self._links.find_one({"_id": key, "state": {"$ne": LinkState.DELETED.value}})
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
        """Stores a new link, in one bulk write with others of this turn; the returned one has its final version.

        Raises:
            SlugTakenError: the key is another link's.
        """
        result = (await self.insert_many([link]))[0]
        if isinstance(result, Exception):
            raise result
        return result

    async def insert_many(self, links: Sequence[Link]) -> list[Link | Exception]:
        """As `insert`, for several links: for each its final form, or why it was not stored."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._flush)
        futures: list[asyncio.Future[Link | Exception]] = [loop.create_future() for _ in links]
        self._waiting += zip(links, futures, strict=True)
        return [await future for future in futures]

    async def change(self, key: str, fields: Mapping[str, Any], *, now_ms: int, version: int | None) -> Link | None:
        """Sets fields of a link and raises its version; None when there is no such link at that version.

        A field that is None is taken away; `version` None means any. The new version is max(old + 1, `now_ms`).
        """
        query: dict[str, Any] = {"_id": key, "state": {"$ne": LinkState.DELETED.value}}
        if version is not None:
            query["version"] = version
        update = set_fields(fields, now_ms)
        row = await self._links.find_one_and_update(query, update, return_document=ReturnDocument.AFTER)
        return None if row is None else from_row(row)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), BATCH_MAX):
            task = asyncio.get_running_loop().create_task(self._insert_many(waiting[start : start + BATCH_MAX]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _insert_many(self, batch: list[tuple[Link, asyncio.Future[Link | Exception]]]) -> None:
        try:
            failures = await self._insert_rows([link for link, _ in batch])
            for index, (link, future) in enumerate(batch):
                result = await self._result_of(link, failures.get(index)) if failures else link
                if not future.done():  # else whoever wished for it went away
                    future.set_result(result)
        except Exception as error:
            for _, future in batch:
                if not future.done():
                    future.set_result(error)

    async def _result_of(self, link: Link, failure: WriteError | None) -> Link | Exception:
        if failure is None:
            return link
        if failure.code != DUPLICATE_KEY:
            return failure
        return await self._take_over(link) or SlugTakenError(link.key)

    async def _insert_rows(self, links: Iterable[Link]) -> dict[int, WriteError]:
        """Inserts; why those with these indexes were not."""
        try:
            await self._links.insert_many([to_row(link) for link in links], ordered=False)
        except BulkWriteError as error:
            return failures_of(error)
        return {}

    async def _take_over(self, link: Link) -> Link | None:
        """Puts a link in place of a tombstone, with a higher version; None while the key is another link's."""
        row = to_row(link)
        del row["_id"], row["version"]
        update: list[dict[str, Any]] = [
            {"$replaceWith": {"$mergeObjects": [{"_id": "$_id", "version": "$version"}, {"$literal": row}]}},
            {"$set": {"version": {"$max": [{"$add": ["$version", 1]}, Int64(link.version)]}}},
        ]
        query = free_query(link.key, link.created, self.tombstones.kept_s)
        found = await self._links.find_one_and_update(query, update, return_document=ReturnDocument.AFTER)
        return None if found is None else from_row(found)


def failures_of(error: BulkWriteError) -> dict[int, WriteError]:
    """Why single rows of a bulk write failed, by index; raises `error` when no majority holds the others."""
    details: Mapping[str, Any] = error.details
    if details.get("writeConcernErrors"):
        raise error
    return {row["index"]: WriteError(row.get("errmsg", ""), row["code"], row) for row in details["writeErrors"]}


def _too_slow(listing: Listing, error: PyMongoError) -> Exception:
    """What to raise where a list took LIST_MS: filters that seldom meet, or a database that is slow with anything."""
    if not listing.is_crossed:
        return error
    message = "finds too few among too many links together with the other filters: leave one out"
    return ListingError(listing.filters[0], message)
