"""Applies the journals of this node to statistics: `python -m workers.aggregator`.

In: `<state>/journal/*`, as web processes append to it. Out: `clicks_node` and checkpoints, exactly once
(`app.analytics.ledger`); then the applied segments are given back.

    gather   a chunk of each source in turn, folded into one batch, until it is full or there is no more
    prepare  the batch's buckets, in memory
    commit   one transaction, while the next batch is gathered and prepared

A batch waits until it is full or COALESCE_S have passed since the last one began, so a link that is clicked all the
time is written twice a second, not ten times; the first click after a pause does not wait. Whatever fails, the batches
in memory are dropped and read again from the checkpoints.

Who watches visits live hears of them when they are applied (`app.feed`); nothing here waits for Redis.

A source belongs to one aggregator for life, by a hash of its name; a lock on the aggregator's slot keeps a second one
of the same slot out.

kill -9 anywhere: the transaction happened or not, the checkpoint says which, and the next run goes on there.
May import: everything below it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import redis.asyncio
from pymongo.errors import PyMongoError

from app.agents import CountryFinder, TraitsReader
from app.analytics import (
    BUCKETS_MAX,
    BucketKey,
    Folding,
    Gathered,
    HotLinks,
    Intake,
    Ledger,
    Prepared,
    Salts,
    TooLargeError,
)
from app.feed import Glimpse, Publisher, Tap
from app.lifeline import take_lock
from app.observe import Metrics, get_logger
from app.process import node_id, run_program
from app.settings import Settings
from app.stores import (
    Database,
    LostRaceError,
    UnknownOutcomeError,
    check_data,
    mongodb_url,
    open_mongodb,
    open_redis,
    redis_url,
    run_dir,
)

__all__ = ["Aggregator", "AggregatorCounts", "calm_collector"]

COALESCE_S = 0.5  # between the beginnings of two commits, unless a batch is full
PAUSE_S = 0.1  # between looks at journals that had nothing new
BACK_OFF_S = (0.2, 0.5, 1.0, 2.0)  # after failures in a row
DRAIN_S = 5.0  # when told to end: what is on disk then waits for the next run
NOTE_S = 1.0  # between two words of an idle aggregator on how far statistics reach
PUBLISH_S = 1.0  # between two publications of counts
REFRESH_S = 60.0  # between two looks at the file of countries


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
    records: int
    glimpse: Glimpse
    task: asyncio.Task[bool]


class Aggregator:
    """The clicks of one slot's sources, on their way to one ledger.

    Args:
        monotonic: seconds that only grow.
        buckets_max: of one batch.
        coalesce_s: see COALESCE_S.
        on_glimpse: hears of an applied batch what is to be told of it; returns at once.
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
        on_glimpse: Callable[[Glimpse], None] | None = None,
        hot: HotLinks | None = None,
    ) -> None:
        self.counts = AggregatorCounts()
        self.intake = intake
        self._ledger = ledger
        self._monotonic = monotonic
        self._buckets_max = buckets_max
        self._buckets_now = buckets_max
        self._coalesce_s = coalesce_s
        self._on_glimpse = on_glimpse
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
        try:
            prepared = await self._ledger.prepare(moves, gathered.batch.deltas)
        except TooLargeError:
            self._buckets_now = max(1, self._buckets_now // 2)
            await self._settle()
            self.intake.reset()
            return
        self._buckets_now = min(self._buckets_max, self._buckets_now * 2)
        if not await self._settle(prepared):
            return
        self._commit_begun_s = self._monotonic()
        task = asyncio.create_task(self._ledger.commit(prepared, as_of))
        self._flight = _Flight(prepared, gathered.batch.records, gathered.glimpse, task)
        await asyncio.sleep(0)  # its first command is on its way before the next batch is read

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
            get_logger().warning(
                "batch not applied, reading again", reason=str(error).partition(", full error")[0][:200]
            )
        finally:
            if not holds:
                self.intake.reset()
                if following is not None:
                    self._ledger.forget(following.deltas)
        return holds

    def _on_applied(self, flight: _Flight) -> None:
        self.counts.applied += flight.records
        self.counts.batches += 1
        for move in flight.prepared.moves:
            self.intake.on_applied(move)
        if self.hot is not None:
            self.hot.add(flight.prepared.deltas)
        if self._on_glimpse is not None and (flight.glimpse.seen or flight.glimpse.left_out):
            self._on_glimpse(flight.glimpse)


def reason_of(error: Exception) -> str:
    """What MongoDB says, without the whole of its reply."""
    return str(error).partition(", full error")[0].split("\n")[0][:200]


def calm_collector() -> None:
    """Folding makes no cycles, but many objects: without this, looking for cycles takes a fifth of its time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def make_aggregator(
    settings: Settings, database: Database, client: redis.asyncio.Redis, name: str, slot: int
) -> tuple[Aggregator, CountryFinder, Publisher]:
    """The aggregator of a slot, what finds countries for it, and what tells of it."""
    log = get_logger()
    countries = CountryFinder(settings.geoip_db, log.warning)
    folding = Folding(
        traits=TraitsReader(),
        countries=countries,
        trusted=settings.trusted_proxies,
        excluded=settings.excluded_networks,
        country_header=settings.country_header or "",
    )

    def on_refused(key: BucketKey, reason: str) -> None:
        aggregator.counts.set_aside += 1
        log.error("bucket refused by MongoDB, set aside", link=f"{key[0]:016x}", day=key[1], reason=reason)

    tap = Tap(folding.describe, monotonic=time.monotonic)
    publisher = Publisher(client, database, tap)
    intake = Intake(
        journal=settings.state_dir / "journal",
        folding=folding,
        salts=Salts(database, random=secrets.token_bytes, now=lambda: datetime.now(UTC)),
        slot=slot,
        slots=settings.aggregators,
        wall=time.time,
        monotonic=time.monotonic,
        tap=tap,
    )
    ledger = Ledger(database, f"{node_id(settings.state_dir)}-{slot}", on_refused=on_refused)
    hot = HotLinks(run_dir(settings) / "hot" / f"{name}.json", monotonic=time.monotonic)
    aggregator = Aggregator(intake=intake, ledger=ledger, on_glimpse=publisher.offer, hot=hot)
    return aggregator, countries, publisher


async def main(settings: Settings, name: str, stop: asyncio.Event) -> None:
    """Opens, loops until stopped, applies what waits for up to DRAIN_S more."""
    slot = int(name.rpartition("_")[2]) if "_" in name else 0
    lock = take_lock(settings.state_dir / f"aggregator-{slot}.lock")
    if lock is None:
        raise RuntimeError(f"another aggregator {slot} runs on {settings.state_dir}")
    metrics = Metrics(name, run_dir(settings) / "metrics")
    database = open_mongodb(mongodb_url(settings))
    client = open_redis(redis_url(settings))
    aggregator, countries, publisher = make_aggregator(settings, database, client, name, slot)
    calm_collector()
    get_logger().info("started", slot=slot)
    publishing = asyncio.create_task(publisher.run())
    publishing.add_done_callback(_on_published)
    await _drive(aggregator, countries, publisher, metrics, stop, database)
    publishing.cancel()
    await aggregator.close()
    await client.aclose()
    await database.client.close()


def _on_published(publishing: asyncio.Task[None]) -> None:
    """Those who watch live hear nothing more; clicks are counted all the same."""
    if not publishing.cancelled() and (error := publishing.exception()) is not None:
        get_logger().error("live feed failed", exc_info=error)


async def _drive(
    aggregator: Aggregator,
    countries: CountryFinder,
    publisher: Publisher,
    metrics: Metrics,
    stop: asyncio.Event,
    database: Database,
) -> None:
    failures = 0
    is_checked = False
    published_s = noted_s = refreshed_s = 0.0
    ends_s = math.inf
    while True:
        stopping = stop.is_set()
        ends_s = min(ends_s, time.monotonic() + DRAIN_S) if stopping else ends_s
        began_s = time.time()
        try:
            if not is_checked:
                await check_data(database)
                is_checked = True
            is_more = await aggregator.loop(flush=stopping)
            if aggregator.is_idle and (began_s - noted_s >= NOTE_S or stopping):
                await aggregator.note_progress(began_s)
                noted_s = began_s
            failures = 0
        except PyMongoError as error:
            is_more = False
            failures += 1
            get_logger().warning("MongoDB does not answer", reason=reason_of(error), tries=failures)
        if abs(time.time() - published_s) >= PUBLISH_S or stopping:
            published_s = time.time()
            _publish(aggregator, publisher, metrics)
        if began_s - refreshed_s >= REFRESH_S:
            refreshed_s = began_s
            countries.refresh()
        if stopping and (not is_more or time.monotonic() >= ends_s):
            return
        if not is_more:
            pause_s = BACK_OFF_S[min(failures, len(BACK_OFF_S)) - 1] if failures else PAUSE_S
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause_s)


def _publish(aggregator: Aggregator, publisher: Publisher, metrics: Metrics) -> None:
    counts = aggregator.counts
    metrics.count_to("aggregated", counts.applied)
    metrics.count_to("damaged", aggregator.intake.damaged)
    metrics.count_to("set_aside", counts.set_aside)
    metrics.count_to("given_up", aggregator.intake.given_up)
    metrics.count_to("live_published", publisher.published)
    metrics.count_to("live_dropped", publisher.dropped)
    metrics.set("lag", aggregator.intake.lag_s)
    if aggregator.hot is not None:
        with contextlib.suppress(OSError):  # a full disk: nobody sees which links are hot
            aggregator.hot.write()


if __name__ == "__main__":
    sys.exit(run_program("aggregator", main))
