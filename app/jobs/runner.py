"""Does jobs: claims as many as may run, gives each its time, and writes what came of it.

In: kinds, and a queue. Out: jobs that are over, or come again. One task for each job, AT_ONCE of them; the loop that
claims them is the only one that starts any.

    a turn      the next lane behind the last one that was served, over all kinds: a long lane holds up no other
    full        a lane with `lane_max` jobs running here, a group with `group_max`, or a kind with `most` is passed over
    the same    a job whose `key` another running one has begins when that one has ended: so jobs of one key that
      key       do not fail are done in their order by one program
    holding     every third of a claim's life all claims are renewed; a job whose claim ran out is told to stop
    the end     no further claim; what runs has DRAIN_S, then it is stopped and given back

Jobs are done at least once: what the end of an attempt was is written under its claim, so that a program that was
stopped for longer than that writes nothing over what another one did. May import: pymongo, observe, queue.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
from pymongo.errors import PyMongoError

from app.jobs.bell import Bell
from app.jobs.kind import AT_ONCE, Kind, Task
from app.jobs.outcomes import DropError, GiveUpError, LostClaimError, RetryError, UndoneError
from app.jobs.queue import Claimed, JobQueue
from app.observe import get_logger, reason_of, traced

__all__ = ["Runner"]

POLL_S = 1.0  # between two looks when nobody rings
SWEEP_S = 1.0
DRAIN_S = 8.0  # supervisord kills after 15
WRITE_PAUSE_S = 0.5  # before what came of a job is written once more
BACK_OFF_S = (0.1, 0.2, 0.5, 1.0, 2.0)
RESULTS = ("done", "dropped", "retried", "dead", "lost", "returned")


@dataclass
class _Running:
    """A job that is being done here."""

    attempt: Task
    kind: Kind
    lane: str
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Runner:
    """Does jobs of one database in one program.

    Args:
        run: a word that no other run of a program uses.
        chance: a number in [0, 1).
        monotonic: a clock in seconds.

    Attributes:
        results: (kind, one of RESULTS) -> how many, since the start.
    """

    def __init__(
        self,
        queue: JobQueue,
        kinds: Sequence[Kind],
        bell: Bell,
        *,
        run: str,
        chance: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
        at_once: int = AT_ONCE,
        drain_s: float = DRAIN_S,
    ) -> None:
        self.results: Counter[tuple[str, str]] = Counter({(kind.name, word): 0 for kind in kinds for word in RESULTS})
        self._queue = queue
        self._kinds = {kind.name: kind for kind in kinds}
        self._bell = bell
        self._run = run
        self._chance = chance
        self._monotonic = monotonic
        self._at_once = at_once
        self._drain_s = drain_s
        self._behind = dict.fromkeys(self._kinds, "")  # the lane that was served last
        self._running: dict[asyncio.Task[None], _Running] = {}
        self._last_of_key: dict[str, asyncio.Event] = {}

    @property
    def running(self) -> int:
        """How many jobs are being done."""
        return len(self._running)

    async def work(self, stop: asyncio.Event) -> None:
        """Does jobs until `stop`, then ends in order; stores that do not answer are waited for."""
        failures = 0
        tending = asyncio.create_task(self._tend(stop))
        stopping = asyncio.create_task(self._ring_at(stop))
        try:
            while not stop.is_set():
                if tending.done():
                    tending.result()  # raises; nobody would hold what is claimed, and nothing would come again
                try:
                    while not stop.is_set() and await self._begin_one():
                        failures = 0
                    failures = 0
                except PyMongoError as error:
                    get_logger().warning("MongoDB does not answer", reason=reason_of(error))
                    await asyncio.sleep(BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)])
                    failures += 1
                    continue
                await self._bell.wait(POLL_S)
            await self._drain()
        finally:
            tending.cancel()
            stopping.cancel()
            await asyncio.gather(tending, stopping, *self._cancel_all(), return_exceptions=True)

    async def _ring_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._bell.ring()

    async def _begin_one(self) -> bool:
        """Claims a job and begins it; False when there is none that may run now."""
        if len(self._running) >= self._at_once:
            return False
        for name in list(self._behind):
            asked_s = self._monotonic()
            job = await self._claim(self._kinds[name])
            if job is not None:
                self._behind[name] = self._behind.pop(name)  # the other kinds come first next time
                self._begin(job, asked_s)
                return True
        return False

    async def _claim(self, kind: Kind) -> Claimed | None:
        """The next job in turn of a kind, once around all lanes that are not full."""
        lanes = Counter(running.lane for running in self._running.values() if running.kind is kind)
        if lanes.total() >= kind.most:
            return None
        groups = Counter(lane.partition("/")[0] for lane in lanes.elements())
        if max(lanes.values(), default=0) < kind.lane_max and max(groups.values(), default=0) < kind.group_max:
            return await self._claim_any(kind)
        after, is_included, is_round = self._behind[kind.name], False, False
        while True:
            lane = await self._queue.next_lane(kind.name, after=after, is_included=is_included)
            if lane is None:
                if is_round:
                    return None
                after, is_included, is_round = "", True, True
                continue
            group = lane.partition("/")[0]
            if groups[group] >= kind.group_max:
                after, is_included = group + "0", True  # the character behind "/"
            elif lanes[lane] >= kind.lane_max:
                after, is_included = lane, False
            else:
                job = await self._queue.claim(kind.name, lane, self._run)
                self._behind[kind.name] = lane
                if job is not None:
                    return job
                after, is_included = lane, False  # others were there first

    async def _claim_any(self, kind: Kind) -> Claimed | None:
        """As `_claim`, while no lane is full."""
        for after in (self._behind[kind.name], ""):
            job = await self._queue.claim_behind(kind.name, after, self._run)
            if job is not None:
                self._behind[kind.name] = job.lane
                return job
        return None

    def _begin(self, job: Claimed, asked_s: float) -> None:
        running = _Running(Task(job, asked_s + self._queue.lease_s, self._monotonic), self._kinds[job.kind], job.lane)
        before = self._last_of_key.get(job.key) if job.key else None
        if job.key:
            self._last_of_key[job.key] = running.ended
        task = asyncio.create_task(self._do(running, before))
        self._running[task] = running
        task.add_done_callback(self._on_end)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        running = self._running.pop(task)
        running.ended.set()
        key = running.attempt.job.key
        if self._last_of_key.get(key) is running.ended:
            del self._last_of_key[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            get_logger().error("what came of a job was not written", job=running.attempt.job.id, exc_info=error)
        self._bell.ring()

    async def _do(self, running: _Running, before: asyncio.Event | None) -> None:
        attempt, kind = running.attempt, running.kind
        job = attempt.job
        try:
            if before is not None:
                await before.wait()
            note = await self._attempt(attempt, kind)
        except LostClaimError:
            self.results[kind.name, "lost"] += 1
        except UndoneError as error:
            await self._end_undone(attempt, kind, error)
        except asyncio.CancelledError:
            with suppress(PyMongoError):  # else the claim runs out
                if await self._queue.give_back(job):
                    self.results[kind.name, "returned"] += 1
            raise
        else:
            await self._write(attempt, "done", lambda: self._queue.finish(job, note, kept_s=kind.kept_s))

    async def _attempt(self, attempt: Task, kind: Kind) -> Mapping[str, Any]:
        """What one attempt returns; whatever it raises is an `UndoneError`, or the claim is lost."""
        job = attempt.job
        with traced(f"job {kind.name}", {"boltlink.job": job.id, "boltlink.attempt": job.attempts}):
            try:
                payload = msgspec.convert(job.payload, kind.payload)
                async with asyncio.timeout(kind.limit_s):
                    attempt.check()
                    return await kind.work(payload, attempt)
            except (UndoneError, LostClaimError):
                raise
            except TimeoutError as error:
                raise RetryError(f"was not done within {kind.limit_s:.0f} s") from error
            except msgspec.ValidationError as error:
                raise GiveUpError(f"its payload cannot be read: {error}") from error
            except Exception as error:
                get_logger().error("job failed", job=job.id, kind=kind.name, exc_info=error)
                raise RetryError(f"{type(error).__name__}: {error}") from error

    async def _end_undone(self, attempt: Task, kind: Kind, error: UndoneError) -> None:
        job, queue = attempt.job, self._queue
        if isinstance(error, DropError):
            await self._write(attempt, "dropped", lambda: queue.finish(job, error.note, error.reason, kind.kept_s))
        elif isinstance(error, GiveUpError) or job.attempts >= kind.attempts_max:
            get_logger().warning("job is dead", job=job.id, kind=kind.name, attempts=job.attempts, reason=error.reason)
            await self._write(attempt, "dead", lambda: queue.bury(job, error.note, error.reason))
        else:
            wait_s = kind.wait_s(job.attempts, self._chance())
            await self._write(attempt, "retried", lambda: queue.retry(job, error.note, error.reason, wait_s))

    async def _write(self, attempt: Task, result: str, write: Callable[[], Awaitable[bool]]) -> None:
        """Writes what came of an attempt, again while MongoDB does not answer and the claim is held."""
        while True:
            try:
                is_written = await write()
            except PyMongoError:
                with suppress(LostClaimError):
                    attempt.check()
                    await asyncio.sleep(WRITE_PAUSE_S)
                    continue
                is_written = False
            self.results[attempt.job.kind, result if is_written else "lost"] += 1
            return

    async def _tend(self, stop: asyncio.Event) -> None:
        """Holds what is claimed, and looks for what has become due, until cancelled."""
        held_s = self._monotonic()
        while True:
            try:
                if self._monotonic() - held_s >= self._queue.lease_s / 3:
                    held_s = self._monotonic()
                    await self._hold(held_s)
                is_more = not stop.is_set() and await self._sweep()
            except PyMongoError:
                is_more = False  # whoever claims says so
            await asyncio.sleep(0 if is_more else SWEEP_S)

    async def _hold(self, now_s: float) -> None:
        """Not what ran out already: another may be at it, and `Task.check` says so."""
        attempts = [running.attempt for running in self._running.values()]
        held = [attempt for attempt in attempts if now_s < attempt.held_until_s]
        if held:
            await self._queue.hold(self._run, [attempt.job.id for attempt in held])
        for attempt in held:
            attempt.held_until_s = now_s + self._queue.lease_s

    async def _sweep(self) -> bool:
        swept = await self._queue.sweep({kind.name: kind.attempts_max for kind in self._kinds.values()})
        for word, found in (("lost", swept.lost), ("dead", swept.dead)):
            for kind, count in found.items():
                self.results[kind, word] += count
        if swept.ready:
            self._bell.ring()
        return swept.is_more

    async def _drain(self) -> None:
        """What runs has its time to end."""
        if self._running:
            await asyncio.wait(self._running, timeout=self._drain_s)

    def _cancel_all(self) -> list[asyncio.Task[None]]:
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        return tasks
