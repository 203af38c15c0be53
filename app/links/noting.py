"""A change of links and the note that tells of it: one transaction, so that there is never the one without the other.

In: an update of one row, or rows to insert, and how to tell of the links that come of it. Out: the links as they are
stored, on a majority; or nothing happened. What a note holds, and where it goes, is the caller's business.
May import: pymongo, `rows`, stores, turns.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson.int64 import Int64
from pymongo import ReturnDocument, UpdateOne

from app.links.model import Link, LinkState
from app.links.rows import from_row, to_row
from app.stores import Database, Session, insert_rows, transact
from app.turns import Turn

__all__ = ["LINKS", "NotedLinks", "Tell", "Write", "WriteNotes"]

LINKS = "links"
UPDATES_MAX = 500  # of one bulk write, which PyMongo encodes in one go: 4 ms
#: Makes the note of a change from the link as it is stored then; None: nothing is told.
Tell = Callable[[Link], Mapping[str, Any]] | None
#: Writes notes within a transaction.
WriteNotes = Callable[[Sequence[Mapping[str, Any]], Session], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Write:
    """One of many changes: fields to set, or to take away where None, of a link at `version`; `after` is it then."""

    version: int
    fields: Mapping[str, Any]
    after: Link
    tell: Tell


class NotedLinks:
    """Writes of one database's links. `write_notes` is for whoever passes a `tell`."""

    def __init__(self, database: Database, write_notes: WriteNotes | None) -> None:
        self._database = database
        self._links = database[LINKS]
        self._write_notes = write_notes

    async def update(self, query: Mapping[str, Any], update: list[dict[str, Any]], tell: Tell) -> Link | None:
        """Changes the one row that is found, and returns it; None when none is."""

        async def work(session: Session) -> Link | None:
            after = ReturnDocument.AFTER
            row = await self._links.find_one_and_update(query, update, return_document=after, session=session)
            if row is None:
                return None
            link = from_row(row)
            await self._note([(link, tell)], session)
            return link

        return await transact(self._database, work)

    async def update_many(self, writes: Sequence[Write]) -> set[str]:
        """Changes all links that are at their version; their keys."""

        async def work(session: Session) -> set[str]:
            query = {"_id": {"$in": [write.after.key for write in writes]}, "state": {"$ne": LinkState.DELETED.value}}
            found = self._links.find(query, {"version": 1}, session=session)
            versions = {row["_id"]: row["version"] async for row in found}
            # What another changes after this read conflicts with this write, and the transaction begins again.
            done = [write for write in writes if versions.get(write.after.key) == write.version]
            if done:
                for start in range(0, len(done), UPDATES_MAX):
                    updates = [_update_of(write) for write in done[start : start + UPDATES_MAX]]
                    await self._links.bulk_write(updates, ordered=False, session=session)
                await self._note([(write.after, write.tell) for write in done], session)
            return {write.after.key for write in done}

        return await transact(self._database, work)

    async def insert(self, told: Sequence[tuple[Link, Tell]]) -> None:
        """Inserts all links; raises BulkWriteError when the key or id of one is known, and then inserts none."""
        rows, notes = list[Mapping[str, Any]](), list[Mapping[str, Any]]()
        turn = Turn()
        for link, tell in told:
            rows.append(to_row(link))
            if tell is not None:
                notes.append(tell(link))
            if turn.is_over:
                await turn.end()

        async def work(session: Session) -> None:
            await insert_rows(self._database, LINKS, rows, session)
            await self._write(notes, session)

        if told:
            await transact(self._database, work)

    async def _note(self, told: Sequence[tuple[Link, Tell]], session: Session) -> None:
        notes = list[Mapping[str, Any]]()
        turn = Turn()
        for link, tell in told:
            if tell is not None:
                notes.append(tell(link))
            if turn.is_over:
                await turn.end()
        await self._write(notes, session)

    async def _write(self, notes: Sequence[Mapping[str, Any]], session: Session) -> None:
        if notes:
            assert self._write_notes is not None
            await self._write_notes(notes, session)


def _update_of(write: Write) -> UpdateOne:
    fields = {name: value for name, value in write.fields.items() if value is not None}
    gone = dict.fromkeys(write.fields.keys() - fields, "")
    update = {"$set": {**fields, "version": Int64(write.after.version)}}
    return UpdateOne({"_id": write.after.key}, {**update, "$unset": gone} if gone else update)
