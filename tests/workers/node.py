"""One node in small: real journals, the real aggregator, a real MongoDB, and everything that can go wrong, by a seed.

Many nodes share one database and one loop: each has a name and links of its own. What happens between two effects:

    the aggregator dies        nothing of it happens after this effect; another begins
    the reply of a commit is lost, before or after it happened
    another aggregator of the same slot runs beside it
    the aggregator is paused   another goes on, and later perhaps the paused one where it believed to be
    the writer is killed       a power cut besides may tear its last record, and may take back the zeros of a segment
                               that was used again, so that its former records stand behind the new ones
    rollup moves a bucket      it is gone, and what it counted is counted elsewhere
    a dead source comes back   as a restored disk brings it
    the machine is cloned      a copy of its journals is applied elsewhere, under the same names, at the same time
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

from pymongo.errors import AutoReconnect, PyMongoError

from app.agents import CountryFinder, TraitsReader
from app.analytics import CLICKS_NODE, AccessLog, Folding, Gathered, Intake, Ledger, Salts
from app.feed import Tap
from app.journal import REDIRECT_GET, REDIRECT_HEAD, Journal, Source, create_source, list_sources
from app.stores import Database
from workers.applying import Aggregator

SEGMENT_BYTES = 4 * 1024  # 25 records
DAY_MS = 86_400_000
AGENT = b"Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0"
HEAD = b"GET /x HTTP/1.1\r\nHost: h\r\nUser-Agent: " + AGENT + b"\r\n\r\n"
LINKS = 3  # of each node: few buckets, so that lives are short and thousands of them are lived
STEPS_MS = (0, 0, 1, 1, 1, 5_000, 5_000, 60_000, 60_000, DAY_MS // 3)  # between two clicks
STEPS_MAX = 16  # effects of a loop, about
SETTLED_S = 60.0
FOLDING = Folding(traits=TraitsReader(), countries=CountryFinder(None, print))
Counts = Counter[tuple[int, int]]


class CrashError(BaseException):
    """The process is gone: nothing after this effect happens."""


class Node:
    """One node's journals and aggregators.

    Attributes:
        expected: clicks by link and day that were journaled whole.
        records: of all kinds that were journaled whole.
        moved: clicks that rollup took.
        is_told: no aggregator died or was beside another, so the one there is knows how many records it applied.
    """

    def __init__(self, database: Database, folder: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.expected: Counts = Counter()
        self.moved: Counts = Counter()
        self.records = 0
        self.is_told = True
        self._database = database
        self._folder = folder
        self._name = f"{seed:08x}-0"
        self._first_link = seed * LINKS + 1
        self._countdown = 0
        self._lost_reply = ""
        self._writers: dict[str, tuple[Journal, int]] = {}
        self._dropped: list[Journal] = []
        self._kept: Path | None = None
        self._clones = 0
        self._sealed: dict[Source, bytes] = {}
        self._time_ms = 1_700_000_000_000
        self.aggregator = self.new_aggregator()
        self._paused: list[Aggregator] = []
        self._others: list[Aggregator] = []

    def new_aggregator(
        self,
        ledger: Ledger | None = None,
        folder: Path | None = None,
        *,
        buckets_max: int | None = None,
        tap: Tap | None = None,
        access: AccessLog | None = None,
        on_applied: Callable[[Gathered], None] = lambda gathered: None,
    ) -> Aggregator:
        """An aggregator of this node, as a new process would be."""
        salts = Salts(self._database, random=secrets.token_bytes, now=lambda: datetime.now(UTC))
        intake = Intake(
            journal=folder or self._folder,
            folding=FOLDING,
            salts=salts,
            slot=0,
            slots=1,
            wall=lambda: self._time_ms / 1000,
            monotonic=lambda: self._time_ms / 1000,
            tap=tap,
            access=access,
            segment_bytes=SEGMENT_BYTES,
        )
        return Aggregator(
            intake=intake,
            ledger=ledger or Ledger(self._database, self._name, trace=self._trace),
            buckets_max=buckets_max or self.rng.choice((2, 6, 2_000, 2_000)),
            coalesce_s=0,
            on_applied=on_applied,
        )

    def _trace(self, step: str) -> None:
        self._countdown -= 1
        if self._countdown == 0:
            raise CrashError(step)
        if step == self._lost_reply:
            self._lost_reply = ""
            raise AutoReconnect("the connection is gone")

    def append(self, count: int, program: str = "web_0") -> None:
        """Clicks of a few links over a few days, HEADs among them, by one web process."""
        if program not in self._writers:
            source, lock = create_source(self._folder, program, self.rng.randbytes(8))
            self._writers[program] = Journal(source, segment_bytes=SEGMENT_BYTES), lock
        for _ in range(count):
            self._time_ms += self.rng.choice(STEPS_MS)
            link = self._first_link + self.rng.randrange(LINKS)
            is_click = self.rng.random() < 0.9
            self._append(program, link, is_click=is_click)
            self.records += 1
            if is_click:
                self.expected[link, self._time_ms // DAY_MS] += 1

    def _append(self, program: str, link: int, *, is_click: bool) -> None:
        journal, _ = self._writers[program]
        flags = REDIRECT_GET if is_click else REDIRECT_HEAD
        before = journal.position // SEGMENT_BYTES
        assert journal.append(HEAD, self._time_ms, link.to_bytes(8, "big"), 0, flags, bytes(16))
        if journal.position // SEGMENT_BYTES != before:
            self._sealed[journal.source] = journal.source.segment_path(before).read_bytes()
            journal.prepare()

    def kill_writer(self, program: str = "web_0", *, may_tear: bool = False) -> None:
        """kill -9: the map stays as it is, the kernel frees the lock. A power cut does more harm."""
        if program not in self._writers:
            return
        if may_tear and self.rng.random() < 0.3:
            self._append(program, self._first_link, is_click=True)
            self._tear_last(self._writers[program][0])
        if may_tear and self.rng.random() < 0.3:
            self._take_zeros_back(self._writers[program][0])
        journal, lock = self._writers.pop(program)
        os.close(lock)
        self._dropped.append(journal)  # its maps are dropped without a seal or a sync

    def kill_writers(self, *, may_tear: bool = False) -> None:
        """All of them."""
        for program in list(self._writers):
            self.kill_writer(program, may_tear=may_tear)

    def _tear_last(self, journal: Journal) -> None:
        size = (48 + len(HEAD) + 7) & -8
        overwrite(journal, -self.rng.randrange(16, size - 8), b"\xa5\x5a")  # behind the length, before the padding

    def _take_zeros_back(self, journal: Journal) -> None:
        """Behind the last record stands what its segment, used for the second time, held before."""
        overwrite(journal, 0, self._sealed.get(journal.source, b"")[journal.position % SEGMENT_BYTES :])

    async def loop(self, *, may_fail: bool) -> None:
        """One loop of the aggregator; a crash makes a new one."""
        chance = self.rng.random() if may_fail else 1.0
        self._countdown = self.rng.randint(1, STEPS_MAX) if chance < 0.5 else 0
        self._lost_reply = self.rng.choice(("commit", "committed")) if 0.5 < chance < 0.7 else ""
        try:
            await self.aggregator.loop(flush=True)
        except CrashError:
            await self._replace()
        except PyMongoError:
            pass  # the driver would wait, and go on

    async def _replace(self) -> None:
        """Another process takes over; the transaction of the dead one may be on its way still."""
        self._countdown = 0
        self.is_told = False
        dead = self.aggregator
        self.aggregator = self.new_aggregator()
        if self.rng.random() < 0.5:
            self._others.append(dead)
        else:
            await dead.close()

    async def run_beside(self) -> None:
        """A second aggregator of the same slot, at the same time."""
        other = self.new_aggregator()
        self._countdown, self._lost_reply, self.is_told = 0, "", False
        await asyncio.gather(self.aggregator.loop(flush=True), other.loop(flush=True), return_exceptions=True)
        self._others.append(other)

    def switch(self) -> None:
        """The aggregator is paused; another goes on, perhaps one that was paused before."""
        self._countdown, self._lost_reply, self.is_told = 0, "", False
        before, self.aggregator = self.aggregator, self._paused.pop() if self._paused else self.new_aggregator()
        self._paused.append(before)

    async def clone(self) -> None:
        """A copy of all journals, whose writers are dead there, is applied by an aggregator of the same name."""
        self._clones += 1
        self.is_told = False
        folder = self._folder.with_name(f"clone-{self._clones}")
        if self._folder.exists():
            shutil.copytree(self._folder, folder)
        other = self.new_aggregator(folder=folder)
        self._countdown, self._lost_reply = 0, ""
        loops = self.rng.randint(1, 3)

        async def work() -> None:
            for _ in range(loops):
                await other.loop(flush=True)

        await asyncio.gather(self.aggregator.loop(flush=True), work(), return_exceptions=True)
        self._others.append(other)

    async def roll_up(self) -> None:
        """Takes one bucket at the `rev` it read, as rollup does."""
        collection = self._database[CLICKS_NODE]
        row = await collection.find_one(self._mine())
        if row is None:
            return
        gone = await collection.delete_one({"_id": row["_id"], "rev": row["rev"]})
        if gone.deleted_count:
            self.moved[int(row["link"]), day_of(row["day"])] += row.get("clicks", 0)

    def keep_a_source(self) -> None:
        """A copy of a source as it is, which comes back later."""
        sources = list_sources(self._folder)
        if sources and self._kept is None:
            self._kept = self._folder.parent / f"kept-{self._name}" / sources[0].name
            shutil.copytree(sources[0].folder, self._kept)

    def bring_back(self) -> bool:
        """What was kept, if it is gone since."""
        if self._kept is None or (self._folder / self._kept.name).exists():
            return False
        shutil.copytree(self._kept, self._folder / self._kept.name)
        self._kept = None
        return True

    async def settle(self) -> None:
        """Everything is applied, and dead sources are retired."""
        self._countdown, self._lost_reply = 0, ""
        deadline_s, failure = time.monotonic() + SETTLED_S, "there is always more"
        while time.monotonic() < deadline_s:
            try:
                is_more = await self.aggregator.loop(flush=True)
            except CrashError:  # of the transaction that ran when the last effect was counted
                await self._replace()
                continue
            except PyMongoError as error:  # on a busy machine a connection may be given up, and all with it for a while
                failure = str(error)
                await asyncio.sleep(0.01)
                continue
            if not is_more and len(self.sources()) <= len(self._writers):
                return
        raise AssertionError(f"does not come to rest: {failure}")

    def sources(self) -> list[Source]:
        return list_sources(self._folder)

    async def counted(self) -> Counts:
        """Clicks by link and day as they are stored, and those that rollup took."""
        found = Counter(self.moved)
        async for row in self._database[CLICKS_NODE].find(self._mine()):
            found[int(row["link"]), day_of(row["day"])] += row.get("clicks", 0)
        return +found

    def _mine(self) -> dict[str, dict[str, str]]:
        """Buckets of this node's links; `_id` begins with the link."""
        return {"_id": {"$gte": f"{self._first_link:016x}", "$lt": f"{self._first_link + LINKS:016x}"}}

    async def close(self) -> None:
        """Ends everything that runs."""
        for aggregator in (self.aggregator, *self._paused, *self._others):
            await aggregator.close()
        self.kill_writers()


def overwrite(journal: Journal, distance: int, content: bytes) -> None:
    """Writes so far behind a writer's position."""
    sequence, offset = divmod(journal.position, SEGMENT_BYTES)
    with journal.source.segment_path(sequence).open("r+b") as file:
        file.seek(offset + distance)
        file.write(content)


def day_of(number: int) -> int:
    return (date(number // 10_000, number // 100 % 100, number % 100) - date(1970, 1, 1)).days


async def drain(aggregator: Aggregator) -> None:
    """Until everything that is journaled is counted."""
    while await aggregator.loop(flush=True):
        pass
