"""Links in MongoDB: the truth that every cache is filled from.

In: links, already judged. Out: rows of the collection `links`, written to a majority before anyone is told.
Inserts of one turn of the loop share one unordered bulk write, and each gets its own result.
A deleted link stays as a tombstone (state `deleted`), so that its key's version never falls when it is taken again.
May import: pymongo, and `model`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from bson.int64 import Int64
from pymongo import ASCENDING, DESCENDING, IndexModel, ReturnDocument
from pymongo.errors import BulkWriteError, WriteError

from app.links.model import Link, LinkState, split_key
from app.stores import Database

__all__ = ["INDEXES", "LINKS", "LinkStore", "Page", "SlugTakenError"]

LINKS = "links"
INDEXES = [
    IndexModel([("link", ASCENDING)], unique=True),
    IndexModel([("created", DESCENDING), ("_id", DESCENDING)]),
    IndexModel([("tags", ASCENDING), ("created", DESCENDING), ("_id", DESCENDING)]),
]
LIST_ORDER = [("created", DESCENDING), ("_id", DESCENDING)]
BATCH_MAX = 1_000  # rows of one bulk write
DUPLICATE_KEY = 11000
#: What a redirect needs; titles, notes and tags stay in MongoDB.
_REDIRECT_FIELDS = {
    **dict.fromkeys(("link", "target", "state", "version", "starts", "expires", "max_visits"), 1),
    **dict.fromkeys(("password_hash", "code", "rules", "forward_query"), 1),
}


class SlugTakenError(Exception):
    """The key belongs to another link, also if that one was disabled or banned."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key} is taken")
        self.key = key


class Page(msgspec.Struct, frozen=True):
    """Some links in order, and where the next page begins; None at the end."""

    items: list[Link]
    following: tuple[int, str] | None


class LinkStore:
    """The collection of one database; raises `pymongo.errors.PyMongoError` when it does not answer."""

    def __init__(self, database: Database) -> None:
        self._links = database[LINKS]
        self._waiting: list[tuple[Link, asyncio.Future[Link]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def find_many(self, keys: Sequence[str]) -> dict[str, Link]:
        """What is known of each key, tombstones included, with the fields that a redirect needs."""
        cursor = self._links.find({"_id": {"$in": list(keys)}}, _REDIRECT_FIELDS)
        return {row["_id"]: from_row(row) async for row in cursor}

    async def get(self, key: str) -> Link | None:
        """One link with all its fields; None when there is none or it is deleted."""
        row = await self._links.find_one({"_id": key, "state": {"$ne": LinkState.DELETED.value}})
        return None if row is None else from_row(row)

    @staticmethod
    def list_query(*, after: tuple[int, str] | None = None, tag: str | None = None) -> dict[str, Any]:
        """What a page asks for; an index answers each combination, in LIST_ORDER."""
        query: dict[str, Any] = {"state": {"$in": [s.value for s in LinkState if s is not LinkState.DELETED]}}
        if tag is not None:
            query["tags"] = tag
        if after is not None:
            created, key = after
            query["created"] = {"$lte": created}
            query["$or"] = [{"created": {"$lt": created}}, {"_id": {"$lt": key}}]
        return query

    async def page(self, *, limit: int, after: tuple[int, str] | None = None, tag: str | None = None) -> Page:
        """Links from the newest on, behind `after` = (created, key); stable while links are added and removed."""
        query = self.list_query(after=after, tag=tag)
        rows = await self._links.find(query).sort(LIST_ORDER).limit(limit + 1).to_list()
        items = [from_row(row) for row in rows[:limit]]
        following = (items[-1].created, items[-1].key) if len(rows) > limit else None
        return Page(items, following)

    async def insert(self, link: Link) -> Link:
        """Stores a new link, in one bulk write with others of this turn; the returned one has its final version.

        Raises:
            SlugTakenError: the key is another link's.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Link] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._flush)
        self._waiting.append((link, future))
        return await future

    async def change(self, key: str, fields: Mapping[str, Any], *, now_ms: int, version: int | None) -> Link | None:
        """Sets fields of a link and raises its version; None when there is no such link at that version.

        `version` None means any. The new version is max(old + 1, `now_ms`).
        """
        query: dict[str, Any] = {"_id": key, "state": {"$ne": LinkState.DELETED.value}}
        if version is not None:
            query["version"] = version
        update = [
            {"$set": {name: {"$literal": value} for name, value in fields.items()}},
            {"$set": {"version": {"$max": [{"$add": ["$version", 1]}, Int64(now_ms)]}}},
        ]
        row = await self._links.find_one_and_update(query, update, return_document=ReturnDocument.AFTER)
        return None if row is None else from_row(row)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), BATCH_MAX):
            task = asyncio.get_running_loop().create_task(self._insert_many(waiting[start : start + BATCH_MAX]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _insert_many(self, batch: list[tuple[Link, asyncio.Future[Link]]]) -> None:
        try:
            failures = await self._insert_rows([link for link, _ in batch])
            for index, (link, future) in enumerate(batch):
                result = await self._result_of(link, failures.get(index))
                if future.done():
                    continue  # whoever wished for it went away
                if isinstance(result, Link):
                    future.set_result(result)
                else:
                    future.set_exception(result)
        except Exception as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)

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
        """Puts a link in place of a tombstone, with a higher version; None when the key is a living link's."""
        row = to_row(link)
        del row["_id"], row["version"]
        update: list[dict[str, Any]] = [
            {"$replaceWith": {"$mergeObjects": [{"_id": "$_id", "version": "$version"}, {"$literal": row}]}},
            {"$set": {"version": {"$max": [{"$add": ["$version", 1]}, Int64(link.version)]}}},
        ]
        query = {"_id": link.key, "state": LinkState.DELETED.value}
        found = await self._links.find_one_and_update(query, update, return_document=ReturnDocument.AFTER)
        return None if found is None else from_row(found)


def failures_of(error: BulkWriteError) -> dict[int, WriteError]:
    """Why single rows of a bulk write failed, by index; raises `error` when no majority holds the others."""
    details: Mapping[str, Any] = error.details
    if details.get("writeConcernErrors"):
        raise error
    return {row["index"]: WriteError(row.get("errmsg", ""), row["code"], row) for row in details["writeErrors"]}


def to_row(link: Link) -> dict[str, Any]:
    """The document of a link; absent options are not stored."""
    row: dict[str, Any] = {name: value for name, value in msgspec.structs.asdict(link).items() if value is not None}
    del row["domain"], row["slug"]
    row.update(_id=link.key, link=Int64(link.link), version=Int64(link.version), state=link.state.value)
    return row


def from_row(row: Mapping[str, Any]) -> Link:
    """The link of a document, perhaps of a projection; raises msgspec.ValidationError for one that is none."""
    domain, slug = split_key(row["_id"])
    fields = {name: value for name, value in row.items() if name != "_id"}
    return msgspec.convert({**fields, "domain": domain, "slug": slug}, Link)
