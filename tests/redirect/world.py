"""A small world in which every step of readers, writers and the announcer waits to be told to happen.

In: real Redis and MongoDB. Out: readers whose calls of stores stop before and after (`Gate`), writers that write
MongoDB and may die before they announce it, the announcer on a clock that stands still, and messages that are delivered
when a test says so. What a reader may answer is judged by the key's history.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pymongo.errors import AutoReconnect
from redis.exceptions import ConnectionError as RedisConnectionError

from app.links import CHANNEL, Cached, ChangeFeed, Link, LinkCache, LinkStore, decode_message, encode_message
from app.redirect import Channel, Resolver, Table
from app.redirect.resolver import table_key
from app.stores import Breaker, BreakerState, Lease
from tests.conftest import Stores
from tests.redirect.history import TARGET, Key, State, number_of
from workers.announcer import LOOK_BACK_S, Announcer

__all__ = ["READERS", "Reader", "World", "run"]

READERS = 2


@dataclass
class Gate:
    """One call of a store by a reader, which stops here."""

    store: str
    future: asyncio.Future[None]


class Gated:
    """A store as a reader sees it."""

    def __init__(self, world: World, store: str, behind: Any) -> None:
        self._world = world
        self._store = store
        self._behind = behind

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._behind, name)

        async def call(*arguments: Any) -> Any:
            await self._world.stop(self._store)
            self._world.busy += 1
            try:
                result = await found(*arguments)
            finally:
                self._world.busy -= 1
            await self._world.stop(self._store)
            return result

        return call


class Reader:
    """One process: what it knows, what it was told, what it still waits for."""

    def __init__(self, world: World, stores: Stores) -> None:
        self.world = world
        self.table = Table(4)
        self.inbox: deque[bytes] = deque()
        self.heard: dict[str, int] = {}
        self.waiting = 0
        self.breakers = [Breaker(name, lambda: world.now_s) for name in ("redis", "mongodb")]
        cache: Any = Gated(world, "redis", world.cache)
        links: Any = Gated(world, "mongodb", LinkStore(stores.database))
        self.resolver = Resolver(
            table=self.table,
            cache=cache,
            links=links,
            redis_breaker=self.breakers[0],
            mongodb_breaker=self.breakers[1],
            stale_max_s=10**9,
            wall=lambda: world.now_s,
            store_limit_s=3600.0,
        )
        self.channel = Channel(
            client=stores.redis,
            table=self.table,
            resolver=self.resolver,
            monotonic=lambda: world.now_s,
            wall=lambda: world.now_s,
        )
        self.channel.on_message({"type": "subscribe"})

    def ask(self, key: Key, on_answer: Callable[[Any], None] | None = None) -> None:
        """A request, answered from memory or by a flight; its answer is judged by what was heard when it came."""
        at_least = self.heard.get(key.slug, 0)
        failures = self.world.failures
        is_well = all(breaker.state is BreakerState.CLOSED for breaker in self.breakers)
        entry: Any = self.table.find(table_key(key.name))
        if entry is None and self.table.is_absent(table_key(key.name), self.world.now_s):
            entry = 404

        def judge(answer: Any) -> None:
            self.waiting -= 1
            if answer == 503:
                if is_well and self.world.failures == failures:
                    self.world.problems.append(f"{key}: 503 though every store answered")
            elif not key.allows(answer, at_least):
                self.world.problems.append(f"{key}: {answer!r} after {key.states[at_least]}")
            if on_answer is not None:
                on_answer(answer)

        self.waiting += 1
        if entry is None:
            self.resolver.resolve(table_key(key.name), judge)
        else:
            judge(entry)

    def deliver(self) -> None:
        """The next message arrives, if there is one."""
        if not self.inbox:
            return
        data = self.inbox.popleft()
        self.channel.on_message({"type": "message", "data": data})
        for name, version in decode_message(data) or ():
            key = self.world.keys.get(name)
            if key is not None and version:
                index = next(at for at, state in enumerate(key.states) if state.version == version)
                self.heard[key.slug] = max(index, self.heard.get(key.slug, 0))

    def watch(self) -> None:
        """A second is over, in which a beat was heard."""
        self.channel.on_message({"type": "message", "data": encode_message([])})
        self.channel.watch()

    def reconnect(self) -> None:
        """The connection to the channel broke, what was not delivered is lost, and it is there again."""
        self.inbox.clear()
        self.channel.on_message({"type": "subscribe"})

    def check(self) -> None:
        """Nothing that is known is older than what was heard."""
        for key in self.world.keys.values():
            at_least = self.heard.get(key.slug, 0)
            entry = self.table.find(table_key(key.name))
            assert entry is None or key.allows(entry, at_least), f"{key} is known as {entry!r}"


class NotingCache(LinkCache):
    """The announcer's Redis, which notes what it was told."""

    versions_put: dict[str, int]

    async def announce(self, items: Any) -> None:
        await super().announce(items)
        self.versions_put.update({key: cached.version for key, cached in items})


