"""A change of links and the note that tells of it: one transaction, so that there is never the one without the other.

In: an update of one row, or rows to insert, and how to tell of the links that come of it. Out: the links as they are
stored, on a majority; or nothing happened. What a note holds, and where it goes, is the caller's business.
May import: pymongo, `rows`, stores.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from pymongo import ReturnDocument

from app.links.model import Link
from app.links.rows import from_row, to_row
from app.stores import Database, Session, transact

__all__ = ["LINKS", "NotedLinks", "Tell", "WriteNotes"]

LINKS = "links"
#: Makes the note of a change from the link as it is stored then; None: nothing is told.
Tell = Callable[[Link], Mapping[str, Any]] | None
#: Writes notes within a transaction.
WriteNotes = Callable[[Sequence[Mapping[str, Any]], Session], Awaitable[None]]


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

    async def insert(self, told: Sequence[tuple[Link, Tell]]) -> None:
        """Inserts all links; raises BulkWriteError when the key or id of one is known, and then inserts none."""

        async def work(session: Session) -> None:
            await self._links.insert_many([to_row(link) for link, _ in told], session=session)
            await self._note(told, session)

        if told:
            await transact(self._database, work)

    async def _note(self, told: Sequence[tuple[Link, Tell]], session: Session) -> None:
        notes = [tell(link) for link, tell in told if tell is not None]
        if notes:
            assert self._write_notes is not None
            await self._write_notes(notes, session)
