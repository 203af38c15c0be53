"""Servers of Redis die while links are changed and read: nobody is told what was changed 5 s ago, and all goes on.

Real processes, channel, announcer and MongoDB; answers are judged by when each change was acknowledged.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

import pytest
from redis.crc import key_slot

from app.links import ChangeFeed, Link, LinkCache, LinkStore
from app.process import work_by_lease
from app.stores import Lease, open_redis
from tests.conftest import Stores, wait_until
from tests.stores.node import Process, make_catalog
from tests.stores.servers import RedisCluster, SentinelSet, until
from workers.announcer import Announcer

With = Callable[[Callable[[Stores], Awaitable[None]]], None]
LINKS = 40
PROMISE_S = 5.0
SETTLE_S = 15.0
END_S = 20.0
CHANGE_EVERY_S = 0.02
ASK_EVERY_S = 0.01

pytestmark = pytest.mark.timeout(180)


class World:
    """Links that change all the time, two processes that are asked for them, an announcer."""

    def __init__(self, stores: Stores, url: str) -> None:
        self.stores = stores
        self.clients = [open_redis(url) for _ in range(4)]
        self.processes = [Process(stores, client) for client in self.clients[:2]]
        self.unannounced: list[Exception] = []
        self.catalog = make_catalog(stores, self.clients[2], self.unannounced)
        lease = Lease(stores.database, "announcer", holder="n/announcer", monotonic=time.monotonic)
        self.announcer = Announcer(
            lease=lease,
            feed=ChangeFeed(stores.database),
            links=LinkStore(stores.database),
            cache=LinkCache(self.clients[3]),
            monotonic=time.monotonic,
        )
        self.lease = lease
        self.links: list[Link] = []
        self.acknowledged: list[list[float]] = []  # by link, when each of its changes was
        self.stalest_s = 0.0
        self.answers = 0
        self.failed: list[int] = []
        self._is_over = False

    async def run(self, scene: Callable[[], None]) -> None:
        """Plays a scene, in a thread, while everything goes on."""
        stop = asyncio.Event()
        works = [process.channel.run() for process in self.processes]
        tasks = [asyncio.create_task(work) for work in works]
        await LinkCache(self.clients[2]).forget_announced()
        tasks.append(asyncio.create_task(work_by_lease(self.lease, self.announcer, stop, pause_s=0.0)))
        try:
            await wait_until(lambda: all(process.channel.is_live for process in self.processes))
            await wait_until(lambda: self.announcer.counts.cleared > 0)
            for number in range(LINKS):
                self.links.append(await self.catalog.create(target="https://a/0", slug=f"s{number}"))
                self.acknowledged.append([time.monotonic()])
            busy = [asyncio.create_task(self._change()), *(asyncio.create_task(self._ask(p)) for p in self.processes)]
            await asyncio.to_thread(scene)
            self._is_over = True
            async with asyncio.timeout(END_S):
                await asyncio.gather(*busy)
            await self._settle()
        finally:
            stop.set()
            for task in tasks[:-1]:
                task.cancel()
            async with asyncio.timeout(END_S):
                await asyncio.gather(*tasks, return_exceptions=True)
            for process in self.processes:
                await process.resolver.close()
            for client in self.clients:
                await client.aclose()

    async def _change(self) -> None:
        for turn in itertools.count():
            if self._is_over:
                return
            number = turn % LINKS
            target = f"https://a/{len(self.acknowledged[number])}"
            changed = await self.catalog.change(self.links[number], {"target": target})
            assert changed is not None
            self.links[number] = changed
            self.acknowledged[number].append(time.monotonic())
            await asyncio.sleep(CHANGE_EVERY_S)

    async def _ask(self, process: Process) -> None:
        for turn in itertools.count():
            if self._is_over:
                return
            self._judge(turn % LINKS, await process.location(b"s%d" % (turn % LINKS)))
            await asyncio.sleep(ASK_EVERY_S)

    def _judge(self, number: int, found: bytes | int) -> None:
        """How long ago what followed the answer was acknowledged."""
        self.answers += 1
        if isinstance(found, int):
            self.failed.append(found)
            return
        change = int(found.rpartition(b"/")[2])
        times = self.acknowledged[number]
        if change + 1 < len(times):
            self.stalest_s = max(self.stalest_s, time.monotonic() - times[change + 1])

    async def _settle(self) -> None:
        """In the end every process tells the truth."""
        for number in range(LINKS):
            link = await self.catalog.store.get(f"/s{number}")
            assert link is not None
            for process in self.processes:
                deadline = time.monotonic() + SETTLE_S
                while await process.location(b"s%d" % number) != link.target.encode():
                    assert time.monotonic() < deadline, (link, await process.location(b"s%d" % number))
                    await asyncio.sleep(0.05)


def judge(name: str, world: World, again_s: float) -> None:
    changes = sum(len(times) - 1 for times in world.acknowledged)
    sys.stderr.write(
        f"\n{name}: {world.answers} answers, {len(world.failed)} failed; {changes} changes, {len(world.unannounced)} "
        f"announced later; stalest answer {world.stalest_s:.2f} s; writable again after {again_s:.2f} s\n"
    )
    assert not world.failed
    assert world.stalest_s < PROMISE_S
    assert changes > 10  # on a busy machine, too


def play(with_stores: With, url: str, name: str, scene: Callable[[], float]) -> None:
    async def scenario(stores: Stores) -> None:
        world = World(stores, url)
        took: list[float] = []
        await world.run(lambda: took.append(scene()))
        judge(name, world, took[0])

    with_stores(scenario)


#: Scenes that `make test` leaves out: FAILOVERS=all plays them, too.
rarely = pytest.mark.skipif(os.environ.get("FAILOVERS") != "all", reason="FAILOVERS=all plays it")


def after_a_while(fault: Callable[[], float]) -> Callable[[], float]:
    """Some quiet before and after."""

    def scene() -> float:
        time.sleep(1.0)
        took_s = fault()
        time.sleep(2.0)
        return took_s

    return scene


@rarely
def test_primary_under_sentinel_is_killed(with_stores: With, sentinels: SentinelSet) -> None:
    sentinels.mend()
    primary = sentinels.primary()

    def fault() -> float:
        primary.kill()
        return until(lambda: sentinels.has_new_primary(primary))

    play(with_stores, sentinels.url, "sentinel, primary killed", after_a_while(fault))


@rarely
def test_primary_under_sentinel_hangs(with_stores: With, sentinels: SentinelSet) -> None:
    sentinels.mend()
    primary = sentinels.primary()

    def fault() -> float:
        with primary.stopped():
            took_s = until(lambda: sentinels.has_new_primary(primary))
            time.sleep(1.0)
        return took_s

    play(with_stores, sentinels.url, "sentinel, primary stopped", after_a_while(fault))


def test_replica_that_lacks_acknowledged_writes_is_promoted(with_stores: With, sentinels: SentinelSet) -> None:
    """Both replicas lose their connections while they stand still, the primary takes writes alone, and dies."""
    sentinels.mend()
    primary = sentinels.primary()

    def fault() -> float:
        primary.admin("CONFIG SET", "min-replicas-to-write", 0)
        with ExitStack() as still:
            for replica in sentinels.replicas():
                still.enter_context(replica.stopped())
            primary.admin("CLIENT KILL", "TYPE", "replica")
            time.sleep(1.2)  # less than what makes a replica unfit
            primary.kill()
        return until(lambda: sentinels.has_new_primary(primary))

    play(with_stores, sentinels.url, "sentinel, writes of 1.2 s lost", after_a_while(fault))


def test_slots_move_to_a_node_that_had_none(with_stores: With, cluster: RedisCluster) -> None:
    def fault() -> float:
        for slot in {key_slot(b"l:/s%d" % number) for number in range(8)}:
            cluster.move(slot, cluster.servers[-1], pause_s=0.2)
        return 0.0

    play(with_stores, cluster.url, "cluster, slots moved", after_a_while(fault))
    assert cluster.owner(key_slot(b"l:/s0")) is cluster.servers[-1]


def test_node_of_a_cluster_is_killed(with_stores: With, cluster: RedisCluster) -> None:
    cluster.mend()
    primary = cluster.owner(0)

    def fault() -> float:
        primary.kill()
        return until(lambda: cluster.has_new_primary(primary))

    play(with_stores, cluster.url, "cluster, node killed", after_a_while(fault))


@rarely
def test_node_of_a_cluster_hangs(with_stores: With, cluster: RedisCluster) -> None:
    cluster.mend()
    primary = cluster.owner(8192)

    def fault() -> float:
        with primary.stopped():
            took_s = until(lambda: cluster.has_new_primary(primary))
            time.sleep(1.0)
        return took_s

    play(with_stores, cluster.url, "cluster, node stopped", after_a_while(fault))


@rarely
def test_node_of_a_cluster_is_emptied(with_stores: With, cluster: RedisCluster) -> None:
    cluster.mend()

    def fault() -> float:
        cluster.owner(0).admin("FLUSHALL")
        return 0.0

    play(with_stores, cluster.url, "cluster, node emptied", after_a_while(fault))


@rarely
def test_cluster_loses_its_majority_and_has_it_again(with_stores: With, cluster: RedisCluster) -> None:
    cluster.mend()

    def fault() -> float:
        dead = {cluster.owner(0), cluster.owner(16383)}
        for server in dead:
            server.kill()
        time.sleep(6.0)  # what is left answers CLUSTERDOWN
        for server in dead:
            server.run()
        return until(lambda: sum(cluster.is_primary(server) for server in cluster.servers[:6]) == 3)

    play(with_stores, cluster.url, "cluster, two of three primaries killed", after_a_while(fault))


@rarely
def test_all_sentinels_die_and_the_primary_lives(with_stores: With, sentinels: SentinelSet) -> None:
    sentinels.mend()

    def fault() -> float:
        for sentinel in sentinels.sentinels:
            sentinel.kill()
        return 0.0

    play(with_stores, sentinels.url, "sentinel, all sentinels killed", after_a_while(fault))
