"""Applies the journals of this node to statistics: `python -m workers.aggregator`.

In: `<state>/journal/*`, as web processes append to it. Out: `clicks_node` and checkpoints, exactly once
(`app.analytics.ledger`); then the applied segments are given back.
A source belongs to one aggregator for life, by a hash of its name; a lock on the aggregator's slot keeps a second one
of the same slot out. One `loop` reads, folds and applies what is there; the driver waits, beats and stops.

kill -9 anywhere: the transaction happened or not, the checkpoint says which, and the next run goes on there.
May import: everything below it.
"""

from __future__ import annotations

import asyncio
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pymongo.errors import PyMongoError

from app.agents import TraitsReader
from app.analytics import Ledger, LostRaceError, fold
from app.journal import SEGMENT_BYTES, Reader, Record, Source, list_sources
from app.lifeline import take_lock
from app.observe import Metrics, get_logger
from app.process import node_id, run_program
from app.settings import Settings
from app.stores import mongodb_url, open_mongodb, run_dir

__all__ = ["Aggregator", "AggregatorCounts"]

RECORDS_MAX = 20_000  # read at once: 10 MB of heads
PAUSE_S = 0.1  # between looks at journals that had nothing new
BACK_OFF_S = (0.2, 0.5, 1.0, 2.0)  # after failures in a row


@dataclass(slots=True)
class AggregatorCounts:
    """Plain counts since the start."""

    applied: int = 0
    damaged: int = 0
    batches: int = 0
    lost_races: int = 0


