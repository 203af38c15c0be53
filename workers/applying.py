"""The batches of one aggregator, from journals to statistics, exactly once.

    gather   a chunk of each source in turn, folded into one batch, until it is full or there is no more
    prepare  the batch's buckets, in memory
    commit   one transaction, while the next batch is gathered and prepared

A batch waits until it is full or COALESCE_S have passed since the last one began, so a link that is clicked all the
time is written twice a second, not ten times; the first click after a pause does not wait. Whatever fails, the batches
in memory are dropped and read again from the checkpoints.

In: sources, through `Intake`. Out: transactions, through `Ledger`, and a word of each batch that is applied.
`workers.aggregator` is the program that calls `loop`. May import: analytics, observe, stores.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from app.analytics import BUCKETS_MAX, Gathered, HotLinks, Intake, Ledger, Prepared, TooLargeError
from app.observe import Span, begin, get_logger, reason_of, within
from app.stores import LostRaceError, UnknownOutcomeError

__all__ = ["Aggregator", "AggregatorCounts"]

COALESCE_S = 0.5  # between the beginnings of two commits, unless a batch is full


@dataclass(slots=True)
class AggregatorCounts:
    """Plain counts since the start."""

    applied: int = 0
    batches: int = 0
    lost_races: int = 0
    set_aside: int = 0


@dataclass(slots=True)
class _Flight:
    """A batch whose transaction runs."""

    prepared: Prepared
    gathered: Gathered
    task: asyncio.Task[bool]


class Aggregator:
    """The clicks of one slot's sources, on their way to one ledger.

    Args:
        monotonic: seconds that only grow.
        buckets_max: of one batch.
        coalesce_s: see COALESCE_S.
        on_applied: hears of each applied batch; returns at once.
        hot: counts which links are clicked most.
    """

    def __init__(
        self,
        *,
        intake: Intake,
        ledger: Ledger,
        monotonic: Callable[[], float] = time.monotonic,
        buckets_max: int = BUCKETS_MAX,
        coalesce_s: float = COALESCE_S,
        on_applied: Callable[[Gathered], None] = lambda gathered: None,
        hot: HotLinks | None = None,
    ) -> None:
        self.counts = AggregatorCounts()
        self.intake = intake
        self._ledger = ledger
        self._monotonic = monotonic
        self._buckets_max = buckets_max
        self._buckets_now = buckets_max
        self._coalesce_s = coalesce_s
        self._tell_applied = on_applied
        self.hot = hot
        self._flight: _Flight | None = None
        self._unknown: _Flight | None = None
        self._commit_begun_s = -coalesce_s

    @property
    def is_idle(self) -> bool:
        """Whether everything that was read is applied."""
        return self._flight is None and self._unknown is None and self.intake.is_empty

    async def loop(self, *, flush: bool = False) -> bool:
        """Gathers, and begins to commit a batch if it is time; True when there may be more at once.

        Args:
            flush: a batch is not waited for.

        Raises:
            PyMongoError: MongoDB does not answer; what was read is read again.
        """
        try:
            flight = self._flight
            if flight is not None and (flight.task.done() or not self.intake.is_open) and not await self._settle():
                return True
            await self._open()
            gathered = await self.intake.gather(self._buckets_now)
            is_settled = gathered is not None or await self._settle()
            for name, applied in self.intake.finished():
                await self._ledger.retire(name, applied)
                self.intake.retire(name)
            if gathered is None:
                return not is_settled
            is_due = self._monotonic() - self._commit_begun_s >= self._coalesce_s
            if not (gathered.is_full or is_due or flush):
                return False
            await self._commit(gathered)
            return True
        except BaseException:
            self.intake.reset()
            raise

    async def note_progress(self, as_of: float) -> None:
        """After a loop that found nothing more: says how far statistics reach."""
        await self._ledger.note_progress(datetime.fromtimestamp(as_of, UTC))

    async def close(self) -> None:
        """Waits for the transaction that runs, and unmaps."""
        if self._flight is not None:
            await asyncio.gather(self._flight.task, return_exceptions=True)
        self.intake.reset()

    async def _open(self) -> None:
        """Reads the checkpoints of new sources, and what they say of a batch whose reply was lost."""
        fresh = self.intake.fresh()
        unknown = self._unknown
        if not fresh and unknown is None:
            return
        moves = [] if unknown is None else unknown.prepared.moves
        checkpoints = await self._ledger.checkpoints({*(s.name for s in fresh), *(move.source for move in moves)})
        self._unknown = None
        if unknown is not None and moves:
            found = checkpoints[moves[0].source]
            if (found.run, found.batch) == (self._ledger.run, unknown.prepared.number):
                self._on_applied(unknown)
        for source in fresh:
            self.intake.open(source, checkpoints[source.name], self._ledger.run)

    async def _commit(self, gathered: Gathered) -> None:
        """Prepares a batch, waits for the one before, and begins its transaction."""
        moves, as_of = self.intake.take(gathered)
        about = {"boltlink.records": gathered.batch.records, "boltlink.buckets": gathered.batch.buckets}
        span = begin("aggregate", about, began_s=gathered.began_s)
        try:
            with within(span):
                prepared = await self._ledger.prepare(moves, gathered.batch.deltas)
        except TooLargeError as error:
            span.end(error)
            self._buckets_now = max(1, self._buckets_now // 2)
            await self._settle()
            self.intake.reset()
            return
        self._buckets_now = min(self._buckets_max, self._buckets_now * 2)
        if not await self._settle(prepared):
            span.end("dropped")
            return
        self._commit_begun_s = self._monotonic()
        task = asyncio.create_task(self._apply(prepared, as_of, span))
        self._flight = _Flight(prepared, gathered, task)
        await asyncio.sleep(0)  # its first command is on its way before the next batch is read

    async def _apply(self, prepared: Prepared, as_of: datetime, span: Span) -> bool:
        """The transaction of a batch, which ends its span."""
        try:
            with within(span):
                holds = await self._ledger.commit(prepared, as_of)
        except BaseException as error:
            span.end(error)
            raise
        span.end(None if holds else "refused")
        return holds

    async def _settle(self, following: Prepared | None = None) -> bool:
        """Waits for the transaction that runs; False when everything is to be read again.

        Args:
            following: a batch that was prepared meanwhile, dropped if this one does not hold.
        """
        flight, self._flight = self._flight, None
        if flight is None:
            return True
        holds = False
        try:
            holds = await flight.task
            self._on_applied(flight)
        except (LostRaceError, UnknownOutcomeError) as error:
            if isinstance(error, UnknownOutcomeError):
                self._unknown = flight
            self.counts.lost_races += 1
            get_logger().warning("batch not applied, reading again", reason=reason_of(error))
        finally:
            if not holds:
                self.intake.reset()
                if following is not None:
                    self._ledger.forget(following.deltas)
        return holds

    def _on_applied(self, flight: _Flight) -> None:
        self.counts.applied += flight.gathered.batch.records
        self.counts.batches += 1
        for move in flight.prepared.moves:
            self.intake.on_applied(move)
        if self.hot is not None:
            self.hot.add(flight.prepared.deltas)
        self._tell_applied(flight.gathered)
