"""Asks for a look at each link, round after round: one program of all does it, by the lease `checks`.

In: `links` in the order of keys. Out: jobs, as many as are due (`pace`), which any program does (`checking`).

    kept       the lease keeps the place behind the links whose jobs are written
    a job      is named after round and link, so what is done again writes none twice
    waiting    with WAITING_MAX that wait, or were failing and wait for their next look, the round stands still
    a host     of which HOST_WAITING_MAX wait is passed over until some of them are over, else one that is slow would
               hold up all others: what is passed over has its look in a later round

kill -9 anywhere: the next one begins behind the kept place; a batch that was written and not kept is written again, and
finds its jobs there. So does a holder that stood still: it adds no job that another one has not added, or would.
May import: jobs, links, stores.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from app.checks.checking import KIND, CheckJob, mark_of
from app.checks.judging import host_of, is_looked_at
from app.checks.pace import BATCH_MAX, Place, next_step
from app.jobs import JobQueue, JobState, NewJob, order_of
from app.links import Link, LinkWalk
from app.observe import traced
from app.stores import Lease

__all__ = ["Rounds", "job_of"]

WAITING_MAX = 100_000  # jobs: about 50 MB
HOST_WAITING_MAX = 2_000  # jobs: done in minutes where a host answers at once, in hours where each takes ten seconds


class Rounds:
    """The work of whoever holds `lease`.

    Args:
        every_s: how long a round lasts.
        on_jobs: called when some were written.
        now_s: Unix time in seconds.
    """

    def __init__(
        self,
        walk: LinkWalk,
        lease: Lease,
        queue: JobQueue,
        *,
        every_s: int,
        on_jobs: Callable[[], Awaitable[None]],
        now_s: Callable[[], float] = time.time,
        waiting_max: int = WAITING_MAX,
        host_waiting_max: int = HOST_WAITING_MAX,
    ) -> None:
        self._walk = walk
        self._lease = lease
        self._queue = queue
        self._every_s = every_s
        self._on_jobs = on_jobs
        self._now_s = now_s
        self._waiting_max = waiting_max
        self._host_waiting_max = host_waiting_max
        self._place: Place | None = None
        self._room = 0  # for jobs, at least: nobody else writes any, and those that are over make it larger

    async def open(self) -> None:
        """Goes on behind what is kept; what cannot be read is a round that nobody goes on with."""
        try:
            self._place = msgspec.convert(self._lease.kept, Place)
        except msgspec.ValidationError:
            self._place = None
        self._room = 0

    async def loop(self) -> bool:
        """The links that are due; True when there may be more at once."""
        now_s = self._now_s()
        step = next_step(self._place, now_s=now_s, links=await self._walk.count(), every_s=self._every_s)
        if step.count == 0:
            self._place = step.place
            return False
        if self._room < step.count:
            self._room = self._waiting_max - await self._waiting()
        count = min(step.count, self._room)
        if count <= 0:
            return False
        with traced("checks", {"boltlink.links": count}):
            links = await self._walk.step(step.place.behind, count)
            jobs = await self._with_room(
                [job_of(link, step.place.began, now_s) for link in links if is_looked_at(link, now_s)]
            )
            if jobs:
                self._room -= len(jobs)
                await self._queue.enqueue(jobs)
                await self._on_jobs()
            behind = links[-1].key if links else step.place.behind
            place = step.done(behind, is_last=len(links) < count)
            await self._lease.renew(msgspec.to_builtins(place))
        self._place = place
        return count == BATCH_MAX

    async def drain(self) -> None:
        """Nothing is under way between two batches."""

    async def _with_room(self, jobs: Sequence[NewJob]) -> list[NewJob]:
        """Those of hosts of which not too many wait already."""
        waiting = Counter(await self._queue.count_lanes(KIND, list({job.lane for job in jobs}))) if jobs else Counter()
        kept = []
        for job in jobs:
            if waiting[job.lane] < self._host_waiting_max:
                waiting[job.lane] += 1
                kept.append(job)
        return kept

    async def _waiting(self) -> int:
        """How many jobs wait: 50 ms where they are 100,000, so they are counted only when there may be no room."""
        states = (JobState.READY, JobState.DELAYED)
        return sum([await self._queue.count(state, [KIND], self._waiting_max) for state in states])


def job_of(link: Link, began: int, now_s: float) -> NewJob:
    """The look at a link of the round that began then."""
    return NewJob(
        id=f"check-{began:x}-{link.link:x}",
        kind=KIND,
        lane=f"{host_of(link.target)}/check",  # a host that is slow holds up no other, and is asked for few at once
        payload=CheckJob(link.key, link.link, mark_of(link.target)),
        order=order_of(int(now_s)),
    )
