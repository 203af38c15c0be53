"""Tags of all links: which there are, and renaming, merging and ending one, however many links have it.

In: names. Out: pages of names with the number of their links; changed links. Nothing is counted beforehand: names are
read off the index of labels, one look-up each, and a tag's links are counted up to COUNT_MAX. So a number is never
wrong, and making a link costs nothing more.

    tag_moves   _id = a tag, into = what its links get instead, None: nothing; kept until no link has the tag

A move is stored first, with its note, then done STEP_LINKS at a time; each step takes the tag from the links that it
finds, so it may end anywhere and be taken up by anyone, and two at once do no harm. A link that gets the tag meanwhile
is moved, too. Its version rises, because what is shown of it changes; a change at the version before is refused, as any
other. Redirects are what they were, so nobody is told but by the announcer. May import: stores.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from bson.int64 import Int64

from app.links.labels import tag_label
from app.links.noting import LINKS, WriteNotes
from app.stores import Database, Session, transact

__all__ = ["COUNT_MAX", "TAG_MOVES", "TagBusyError", "TagTakenError", "Tags"]

TAG_MOVES = "tag_moves"
COUNT_MAX = 1_000
STEP_LINKS = 500  # 30 ms of MongoDB
_INDEX = "labels_1_created_-1__id_-1"
_FIRST, _END = tag_label(""), chr(ord(tag_label("")) + 1)


class TagTakenError(Exception):
    """The new name is another tag's, and the two shall not become one."""


class TagBusyError(Exception):
    """The tag is being renamed to something else right now; `into` is what, None when it is ended."""

    def __init__(self, into: str | None) -> None:
        super().__init__("is being ended right now" if into is None else f"is being renamed to {into!r} right now")
        self.into = into


class Tags:
    """Tags of one database; raises `PyMongoError` when it does not answer. `write_notes` is for who starts moves."""

    def __init__(self, database: Database, write_notes: WriteNotes | None = None) -> None:
        self._database = database
        self._links = database[LINKS]
        self._moves = database[TAG_MOVES]
        self._write_notes = write_notes

    async def page(self, *, limit: int, after: str = "") -> tuple[list[tuple[str, int]], str | None]:
        """Names behind `after`, in their order, each with its links (COUNT_MAX + 1: more), and where to go on."""
        names: list[str] = []
        while len(names) <= limit:
            name = await self._next(names[-1] if names else after)
            if name is None:
                break
            names.append(name)
        following = names[limit - 1] if len(names) > limit else None
        counts = await asyncio.gather(*(self.count(name) for name in names[:limit]))
        return list(zip(names[:limit], counts, strict=True)), following

    async def count(self, name: str) -> int:
        """How many links have a tag, COUNT_MAX + 1 when there are more."""
        return await self._links.count_documents({"labels": tag_label(name)}, hint=_INDEX, limit=COUNT_MAX + 1)

    async def start(self, name: str, into: str | None, note: Mapping[str, Any], *, may_merge: bool) -> bool:
        """Stores that a tag becomes another one, or none; False when no link has it. The same again changes nothing.

        Raises:
            TagTakenError: `into` has links, and may not get more.
            TagBusyError: it becomes something else already.
        """
        if await self._is_moving(name, into):
            return True
        if not await self.count(name):
            return False
        if into is not None and not may_merge and await self.count(into):
            raise TagTakenError(into)

        async def work(session: Session) -> None:
            move = {"$setOnInsert": {"into": into}}
            done = await self._moves.update_one({"_id": name}, move, upsert=True, session=session)
            if done.upserted_id is not None:
                assert self._write_notes is not None
                await self._write_notes([note], session)

        await transact(self._database, work)
        return await self._is_moving(name, into)

    async def step(self, name: str) -> bool:
        """Moves some links of a tag; True while there may be more."""
        move = await self._moves.find_one({"_id": name})
        if move is None:
            return False
        found = self._links.find({"labels": tag_label(name)}, {"_id": 1}, hint=_INDEX).limit(STEP_LINKS)
        keys = [row["_id"] async for row in found]
        if not keys:
            await self._moves.delete_one({"_id": name})
            return False
        version = Int64(int(await self._now_ms()))
        await self._links.update_many(
            {"_id": {"$in": keys}, "labels": tag_label(name)}, _update_of(name, move["into"], version)
        )
        return True

    async def resume(self) -> bool:
        """A step of a move that somebody began; True while there may be more of any."""
        move = await self._moves.find_one({})
        return move is not None and (await self.step(move["_id"]) or await self._moves.find_one({}) is not None)

    async def _next(self, after: str) -> str | None:
        """The first tag behind a name, read off the index."""
        behind = {"$elemMatch": {"$gt": tag_label(after), "$lt": _END}}
        keys = self._links.find({"labels": behind}, hint=_INDEX, return_key=True).limit(1)
        async for key in keys:
            return str(key["labels"]).removeprefix(_FIRST)
        return None

    async def _is_moving(self, name: str, into: str | None) -> bool:
        move = await self._moves.find_one({"_id": name})
        if move is not None and move["into"] != into:
            raise TagBusyError(move["into"])
        return move is not None

    async def _now_ms(self) -> float:
        """By MongoDB's clock: whoever moves may be a worker of any node."""
        told: Any = await self._database.command("hello")
        return float(told["localTime"].timestamp()) * 1000


def _update_of(name: str, into: str | None, version: Int64) -> list[dict[str, Any]]:
    others = {"$setDifference": ["$tags", [{"$literal": name}]]}
    tags = others if into is None else {"$setUnion": [others, [{"$literal": into}]]}
    plain = {"$filter": {"input": "$labels", "cond": {"$ne": [{"$substrCP": ["$$this", 0, 1]}, _FIRST]}}}
    labels = {"$map": {"input": "$tags", "in": {"$concat": [_FIRST, "$$this"]}}}
    return [
        {"$set": {"tags": {"$sortArray": {"input": tags, "sortBy": 1}}}},
        {"$set": {"labels": {"$concatArrays": [plain, labels]}}},
        {"$set": {"version": {"$max": [{"$add": ["$version", 1]}, version]}}},
    ]
