"""Every change reaches Redis and the channel, whoever dies and whatever Redis forgets: real stores, seeded crashes."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.links import CHANNEL, LINKS, Cached, ChangeFeed, Link, LinkCache, LinkStore, decode_message
from app.process import work_by_lease
from app.stores import LEASES, Lease
from tests.conftest import Engines, Stores, wait_until
from workers.announcer import TEND_S, Announcer, is_older

With = Callable[[Callable[[Stores], Awaitable[None]]], None]
SEEDS = range(int(os.environ.get("SIMULATIONS", "12")))
TARGET = "https://example.com/"


class Crash(BaseException):
    """The process is gone: nothing after this effect happens."""


class Dying:
    """Calls of another object, each of which the process may die before or after."""

    def __init__(self, behind: Any, step: Callable[[], None]) -> None:
        self._behind = behind
        self._step = step

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._behind, name)
        if not asyncio.iscoroutinefunction(found):
            return found

        async def call(*arguments: Any) -> Any:
            self._step()
            result = await found(*arguments)
            self._step()
            return result

        return call


class Node:
    """One announcer on real stores, with a clock that stands still between steps."""

    def __init__(self, stores: Stores, holder: str = "n/announcer") -> None:
        self.now_s = 1_000.0
        self.countdown = -1
        self.store = LinkStore(stores.database)
        self.cache = LinkCache(stores.redis)
        self.lease = Lease(stores.database, "announcer", holder=holder, monotonic=time.monotonic)
        self.feed = ChangeFeed(stores.database)
        parts: list[Any] = [Dying(part, self._step) for part in (self.lease, self.feed, self.store, self.cache)]
        self.work = Announcer(
            lease=parts[0], feed=parts[1], links=parts[2], cache=parts[3], monotonic=lambda: self.now_s
        )

    def _step(self) -> None:
        self.countdown -= 1
        if self.countdown == 0:
            raise Crash

    async def start(self) -> None:
        assert await self.lease.acquire()
        await self.work.open()

    async def turn(self, seconds: float = 2 * TEND_S) -> None:
        """One loop, some seconds after the last."""
        self.now_s += seconds
        await self.work.loop()

    async def settle(self) -> None:
        """Until what has changed is announced, looked back at and kept."""
        async with asyncio.timeout(60):
            for quiet in (False, True):
                while True:
                    before = self.work.counts.announced
                    await self.turn()
                    if quiet or self.work.counts.announced > before:
                        break
            for _ in range(4):
                await self.turn()

    async def close(self) -> None:
        await self.feed.close()


@asynccontextmanager
async def node_of(stores: Stores) -> AsyncIterator[Node]:
    """A node that is past its first clearing."""
    node = Node(stores)
    await node.start()
    async with asyncio.timeout(60):
        while not node.work.counts.cleared:
            await node.turn()
    try:
        yield node
    finally:
        await node.close()


@asynccontextmanager
async def hearing(stores: Stores) -> AsyncIterator[Callable[[], Awaitable[list[tuple[str, int]]]]]:
    """What the channel said since it was last asked."""
    async with stores.redis.pubsub(ignore_subscribe_messages=True) as subscription:
        await subscription.subscribe(CHANNEL)
        await subscription.get_message(timeout=5)

        async def heard() -> list[tuple[str, int]]:
            pairs: list[tuple[str, int]] = []
            while (message := await subscription.get_message(timeout=0.05)) is not None:
                pairs += decode_message(message["data"]) or []
            return pairs

        yield heard


def link(slug: str, version: int) -> Link:
    return Link(domain="", slug=slug, link=sum(slug.encode()), target=TARGET, version=version)


async def held(node: Node, key: str) -> Cached | None:
    return (await node.cache.get_many([key]))[0]


def test_change_whose_writer_died_is_put_and_published(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with node_of(stores) as node, hearing(stores) as heard:
            await node.cache.put_many([("/abc", Cached(0))])
            made = await node.store.insert(link("abc", 5))
            await node.settle()
            assert await held(node, "/abc") == made.cached()
            assert ("/abc", 5) in await heard()
            banned = await node.store.change("/abc", {"state": "banned"}, now_ms=9, version=None)
            assert banned is not None
            await node.settle()
            assert await held(node, "/abc") == banned.cached()
            assert ("/abc", 9) in await heard()

    with_stores(scenario)


def test_document_that_is_gone_is_gone_from_redis(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with node_of(stores) as node, hearing(stores) as heard:
            await node.store.insert(link("abc", 5))
            await node.settle()
            await stores.database[LINKS].delete_one({"_id": "/abc"})
            await node.settle()
            assert await held(node, "/abc") is None
            assert ("/abc", 0) in await heard()

    with_stores(scenario)


def test_what_redis_lost_and_a_late_reader_put_back_is_mended(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with node_of(stores) as node, hearing(stores) as heard:
            old = await node.store.insert(link("abc", 5))
            new = await node.store.change("/abc", {"state": "banned"}, now_ms=9, version=None)
            assert new is not None
            async with asyncio.timeout(30):
                while await held(node, "/abc") != new.cached():
                    await node.turn(0.0)
            await heard()
            await stores.redis.delete("l:/abc")  # evicted
            await node.cache.put_many([("/abc", old.cached())])  # read before the change, put after the loss
            for _ in range(4):
                await node.turn()
            assert await held(node, "/abc") == new.cached()
            assert ("/abc", 9) in await heard()
            assert node.work.counts.mended == 1

    with_stores(scenario)


def test_redis_that_knows_nothing_of_a_mark_is_emptied(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with node_of(stores) as node, hearing(stores) as heard:
            old = await node.store.insert(link("abc", 5))
            await node.settle()
            await heard()
            await stores.redis.flushall()
            await node.cache.put_many([("/abc", old.cached())])  # as from a snapshot older than any mark
            async with asyncio.timeout(30):
                while await held(node, "/abc") is not None:
                    await node.turn()
            for _ in range(4):
                await node.turn()
            assert await stores.redis.get("links:announced") is not None
            assert ("", 0) not in await heard()  # what processes know is not in doubt

    with_stores(scenario)


def test_older_is_a_lower_version_and_anything_of_a_document_that_is_gone() -> None:
    assert [is_older(held, 9) for held in (None, 0, 8, 9, 10)] == [False, True, True, False, False]
    assert [is_older(held, 0) for held in (None, 0, 8)] == [False, False, True]


def test_redis_that_comes_back_with_old_data_is_noticed(engines: Engines, with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with node_of(stores) as node, hearing(stores):
            await node.store.insert(link("abc", 5))
            await node.settle()
            await stores.redis.save()
            new = await node.store.change("/abc", {"state": "banned"}, now_ms=9, version=None)
            assert new is not None
            await node.settle()
            assert await held(node, "/abc") == new.cached()
        engines.stop("redis")
        engines.run("redis")
        async with node_again(stores, node) as again:
            stale = await held(again, "/abc")
            assert stale is not None
            assert stale.version == 5  # from the snapshot
            async with asyncio.timeout(30):
                while await held(again, "/abc") != new.cached():
                    await again.turn()

    with_stores(scenario)


@asynccontextmanager
async def node_again(stores: Stores, before: Node) -> AsyncIterator[Node]:
    """The same announcer, running on: its stream is opened anew and nothing else."""
    await before.feed.open(before.feed.token)
    try:
        yield before
    finally:
        await before.close()


def test_lost_history_forgets_every_link_and_says_so(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with node_of(stores) as node, hearing(stores) as heard:
            await node.cache.put_many(
                [(f"/k{number}", Cached(5, link("a", 5).cached().entry)) for number in range(3_000)]
            )
            await stores.redis.set("s:session", b"stays")
            await stores.database[LINKS].insert_one({"_id": "/x"})
            await stores.database[LINKS].drop()
            async with asyncio.timeout(60):
                while node.work.counts.cleared < 2:
                    await node.turn()
            assert await stores.redis.keys("l:*") == []
            assert await stores.redis.get("s:session") == b"stays"
            assert await heard() == [("", 0)] * 2
            await node.store.insert(link("after", 7))
            await node.settle()
            assert await held(node, "/after") is not None

    with_stores(scenario)


def test_waiting_looks_back_are_bounded(with_stores: With, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(stores: Stores) -> None:
        monkeypatch.setattr("workers.announcer.PENDING_MAX", 10)
        async with node_of(stores) as node:
            await asyncio.gather(*(node.store.insert(link(f"{number:02}", 5)) for number in range(30)))
            async with asyncio.timeout(30):
                while not node.work._pending:
                    await node.turn(0.0)
                first = node.work._pending
                for _ in range(3):
                    await node.turn(0.0)
                assert node.work._pending == first >= 10
                while node.work.counts.announced < 30:
                    await node.turn()

    with_stores(scenario)


def test_one_announces_and_the_next_takes_over_where_it_ended(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with node_of(stores) as first:
            await first.store.insert(link("a", 5))
            await first.settle()
            second = Node(stores, "m/announcer")
            assert not await second.lease.acquire()
            await first.lease.release()
            await first.store.insert(link("b", 6))
            await second.start()
            await second.settle()
            assert second.work.counts.announced == 1
            assert second.work.counts.cleared == 0
            assert await held(second, "/b") is not None
            await second.close()

    with_stores(scenario)


class Story:
    """Writers that write MongoDB alone, an announcer that dies, a Redis that forgets, readers that put old things."""

    def __init__(self, stores: Stores, rng: random.Random) -> None:
        self.stores = stores
        self.rng = rng
        self.store = LinkStore(stores.database)
        self.cache = LinkCache(stores.redis)
        self.version = 0
        self.read: list[tuple[str, Cached]] = []  # by readers, before the changes of this chapter
        self.node: Node | None = None

    async def change(self, name: str) -> None:
        self.version += 1
        row = await self.store.get(f"/{name}")
        if row is None:
            await self.store.insert(link(name, self.version))
        else:
            self.read.append((row.key, row.cached()))
            await self.store.change(row.key, {"title": "t"}, now_ms=self.version, version=None)

    async def chapter(self) -> None:
        self.read.clear()
        for _ in range(self.rng.randint(0, 4)):
            await self.change(self.rng.choice("abc"))
        if self.node is None:
            self.node = Node(self.stores)
            self.node.countdown = self.rng.randint(1, 60)
        try:
            if not self.node.lease.is_held:
                await self.node.start()
            for _ in range(self.rng.randint(1, 3)):
                await self.node.turn(0.3 * TEND_S)
            if self.rng.random() < 0.3:
                await self.stores.redis.flushall()
            for key, _ in self.read:
                if self.rng.random() < 0.5:
                    await self.stores.redis.delete(f"l:{key}")  # evicted
            await self.cache.put_many(self.read)
            for _ in range(self.rng.randint(0, 3)):
                await self.node.turn(self.rng.choice([0.95 * TEND_S, 5.0]))
        except Crash:
            await self.node.close()
            self.node = None

    async def end(self) -> None:
        node = self.node or Node(self.stores)
        node.countdown = -1
        if not node.lease.is_held:
            await node.start()
        async with asyncio.timeout(60):
            while await held(node, "/z") is None:  # the stream has its order: then all before it is announced too
                await self.change("z")
                await node.turn()
            for _ in range(12):
                await node.turn()
        await node.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_between_any_two_effects_it_loses_nothing(with_stores: With, seed: int) -> None:
    async def scenario(stores: Stores) -> None:
        story = Story(stores, random.Random(seed))
        for _ in range(10):
            await story.chapter()
        await story.end()
        truth = await story.store.find_many(["/a", "/b", "/c"])
        for (key, row), value in zip(truth.items(), await story.cache.get_many(list(truth)), strict=True):
            assert value is None or value == row.cached(), f"seed {seed}: {key}"

    with_stores(scenario)


def test_it_runs_by_lease(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        node = Node(stores)
        node.work._monotonic = time.monotonic
        stop = asyncio.Event()
        task = asyncio.create_task(work_by_lease(node.lease, node.work, stop, pause_s=0.0))
        await wait_until(lambda: node.work.counts.cleared)
        await node.store.insert(link("abc", 5))
        await wait_until(lambda: node.work.counts.announced and node.lease.kept)
        stop.set()
        await task
        row = await stores.database[LEASES].find_one({"_id": "announcer"})
        assert row is not None
        assert row["kept"]["token"].startswith("82")

    with_stores(scenario)
