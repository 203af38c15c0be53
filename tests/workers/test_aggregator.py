"""Every click is counted once, whatever dies between any two effects: real journals, real MongoDB, seeded crashes."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from app.agents import TraitsReader
from app.analytics import Ledger
from app.journal import REDIRECT_GET, REDIRECT_HEAD, Journal, create_source, list_sources
from tests.conftest import Stores
from workers.aggregator import Aggregator

SEGMENT_BYTES = 8 * 1024
SEEDS = range(int(os.environ.get("SIMULATIONS", "60")))
DAY_MS = 86_400_000
AGENT = b"Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0"
HEAD = b"GET /x HTTP/1.1\r\nHost: h\r\nUser-Agent: " + AGENT + b"\r\n\r\n"
TRAITS = TraitsReader()


class Crash(BaseException):
    """The process is gone: nothing after this effect happens."""


class Node:
    """One node's journals and aggregator, which may die at any effect."""

    def __init__(self, stores: Stores, folder: Path, rng: random.Random) -> None:
        self.rng = rng
        self.expected: Counter[tuple[int, int]] = Counter()
        self._stores = stores
        self._folder = folder
        self._countdown = -1
        self._writer: tuple[Journal, int] | None = None
        self._time_ms = 1_700_000_000_000
        self.aggregator = self._new_aggregator()

    def _trace(self, step: str) -> None:
        self._countdown -= 1
        if self._countdown == 0:
            raise Crash(step)

    def _new_aggregator(self) -> Aggregator:
        return self.aggregator_with(Ledger(self._stores.database, "n-0", trace=self._trace))

    def aggregator_with(self, ledger: Ledger) -> Aggregator:
        """An aggregator of this node, as a second process would be."""
        return Aggregator(
            journal=self._folder,
            ledger=ledger,
            traits=TRAITS,
            slot=0,
            slots=1,
            wall=lambda: self._time_ms / 1000,
            segment_bytes=SEGMENT_BYTES,
        )

    def append(self, count: int) -> None:
        """Clicks of a few links over a few days, HEADs among them."""
        if self._writer is None:
            source, lock = create_source(self._folder, "web_0", self.rng.randbytes(8))
            self._writer = Journal(source, segment_bytes=SEGMENT_BYTES), lock
        journal = self._writer[0]
        for _ in range(count):
            self._time_ms += self.rng.choice([0, 1, 5_000, DAY_MS // 3])
            link = self.rng.randint(1, 6)
            is_click = self.rng.random() < 0.9
            flags = REDIRECT_GET if is_click else REDIRECT_HEAD
            assert journal.append(HEAD, self._time_ms, link.to_bytes(8, "big"), 0, flags, bytes(16))
            journal.prepare()
            if is_click:
                self.expected[link, self._time_ms // DAY_MS] += 1

    def kill_writer(self) -> None:
        """kill -9: the map stays as it is, the kernel frees the lock."""
        if self._writer is not None:
            journal, lock = self._writer
            self._writer = None
            os.close(lock)
            self._kept = journal  # its map is dropped with it, without a seal or a sync

    async def loop(self, *, may_crash: bool) -> None:
        """One loop of the aggregator; a crash makes a new one."""
        self._countdown = self.rng.randint(1, 14) if may_crash else -1
        try:
            await self.aggregator.loop()
        except Crash:
            self.aggregator = self._new_aggregator()
        finally:
            self._countdown = -1

    async def settle(self) -> None:
        """Everything is applied, and dead sources are retired."""
        for _ in range(200):
            if not await self.aggregator.loop() and len(list_sources(self._folder)) <= (self._writer is not None):
                return
        raise AssertionError("does not come to rest")

    async def counted(self) -> Counter[tuple[int, int]]:
        found: Counter[tuple[int, int]] = Counter()
        async for row in self._stores.database["clicks_node"].find():
            found[int(row["link"]), day_of(row["day"])] += row.get("clicks", 0)
        return found

    def close(self) -> None:
        self.aggregator.close()
        self.kill_writer()


def day_of(number: int) -> int:
    return (date(number // 10_000, number // 100 % 100, number % 100) - date(1970, 1, 1)).days


@pytest.mark.parametrize("seed", SEEDS)
def test_clicks_are_counted_once_whatever_dies(seed: int, tmp_path: Path, with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        node = Node(stores, tmp_path, random.Random(seed))
        for _ in range(12):
            node.append(node.rng.randint(0, 40))
            if node.rng.random() < 0.25:
                node.kill_writer()
            await node.loop(may_crash=node.rng.random() < 0.7)
        node.kill_writer()
        await node.settle()
        assert +(await node.counted()) == node.expected, f"seed {seed}"
        node.close()

    with_stores(scenario)


def test_a_paused_aggregator_that_was_replaced_counts_nothing_twice(
    tmp_path: Path, with_stores: Callable[..., None]
) -> None:
    async def scenario(stores: Stores) -> None:
        node = Node(stores, tmp_path, random.Random(1))
        node.append(30)
        await node.aggregator.loop()
        paused = node.aggregator
        node.append(30)
        node.aggregator = node.aggregator_with(Ledger(stores.database, "n-0"))
        await node.aggregator.loop()
        node.append(30)
        await paused.loop()  # goes on where it believed to be
        await paused.loop()
        await node.settle()
        assert +(await node.counted()) == node.expected
        assert paused.counts.lost_races == 1
        paused.close()
        node.close()

    with_stores(scenario)


def test_a_paused_aggregator_whose_buckets_left_its_memory_counts_nothing_twice(
    tmp_path: Path, with_stores: Callable[..., None]
) -> None:
    async def scenario(stores: Stores) -> None:
        node = Node(stores, tmp_path, random.Random(5))
        paused_ledger = Ledger(stores.database, "n-0")
        paused = node.aggregator_with(paused_ledger)
        node.append(30)
        await paused.loop()
        node.append(30)
        await node.aggregator.loop()
        paused_ledger.forget()  # so only the checkpoint can say that it is late
        node.append(30)
        await paused.loop()
        await node.settle()
        assert +(await node.counted()) == node.expected
        paused.close()
        node.close()

    with_stores(scenario)


def test_two_sources_that_share_buckets_are_both_counted(tmp_path: Path, with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        one = Node(stores, tmp_path / "one", random.Random(6))
        two = Node(stores, tmp_path / "two", random.Random(7))
        for _ in range(15):
            one.append(20)
            two.append(20)
            await asyncio.gather(one.aggregator.loop(), two.aggregator.loop())
        await one.settle()
        await two.settle()
        assert +(await one.counted()) == one.expected + two.expected
        one.close()
        two.close()

    with_stores(scenario)


def test_two_aggregators_of_one_slot_at_once_count_once(tmp_path: Path, with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        node = Node(stores, tmp_path, random.Random(2))
        other = node.aggregator_with(Ledger(stores.database, "n-0"))
        for _ in range(15):
            node.append(20)
            await asyncio.gather(node.aggregator.loop(), other.loop())
        await node.settle()
        assert +(await node.counted()) == node.expected
        other.close()
        node.close()

    with_stores(scenario)


def test_a_source_that_a_restored_disk_brings_back_is_not_counted_again(
    tmp_path: Path, with_stores: Callable[..., None]
) -> None:
    async def scenario(stores: Stores) -> None:
        node = Node(stores, tmp_path / "journal", random.Random(3))
        node.append(50)
        (source,) = list_sources(tmp_path / "journal")
        node.kill_writer()
        shutil.copytree(source.folder, tmp_path / "kept")
        await node.settle()
        shutil.copytree(tmp_path / "kept", source.folder)
        await node.settle()
        assert +(await node.counted()) == node.expected
        node.close()

    with_stores(scenario)


def test_more_buckets_than_a_batch_holds_are_cut_and_nothing_is_lost(
    tmp_path: Path, with_stores: Callable[..., None]
) -> None:
    async def scenario(stores: Stores) -> None:
        source, lock = create_source(tmp_path, "web_0", bytes(8))
        journal = Journal(source, segment_bytes=1024 * 1024)
        for link in range(1, 4_501):
            assert journal.append(HEAD, 1_700_000_000_000, link.to_bytes(8, "big"), 0, REDIRECT_GET, bytes(16))
            journal.prepare()
        aggregator = Aggregator(
            journal=tmp_path,
            ledger=Ledger(stores.database, "n-0"),
            traits=TRAITS,
            slot=0,
            slots=1,
            wall=lambda: 1_700_000_000.0,
            segment_bytes=1024 * 1024,
        )
        while await aggregator.loop():
            pass
        assert await stores.database["clicks_node"].count_documents({"clicks": 1}) == 4_500
        assert aggregator.counts.batches == 3
        aggregator.close()
        journal.close()
        os.close(lock)

    with_stores(scenario)