class Aggregator:
    """The sources of one slot.

    Args:
        journal: `<state>/journal`.
        slot: this aggregator's number, from 0.
        slots: how many there are.
        wall: Unix time in seconds.
    """

    def __init__(
        self,
        *,
        journal: Path,
        ledger: Ledger,
        traits: TraitsReader,
        slot: int,
        slots: int,
        wall: Callable[[], float],
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.counts = AggregatorCounts()
        self._journal = journal
        self._ledger = ledger
        self._traits = traits
        self._slot = slot
        self._slots = slots
        self._wall = wall
        self._segment_bytes = segment_bytes
        self._readers: dict[str, Reader] = {}
        self._applied: dict[str, int] = {}
        self._oldest_s: float | None = None

    @property
    def lag_s(self) -> float:
        """Age of the oldest click that was read and not applied yet; 0 when there is none."""
        return 0.0 if self._oldest_s is None else max(0.0, self._wall() - self._oldest_s)

    async def loop(self) -> bool:
        """Applies one batch of each source; False when everything was read that was there when it began.

        Raises:
            PyMongoError: MongoDB does not answer; what was read is read again.
        """
        is_more = False
        for source in list_sources(self._journal):
            if zlib.crc32(source.name.encode()) % self._slots == self._slot:
                is_more |= await self._advance(source)
        if not is_more:
            self._oldest_s = None
        return is_more

    async def note_progress(self, as_of: float) -> None:
        """After a loop that found nothing more: says how far statistics reach."""
        await self._ledger.note_progress(datetime.fromtimestamp(as_of, UTC))

    def close(self) -> None:
        """Unmaps."""
        for reader in self._readers.values():
            reader.close()

    async def _advance(self, source: Source) -> bool:
        reader = await self._reader(source)
        begin = self._applied[source.name]
        damaged = reader.damaged
        try:
            records = reader.read(RECORDS_MAX)
            batch_end, is_whole = await self._apply(source, reader, begin, records)
        except BaseException:
            self._drop(source.name)
            raise
        if batch_end is None:
            self._drop(source.name)
            return True
        self._note_damage(source, reader.damaged - damaged)
        if batch_end // self._segment_bytes > begin // self._segment_bytes:
            reader.release_applied(batch_end)
        if reader.is_finished and is_whole:
            await self._retire(source, batch_end)
            return False
        return not is_whole or len(records) >= RECORDS_MAX

    async def _reader(self, source: Source) -> Reader:
        reader = self._readers.get(source.name)
        if reader is None:
            applied = await self._ledger.position(source.name)
            reader = Reader(source, applied, segment_bytes=self._segment_bytes)
            reader.release_applied(applied)
            self._readers[source.name] = reader
            self._applied[source.name] = applied
        return reader

    async def _apply(
        self, source: Source, reader: Reader, begin: int, records: list[Record]
    ) -> tuple[int | None, bool]:
        """Applies what was read, as far as one batch goes: (its end, whether that was all); None: a lost race."""
        if reader.position == begin:
            return begin, True
        if records:
            self._oldest_s = records[0].time_ms / 1000
        batch = fold(records, self._traits)
        is_whole = batch.following == len(records)
        end = reader.position if is_whole else records[batch.following].position
        try:
            await self._ledger.apply(source.name, begin, end, batch.deltas)
        except LostRaceError as error:
            self.counts.lost_races += 1
            get_logger().warning("batch not applied, reading again", source=source.name, reason=str(error)[:200])
            return None, False
        self.counts.applied += batch.records
        self.counts.batches += 1
        self._applied[source.name] = end
        if not is_whole:
            reader.position = end
            reader.is_finished = False
        return end, is_whole

    async def _retire(self, source: Source, applied: int) -> None:
        """A dead source, applied to its end: its folder goes, its checkpoint stays."""
        await self._ledger.retire(source.name, applied)
        self._drop(source.name)
        source.retire()
        get_logger().info("source retired", source=source.name)

    def _drop(self, name: str) -> None:
        reader = self._readers.pop(name, None)
        self._applied.pop(name, None)
        if reader is not None:
            reader.close()

    def _note_damage(self, source: Source, stretches: int) -> None:
        if stretches:
            self.counts.damaged += stretches
            get_logger().error("journal damaged, stepped over", source=source.name, stretches=stretches)


async def main(settings: Settings, name: str, stop: asyncio.Event) -> None:
    """Opens, loops until stopped, drains once more."""
    slot = int(name.rpartition("_")[2]) if "_" in name else 0
    lock = take_lock(settings.state_dir / f"aggregator-{slot}.lock")
    if lock is None:
        raise RuntimeError(f"another aggregator {slot} runs on {settings.state_dir}")
    metrics = Metrics(name, run_dir(settings) / "metrics")
    database = open_mongodb(mongodb_url(settings))
    aggregator = Aggregator(
        journal=settings.state_dir / "journal",
        ledger=Ledger(database, f"{node_id(settings.state_dir)}-{slot}"),
        traits=TraitsReader(),
        slot=slot,
        slots=settings.aggregators,
        wall=time.time,
    )
    get_logger().info("started", slot=slot)
    await _drive(aggregator, metrics, stop)
    aggregator.close()
    await database.client.close()


async def _drive(aggregator: Aggregator, metrics: Metrics, stop: asyncio.Event) -> None:
    failures = 0
    published_s = noted_s = 0.0
    while True:
        stopping = stop.is_set()
        began_s = time.time()
        try:
            is_more = await aggregator.loop()
            if not is_more and (began_s - noted_s >= 1.0 or stopping):
                await aggregator.note_progress(began_s)
                noted_s = began_s
            failures = 0
        except PyMongoError as error:
            is_more = False
            failures += 1
            get_logger().warning("MongoDB does not answer", reason=str(error).split("\n")[0][:200], tries=failures)
        if time.time() - published_s >= 1.0 or stopping:
            published_s = time.time()
            _publish(aggregator, metrics)
        if stopping and not is_more:
            return
        if not is_more:
            pause_s = BACK_OFF_S[min(failures, len(BACK_OFF_S)) - 1] if failures else PAUSE_S
            try:
                await asyncio.wait_for(stop.wait(), pause_s)
            except TimeoutError:
                continue


def _publish(aggregator: Aggregator, metrics: Metrics) -> None:
    metrics.count_to("aggregated", aggregator.counts.applied)
    metrics.count_to("damaged", aggregator.counts.damaged)
    metrics.set("lag", aggregator.lag_s)


if __name__ == "__main__":
    sys.exit(run_program("aggregator", main))
