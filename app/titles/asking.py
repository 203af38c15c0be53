"""Asks for the title of each new link that has none, within the transaction that makes the link.

In: the notes of a change, on their way to the audit log. Out: a job for each link that was made without a title. So
there is no link that was forgotten, and none is asked for twice. May import: accounts, jobs, links, turns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from app.accounts import time_of
from app.jobs import ENQUEUED_MAX, JobQueue, NewJob, order_of
from app.links import WriteNotes
from app.stores import Session
from app.turns import Turn

__all__ = ["KIND", "Asking", "TitleJob"]

KIND = "title"


class TitleJob(msgspec.Struct, frozen=True):
    """The payload: a link by its key and its id, as a slug may be another link's by then."""

    key: str
    link: int


class Asking:
    """Writes notes by `write_notes`, and jobs into `queue`."""

    def __init__(self, queue: JobQueue, write_notes: WriteNotes) -> None:
        self._queue = queue
        self._write_notes = write_notes

    async def write(self, notes: Sequence[Mapping[str, Any]], session: Session) -> None:
        """As `write_notes`; raises PyMongoError."""
        await self._write_notes(notes, session)
        jobs = list[NewJob]()
        turn = Turn()
        for note in notes:
            if (job := _job_of(note)) is not None:
                jobs.append(job)
            if turn.is_over:
                await turn.end()
        for start in range(0, len(jobs), ENQUEUED_MAX):
            await self._queue.enqueue(jobs[start : start + ENQUEUED_MAX], session)


def _job_of(note: Mapping[str, Any]) -> NewJob | None:
    if note["what"] != "link.create" or note["new"].get("title"):
        return None
    key = note["subject"].removeprefix("link:")
    host = urlsplit(note["new"]["target"]).hostname
    return NewJob(
        id=f"{note['_id']}-title",
        kind=KIND,
        lane=f"{host}/title",  # a host that is slow holds up no other, and is asked for few at once
        payload=TitleJob(key, note["link"]),
        order=order_of(int(time_of(note))),
    )
