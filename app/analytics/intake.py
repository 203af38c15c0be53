"""What comes in: the journals of one aggregator, read in turn and folded into a batch.

In: `<state>/journal/*` and checkpoints. Out: batches, how far each source is, what is damaged, how old the oldest click
is that is not applied.

A source whose checkpoint somebody else moved, or that this journal never reached, is one that a clone or an older state
of this machine shares: its writer is asked to go on in a new one, and what is left of it is read from the checkpoint
on. A source that cannot be read is logged once and stops no other. May import: journal, feed, observe.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from app.analytics.access import AccessLog, Taken
from app.analytics.fold import Batch, Folding
from app.analytics.ledger import Checkpoint
from app.analytics.salts import Salts
from app.analytics.storing import Move
from app.feed import Glimpse, Tap
from app.journal import READ_BYTES, SEGMENT_BYTES, RawRecord, Reader, Source, list_sources, oldest_ms
from app.observe import get_logger

__all__ = ["Gathered", "Intake"]

RECORDS_MAX = 100_000  # of one batch: half a second of folding, 1 MB of visitors' ids
GIVE_UP_S = 60.0  # at most one source is given up in this time: two nodes that share everything must not race in it


@dataclass(slots=True)
class _Standing:
    """How far one source is: applied on a majority, and read by its reader."""

    source: Source
    reader: Reader
    applied: int
    noted_damage: int = 0


@dataclass(slots=True)
class Gathered:
    """A batch that is being made: since when, and where it begins in each source."""

    began_s: float
    batch: Batch = field(default_factory=Batch)
    glimpse: Glimpse = field(default_factory=Glimpse)
    access: Taken = field(default_factory=Taken)
    begins: dict[str, int] = field(default_factory=dict)
    is_full: bool = False


class Intake:
    """The sources of one slot.

    Args:
        journal: `<state>/journal`.
        slot: the aggregator's number, from 0.
        slots: how many there are.
        wall: Unix time in seconds.
        monotonic: seconds that only grow.
        tap: looks at what is folded, when somebody watches.
        access: takes down some of it; None: nothing.

    Attributes:
        damaged: stretches of journal that could not be read.
        given_up: sources that somebody else shares.
    """

    def __init__(
        self,
        *,
        journal: Path,
        folding: Folding,
        salts: Salts,
        slot: int,
        slots: int,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        tap: Tap | None = None,
        access: AccessLog | None = None,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.damaged = 0
        self.given_up = 0
        self._journal = journal
        self._folding = folding
        self._salts = salts
        self._slot = slot
        self._slots = slots
        self._wall = wall
        self._monotonic = monotonic
        self._tap = tap
        self._access = access
        self._segment_bytes = segment_bytes
        self._standings: dict[str, _Standing] = {}
        self._applied_once: dict[str, int] = {}
        self._gathered: Gathered | None = None
        self._moved: set[str] = set()
        self._given_up_s = -GIVE_UP_S
        self._turn = 0
        self._failing: set[str] = set()

    @property
    def lag_s(self) -> float:
        """Age of the oldest click that is not applied, read or not; 0 when there is none."""
        found = (self._oldest_ms(source, self._applied(source)) for source in self._sources())
        times = [time_ms for time_ms in found if time_ms is not None]
        return max(0.0, self._wall() - min(times) / 1000) if times else 0.0

    @property
    def is_empty(self) -> bool:
        """Whether no batch is being made."""
        return self._gathered is None

    @property
    def is_open(self) -> bool:
        """Whether any source was opened since the last `reset`."""
        return bool(self._standings)

    def fresh(self) -> list[Source]:
        """Sources whose checkpoints must be read: new ones, or all after `reset`. Lets go of those that are gone."""
        sources = self._sources()
        begun = self._gathered.begins if self._gathered is not None else {}
        for gone in set(self._standings).difference(begun, (source.name for source in sources)):
            self._standings.pop(gone).reader.close()
        return [source for source in sources if source.name not in self._standings]

    def open(self, source: Source, checkpoint: Checkpoint, run: str) -> None:
        """Goes on in a source where its checkpoint says; `run` is that of this aggregator's ledger."""
        with self._watch(source):
            reader = Reader(source, checkpoint.applied, segment_bytes=self._segment_bytes)
            is_shared = source.name in self._moved and checkpoint.run != run
            if source.is_live() and (is_shared or (checkpoint.applied and not reader.stands_at_a_record())):
                self._give_up(source)
            reader.release_applied(checkpoint.applied)
            self._standings[source.name] = _Standing(source, reader, checkpoint.applied)

    async def gather(self, buckets_max: int) -> Gathered | None:
        """Reads and folds a chunk of each source in turn until the batch is full; None when there is nothing at all.

        A source that gave less than a chunk has its turn in the next batch: were it asked again while others are read,
        one that is written all the time would keep this batch open until it is full.

        Raises:
            PyMongoError: a day's salt cannot be had.
        """
        gathered = self._gathered or Gathered(self._wall())
        standings = list(self._standings.values())
        self._turn = (self._turn + 1) % max(1, len(standings))
        standings = standings[self._turn :] + standings[: self._turn]
        while standings and not gathered.is_full:
            standings = [standing for standing in standings if await self._gather_from(standing, gathered, buckets_max)]
        self._gathered = gathered if gathered.begins else None
        return self._gathered

    def take(self, gathered: Gathered) -> tuple[list[Move], datetime]:
        """Ends a batch: what moves, and up to when every click is counted with it."""
        self._gathered = None
        moves = [
            Move(name, begin, self._standings[name].reader.position)
            for name, begin in gathered.begins.items()
            if self._standings[name].reader.position != begin
        ]
        behind = (self._oldest_ms(standing.source, standing.reader.position) for standing in self._standings.values())
        seconds = min([gathered.began_s, *(time_ms / 1000 for time_ms in behind if time_ms is not None)])
        return moves, datetime.fromtimestamp(seconds, UTC)

    def on_applied(self, move: Move) -> None:
        """A batch is stored: its segments are given back."""
        self._moved.add(move.source)
        standing = self._standings.get(move.source)
        if standing is None:
            return
        standing.applied = move.end
        self._note_damage(standing)
        if move.end // self._segment_bytes > move.begin // self._segment_bytes:
            with self._watch(standing.source):
                standing.reader.release_applied(move.end)

    def finished(self) -> list[tuple[str, int]]:
        """Dead sources that are applied to their end, and where that is."""
        standings = self._standings.items()
        return [(name, s.applied) for name, s in standings if s.reader.is_finished and s.reader.position == s.applied]

    def retire(self, name: str) -> None:
        """Removes the folder of a finished source."""
        standing = self._standings.pop(name)
        self._moved.discard(name)
        self._note_damage(standing)
        standing.reader.close()
        with self._watch(standing.source):
            left = standing.source.retire()
            get_logger().info("source retired", source=name, **({"left": left} if left else {}))

    def reset(self) -> None:
        """Forgets what was read: it is read again from the checkpoints."""
        known = self._applied_once | {name: standing.applied for name, standing in self._standings.items()}
        names = {source.name for source in self._sources()}
        self._applied_once = {name: applied for name, applied in known.items() if name in names}
        for standing in self._standings.values():
            standing.reader.close()
        self._standings.clear()
        self._gathered = None

    def _sources(self) -> list[Source]:
        return [s for s in list_sources(self._journal) if zlib.crc32(s.name.encode()) % self._slots == self._slot]

    async def _gather_from(self, standing: _Standing, gathered: Gathered, buckets_max: int) -> bool:
        """One chunk of one source, unless the batch is full; whether there may be more by now."""
        if gathered.is_full:
            return False
        begin, read = standing.reader.position, 0
        with self._watch(standing.source):
            records = standing.reader.read_raw()
            read = standing.reader.position - begin
            if read:
                gathered.begins.setdefault(standing.source.name, begin)
                await self._fold(gathered, standing.reader, records, buckets_max)
                await asyncio.sleep(0)  # the commit of the batch before goes on
        return read >= READ_BYTES

    async def _fold(self, gathered: Gathered, reader: Reader, records: list[RawRecord], buckets_max: int) -> None:
        """Folds what was read; sets the reader back to the first record that did not fit."""
        batch = gathered.batch
        done = self._folding.add(batch, records, self._salts.known, buckets_max=buckets_max)
        while (day := batch.missing_salt) is not None:
            await self._salts.learn(day)
            done = self._folding.add(batch, records, self._salts.known, begin=done, buckets_max=buckets_max)
        if self._tap is not None and self._tap.is_wanted:
            self._tap.take(records, done, gathered.glimpse)
        if self._access is not None:
            self._access.take(records, done, gathered.access)
        if done < len(records):
            reader.position = records[done][0]
            reader.is_finished = False
        gathered.is_full = done < len(records) or batch.records >= RECORDS_MAX

    def _give_up(self, source: Source) -> None:
        now_s = self._monotonic()
        if source.is_given_up() or now_s - self._given_up_s < GIVE_UP_S:
            return
        self._given_up_s = now_s
        self.given_up += 1
        source.give_up()
        get_logger().error("journal given up: a clone or an older state of this machine shares it", source=source.name)

    def _applied(self, source: Source) -> int:
        """As far as is known: after `reset`, while no checkpoint can be read, what was applied before."""
        standing = self._standings.get(source.name)
        return self._applied_once.get(source.name, 0) if standing is None else standing.applied

    def _oldest_ms(self, source: Source, position: int) -> int | None:
        with suppress(OSError):  # another aggregator may have removed it just now
            return oldest_ms(source, position, segment_bytes=self._segment_bytes)
        return None

    def _note_damage(self, standing: _Standing) -> None:
        stretches = standing.reader.damaged - standing.noted_damage
        if stretches:
            standing.noted_damage = standing.reader.damaged
            self.damaged += stretches
            get_logger().error("journal damaged, stepped over", source=standing.source.name, stretches=stretches)

    @contextmanager
    def _watch(self, source: Source) -> Iterator[None]:
        """A source that cannot be read is said once, and stops no other."""
        try:
            yield
        except OSError as error:
            if source.name not in self._failing:
                self._failing.add(source.name)
                get_logger().error("journal cannot be read", source=source.name, reason=str(error))
        else:
            self._failing.discard(source.name)
