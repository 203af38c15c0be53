"""`/api/v1/jobs`: background jobs as they are, and those that were given up done again. May import: jobs, webhooks."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Annotated

import msgspec
from msgspec import Meta

from app.api.fields import MomentField, shown
from app.api.handler import Handler
from app.api.operation import Answer, operation
from app.api.parameters import CURSOR, PAGE_DEFAULT, page_limit, wrong_cursor
from app.api.problems import Problem
from app.checks import KIND as CHECK
from app.jobs import JobState, JobView, Place
from app.titles import KIND as TITLE
from app.webhooks import KIND as WEBHOOK

__all__ = ["JobRetryHandler", "JobsHandler"]

KINDS = (CHECK, TITLE, WEBHOOK)
_CURSOR = re.compile(r"(\d{1,14})\.([A-Za-z0-9._-]{1,100})")


class Job(msgspec.Struct, kw_only=True):
    """A background job."""

    id: Annotated[str, shown("Its id.", "6926d8a0f3c1b2a4d5e6f708-3b9f0c5a2b3d4e5f")]
    kind: Annotated[str, Meta(examples=[WEBHOOK])]
    lane: Annotated[
        str,
        Meta(description="Jobs of one lane wait for each other: of a webhook, of a host with pages."),
    ]
    state: JobState
    attempts: int
    created_at: MomentField
    due_at: Annotated[MomentField, Meta(description="When it may be done, or was over.")]
    error: Annotated[str, Meta(description="Why the last attempt failed.")]


class JobPage(msgspec.Struct):
    """Jobs, the latest `due_at` first."""

    items: list[Job]
    next_cursor: str | None


class JobsQuery(msgspec.Struct):
    """Which jobs."""

    state: Annotated[JobState, Meta(description="`dead` ones were given up.")] = JobState.DEAD
    limit: Annotated[int, page_limit()] = PAGE_DEFAULT
    cursor: Annotated[str, Meta(max_length=120, description=CURSOR)] = ""


class JobsHandler(Handler):
    """All of them."""

    @operation({200: Answer(JobPage)}, query=JobsQuery)
    async def get(self) -> None:
        """List background jobs."""
        query = self.query(JobsQuery)
        after = None if not query.cursor else _read_cursor(query.cursor)
        found, following = await self.services.jobs.page(query.state, KINDS, limit=query.limit, after=after)
        cursor = None if following is None else f"{following.due_ms}.{following.id}"
        self.answer(JobPage([_view(job) for job in found], cursor))


class JobRetryHandler(Handler):
    """One of them."""

    @operation(
        {202: Answer(Job)}, refuses={404: "There is no such job.", 409: "It is just being done, or waits to be."}
    )
    async def post(self, id_: str) -> None:
        """Do a job again.

        One that was given up, is done, or waits for its next attempt: now, with all attempts before it.
        """
        if await self.services.jobs.find({"_id": id_}) is None:
            raise Problem(HTTPStatus.NOT_FOUND, "There is no such job.")
        again = await self.services.jobs.again({"_id": id_})
        if again is None:
            raise Problem(HTTPStatus.CONFLICT, "It is just being done, or waits to be.")
        await self.services.ring()
        self.answer(_view(again), HTTPStatus.ACCEPTED)


def _view(job: JobView) -> Job:
    return Job(
        id=job.id,
        kind=job.kind,
        lane=job.lane,
        state=job.state,
        attempts=job.attempts,
        created_at=job.created,
        due_at=job.due,
        error=job.error,
    )


def _read_cursor(text: str) -> Place:
    match = _CURSOR.fullmatch(text)
    if match is None:
        raise wrong_cursor()
    return Place(int(match[1]), match[2])