class World:
    """All of it, on a clock of its own; used by many tests after each other, each with keys of its own."""

    def __init__(self, stores: Stores) -> None:
        self.now_s = 1_700_000_000.0
        self.stores = stores
        self.store = LinkStore(stores.database)
        self.cache = LinkCache(stores.redis)
        self.announcing = NotingCache(stores.redis)
        self.announcing.versions_put = {}
        self.problems: list[str] = []  # what a reader's callback may not raise: it would only be logged
        self.keys: dict[str, Key] = {}
        self.readers: list[Reader] = []
        self.gates: list[Gate] = []
        self.written: list[tuple[str, Cached]] = []  # by writers that have not announced it
        self.put: list[tuple[str, Cached]] = []  # by writers that have not published it
        self.snapshot: dict[Any, Any] = {}
        self.busy = self.failures = self.number = self.chapter = 0
        self.announcer: Announcer | None = None
        self._feed: ChangeFeed | None = None
        self._hub: Any = None

    async def begin(self) -> None:
        """New keys and new readers; the announcer goes on."""
        if self._hub is None:
            self._hub = self.stores.redis.pubsub()
            await self._hub.subscribe(CHANNEL)
        if self.announcer is None:
            await self.start_announcer()
        self.chapter += 1
        self.problems.clear()
        self.keys = {}
        for letter in "ab":
            key = Key(f"{letter}{self.chapter}", is_eternal=letter == "b")
            self.keys[key.name] = key
        self.written, self.put, self.snapshot = [], [], {}
        await self.stores.redis.flushall()
        await self.write(self.keys[f"/b{self.chapter}"], "active")
        self.readers = [Reader(self, self.stores) for _ in range(READERS)]
        await self.hear()

    async def end(self) -> None:
        """Nothing more happens, and then everyone who asks is told the truth."""
        await self.drain(fail=False)
        for _ in range(5):
            await self.pass_time()
            for reader in self.readers:
                while reader.inbox:
                    reader.deliver()
        await self.drain(fail=False)
        self.now_s += 5.0  # absences in memory and open breakers are over
        truth = {key.slug: key.states[-1] for key in self.keys.values()}
        for reader in self.readers:
            for key in self.keys.values():
                answers: list[Any] = []
                reader.ask(key, answers.append)
                await self.drain(fail=False)
                number = None if answers[0] == 404 else number_of(answers[0])
                assert number == truth[key.slug].number, f"{key}: {answers[0]}"
            assert reader.waiting == 0

    async def close(self) -> None:
        """Lets go of the stores."""
        await self.drain(fail=True)
        if self._feed is not None:
            await self._feed.close()
        if self._hub is not None:
            await self._hub.aclose()

    # Writers.

    async def write(self, key: Key, state: str) -> None:
        """A writer writes MongoDB, and goes no further."""
        self.number += 1
        target = f"{TARGET}{self.number}"
        now_ms = int(self.now_s * 1000)
        link = await self.store.change(key.name, {"state": state, "target": target}, now_ms=now_ms, version=None)
        if link is None:
            if state == "deleted":
                return
            new = Link(domain="", slug=key.slug, link=self.number, target=target, version=now_ms)
            link = await self.store.insert(new)
        assert link.version > key.states[-1].version
        key.states.append(State(link.version, None if state == "deleted" else self.number))
        self.written.append((key.name, link.cached()))

    async def put_one(self, index: int) -> None:
        """A writer puts what it wrote into Redis."""
        item = self.written.pop(index)
        await self.cache.put_many([item])
        self.put.append(item)

    async def publish_one(self, index: int) -> None:
        """A writer tells everyone what it put."""
        name, cached = self.put.pop(index)
        await self.stores.redis.publish(CHANNEL, encode_message([(name, cached.version)]))
        await self.hear()

    # Readers.

    async def tell(self, reader: int, deed: Callable[[Reader], None]) -> None:
        """A reader does something, and all that follows from it until it waits."""
        deed(self.readers[reader])
        await self.idle()

    async def stop(self, store: str) -> None:
        """A reader's call waits here."""
        gate = Gate(store, asyncio.get_running_loop().create_future())
        self.gates.append(gate)
        await gate.future

    async def release(self, index: int, *, fail: bool) -> None:
        """One call goes on, or fails."""
        gate = self.gates.pop(index)
        if fail:
            self.failures += 1
            gate.future.set_exception(RedisConnectionError() if gate.store == "redis" else AutoReconnect(""))
        else:
            gate.future.set_result(None)
        await self.idle()

    async def drain(self, *, fail: bool) -> None:
        """Every call of every reader goes on, until nothing is under way."""
        await self.idle()
        while self.gates:
            await self.release(0, fail=fail)

    async def idle(self) -> None:
        """Until every reader waits at a gate or for nothing."""
        for _ in range(2):
            while True:
                for _ in range(8):
                    await asyncio.sleep(0)
                if not self.busy:
                    break
                await asyncio.sleep(0.0002)
        assert self.problems == []

    async def hear(self) -> None:
        """Takes what the channel said until now to every reader's door."""
        await self._hub.ping()
        async with asyncio.timeout(10):
            while (message := await self._hub.get_message(timeout=5)) is None or message["type"] != "pong":
                if message is not None and message["type"] == "message":
                    for reader in self.readers:
                        reader.inbox.append(message["data"])

    # The announcer, and time.

    async def start_announcer(self) -> None:
        """A new process takes over from a killed one."""
        if self._feed is not None:
            await self._feed.close()
        lease = Lease(self.stores.database, "announcer", holder="n", monotonic=lambda: self.now_s, life_s=3600.0)
        self._feed = ChangeFeed(self.stores.database)
        self.announcer = Announcer(
            lease=lease, feed=self._feed, links=self.store, cache=self.announcing, monotonic=lambda: self.now_s
        )
        assert await lease.acquire()
        await self.announcer.open()
        self.note_clearing()
        while self.announcer.counts.cleared == 0 and not lease.kept:
            self.now_s += 1.0
            await self.announcer.loop()

    async def announce(self) -> None:
        """The announcer catches up with MongoDB."""
        assert self.announcer is not None
        put = self.announcing.versions_put
        async with asyncio.timeout(20):
            while any(key.states[-1].version > put.get(key.name, 0) for key in self.keys.values()):
                await self.announcer.loop()
                self.note_clearing()
        await self.hear()

    def note_clearing(self) -> None:
        """What is forgotten in Redis, once for all, is not announced one by one."""
        assert self.announcer is not None
        if self.announcer._clearing is not None:
            self.announcing.versions_put.update({key.name: key.states[-1].version for key in self.keys.values()})

    async def pass_time(self) -> None:
        """More than a reader's calls may take, and than the announcer waits before it looks back."""
        await self.drain(fail=False)
        await self.announce()
        self.now_s += 1.1 * LOOK_BACK_S
        assert self.announcer is not None
        await self.announcer.loop()
        while self.announcer._clearing is not None:
            await self.announcer.loop()
        for reader in self.readers:
            reader.watch()
        await self.drain(fail=False)
        await self.hear()

    # What happens to Redis.

    async def save(self) -> None:
        """Redis writes a snapshot."""
        names = await self.stores.redis.keys("l*")
        values = await asyncio.gather(*(self.stores.redis.get(name) for name in names))
        self.snapshot = {name: value for name, value in zip(names, values, strict=True) if value is not None}

    async def restore(self) -> None:
        """Redis is killed and comes back with its snapshot; every connection to it breaks."""
        await self.stores.redis.flushall()
        for name, value in self.snapshot.items():
            await self.stores.redis.set(name, value)
        for reader in self.readers:
            reader.reconnect()


def run(loop: asyncio.AbstractEventLoop, step: Awaitable[None]) -> None:
    """One step, from outside the loop."""

    async def whole() -> None:
        await step

    loop.run_until_complete(whole())
