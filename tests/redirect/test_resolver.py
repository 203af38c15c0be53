"""Misses are read from real stores, once and in batches; what no store can say is stale or 503, never 404."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from app.links import LINKS, Cached, CachedLink, Catalog, Link, LinkCache, LinkState, LinkStore, encode_message
from app.redirect import Channel, Decision, Request, Resolver, Table, Visitor, Visitors, decide
from app.redirect.batches import BATCH_KEYS_MAX, BATCHES_MAX, Batches
from app.stores import Breaker, BreakerState, open_mongodb, open_redis
from tests.conftest import Engines, Stores, wait_until

TARGET = "https://example.com/a"


class Reader:
    """One process's table, resolver and channel on real stores."""

    def __init__(self, stores: Stores, *, stale_max_s: int = 3600) -> None:
        self.wall_s = time.time()
        self.table = Table(1_000)
        self.store = LinkStore(stores.database)
        self.cache = LinkCache(stores.redis)
        self.breakers = [Breaker(name, time.monotonic) for name in ("redis", "mongodb")]
        self.resolver = Resolver(
            table=self.table,
            cache=self.cache,
            links=self.store,
            redis_breaker=self.breakers[0],
            mongodb_breaker=self.breakers[1],
            stale_max_s=stale_max_s,
            wall=lambda: self.wall_s,
            store_limit_s=10.0,  # a busy machine is not what these tests are about
        )
        self.unannounced: list[Exception] = []
        self.catalog = Catalog(
            store=self.store,
            cache=self.cache,
            now_ms=lambda: int(time.time() * 1000),
            randbits=lambda bits: int.from_bytes(os.urandom(7), "big"),
            randbelow=lambda most: int.from_bytes(os.urandom(4), "big") % most,
            ours=(),
            on_unannounced=self.unannounced.append,
        )

    async def ask(self, key: bytes) -> Any:
        """An entry, or a status."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.resolver.resolve(key, future.set_result)
        assert not future.done(), "must not answer at once"
        return await future

    async def location(self, key: bytes) -> Any:
        found = await self.ask(key)
        return found if isinstance(found, int) else self.decide(found).location.decode()

    def decide(self, entry: Any) -> Decision:
        request = Request(key=b"", query=b"", visitor=Visitor(Visitors(), b"", bytes(16)))
        decision = decide(entry, self.wall_s, request)
        assert isinstance(decision, Decision)
        return decision


def dead_stores() -> Stores:
    """Clients of engines that are not there."""
    return Stores(
        open_mongodb("mongodb://%2Fnowhere%2Fmongod.sock/x?replicaSet=rs0"), open_redis("unix:///nowhere/r.sock")
    )


def test_a_link_comes_from_mongodb_first_and_from_redis_then(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        reader = Reader(stores)
        await reader.store.insert(Link(domain="", slug="abc", link=7, target=TARGET, version=5))
        assert await reader.location(b"abc") == TARGET
        assert list(reader.table.hot) == [b"abc"]
        other = Reader(stores)
        assert await other.location(b"abc") == TARGET
        assert (reader.resolver.counts.mongodb_hits, other.resolver.counts.redis_hits) == (1, 1)
        assert other.resolver.counts.redis_misses == 0

    with_stores(scenario)


def test_one_flight_for_a_key_and_one_batch_for_a_turn(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        reader = Reader(stores)
        for number in range(20):
            await reader.store.insert(Link(domain="", slug=f"s{number}", link=number + 1, target=TARGET, version=5))
        keys = [b"s%d" % (number % 20) for number in range(200)]
        assert set(await asyncio.gather(*(reader.location(key) for key in keys))) == {TARGET}
        assert reader.resolver.counts.redis_misses == 20
        calls = (await stores.redis.info("commandstats")).get("cmdstat_get", {}).get("calls", 0)
        assert calls >= 20

    with_stores(scenario)


def test_an_unknown_slug_is_404_and_a_link_made_then_is_seen(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        reader = Reader(stores)
        assert await reader.ask(b"new") == 404
        assert reader.table.is_absent(b"new", reader.wall_s)
        link = await reader.catalog.create(target=TARGET, slug="new")
        reader.resolver.on_change(b"new", link.version)
        assert await reader.location(b"new") == TARGET
        await reader.catalog.delete("/new")
        reader.resolver.on_change(b"new", link.version + 1)
        assert await reader.ask(b"new") == 404
        assert (await reader.cache.get_many(["/new"]))[0] is not None
        again = await reader.catalog.create(target=TARGET + "2", slug="new")
        assert again.version > link.version + 1
        reader.resolver.on_change(b"new", again.version)
        assert await reader.location(b"new") == TARGET + "2"

    with_stores(scenario)


def test_a_change_while_in_flight_is_read_again(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        reader = Reader(stores)
        old = CachedLink(7, "active", TARGET)
        await reader.cache.put_many([("/abc", Cached(5, old))])
        await reader.store.insert(Link(domain="", slug="abc", link=7, target=TARGET + "new", version=6))
        answer = asyncio.create_task(reader.location(b"abc"))
        await asyncio.sleep(0)
        reader.resolver.on_change(b"abc", 6)
        assert await answer == TARGET + "new"
        assert reader.table.hot[b"abc"].endswith(b"new")

    with_stores(scenario)


def test_a_version_that_is_known_and_announced_again_takes_nothing_away(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        reader = Reader(stores)
        await reader.store.insert(Link(domain="", slug="abc", link=7, target=TARGET, version=5))
        for other in (reader, Reader(stores)):  # read from MongoDB, and from Redis
            assert await other.location(b"abc") == TARGET
            other.table.expire_all()
            other.resolver.on_change(b"abc", 5)
            assert other.table.find_stale(b"abc") is not None
            other.resolver.on_change(b"abc", 6)
            assert other.table.find_stale(b"abc") is None

    with_stores(scenario)


def test_what_is_older_than_announced_is_answered_but_not_kept(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        reader = Reader(stores)
        await reader.store.insert(Link(domain="", slug="abc", link=7, target=TARGET, version=5))
        answer = asyncio.create_task(reader.location(b"abc"))
        await asyncio.sleep(0)
        reader.resolver.on_change(b"abc", 99)
        assert await answer == TARGET
        assert reader.table.hot == {}

    with_stores(scenario)


def test_without_stores_an_unknown_key_is_503_and_a_known_one_stale() -> None:
    async def scenario() -> None:
        stores = dead_stores()
        reader = Reader(stores, stale_max_s=100)
        assert await reader.ask(b"abc") == 503
        entry = (7).to_bytes(8, "big") + int(reader.wall_s).to_bytes(4, "big") + TARGET.encode()
        reader.table.put(b"abc", entry)
        reader.table.expire_all()
        reader.wall_s += 99
        assert await reader.location(b"abc") == TARGET
        counts = reader.resolver.counts
        failures = counts.store_failures
        reader.resolver.refresh([b"abc"])  # answers nobody
        await wait_until(lambda: counts.store_failures == failures + 2)
        assert (counts.asked, counts.stale) == (2, 1)
        reader.table.expire_all()
        reader.wall_s += 3
        assert await reader.ask(b"abc") == 503
        reader.resolver.vouched_s = reader.wall_s
        assert await reader.location(b"abc") == TARGET
        await stores.database.client.close()
        await stores.redis.aclose()

    asyncio.run(scenario())


def test_breakers_open_so_that_nobody_waits() -> None:
    async def scenario() -> None:
        stores = dead_stores()
        reader = Reader(stores)
        for number in range(8):
            assert await reader.ask(b"k%d" % number) == 503
        assert [breaker.state for breaker in reader.breakers] == [BreakerState.OPEN] * 2
        await stores.database.client.close()
        await stores.redis.aclose()

    asyncio.run(scenario())


def test_a_document_that_is_no_link_is_503_and_reported_and_closes_no_breaker(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        reports: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context))
        reader = Reader(stores)
        await stores.database[LINKS].insert_one({"_id": "/bad", "link": "none"})
        for _ in range(8):
            assert await reader.ask(b"bad") == 503
        assert [type(report["exception"]) for report in reports] == [msgspec.ValidationError] * 8
        await reader.store.insert(Link(domain="", slug="abc", link=7, target=TARGET, version=5))
        assert await reader.location(b"abc") == TARGET
        assert reader.breakers[1].state is BreakerState.CLOSED

    with_stores(scenario)


def test_a_waiter_that_breaks_is_reported_and_the_others_are_told(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        reports: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context))
        reader = Reader(stores)
        reader.resolver.resolve(b"abc", lambda answer: 1 / 0)  # type: ignore[arg-type]
        assert [await reader.ask(key) for key in (b"abc", b"d")] == [404, 404]
        assert [type(report["exception"]) for report in reports] == [ZeroDivisionError]

    with_stores(scenario)


def test_keys_that_come_while_a_store_answers_share_the_next_question() -> None:
    async def scenario() -> None:
        asked: list[list[bytes]] = []
        answered = asyncio.Event()

        async def read(keys: list[bytes]) -> None:
            asked.append(keys)
            await answered.wait()

        batches = Batches(read)
        batches.add(b"a")
        batches.add(b"b")
        await asyncio.sleep(0)
        assert asked == []  # leaves at the end of a turn
        await asyncio.sleep(0)
        for number in range(BATCH_KEYS_MAX + 1):
            batches.add(b"%d" % number)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [len(keys) for keys in asked] == [2, BATCH_KEYS_MAX]  # as many as a question may have leave at once
        await wait_until(lambda: len(asked) == 3)  # others when they have lingered
        assert asked[2] == [b"%d" % BATCH_KEYS_MAX]
        for number in range(4 * BATCH_KEYS_MAX):
            batches.add(b"x%d" % number)
        await asyncio.sleep(0.05)
        assert len(asked) == BATCHES_MAX
        answered.set()
        await wait_until(lambda: len(asked) == 3 + 4)
        assert sum(len(keys) for keys in asked) == 2 + BATCH_KEYS_MAX + 1 + 4 * BATCH_KEYS_MAX
        await batches.close()

    asyncio.run(scenario())


def test_a_breaker_probes_once_and_closes_on_success() -> None:
    now = 0.0
    breaker = Breaker("redis", lambda: now)
    for _ in range(5):
        assert breaker.admits()
        breaker.on_failure()
    assert not breaker.admits()
    now = 1.0
    assert (breaker.admits(), breaker.state, breaker.admits()) == (True, BreakerState.HALF_OPEN, False)
    breaker.on_failure()
    assert (breaker.state, breaker.admits()) == (BreakerState.OPEN, False)
    now = 2.0
    assert breaker.admits()
    breaker.on_success()
    assert (breaker.state, breaker.admits()) == (BreakerState.CLOSED, True)


def test_redis_away_leaves_mongodb(engines: Engines, with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        dead = dead_stores()
        reader = Reader(Stores(stores.database, dead.redis))
        await reader.store.insert(Link(domain="", slug="abc", link=7, target=TARGET, version=5))
        assert await reader.location(b"abc") == TARGET
        assert await reader.ask(b"unknown") == 404
        await dead.database.client.close()
        await dead.redis.aclose()

    with_stores(scenario)


def channel_of(reader: Reader, stores: Stores, clock: Callable[[], float] = time.monotonic) -> Channel:
    return Channel(
        client=stores.redis,
        table=reader.table,
        resolver=reader.resolver,
        monotonic=clock,
        wall=lambda: reader.wall_s,
    )


def test_a_change_reaches_every_process_by_the_channel(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        writer = Reader(stores)
        readers = [Reader(stores) for _ in range(3)]
        channels = [channel_of(reader, stores) for reader in readers]
        tasks = [asyncio.create_task(channel.run()) for channel in channels]
        await wait_until(lambda: all(channel.is_live for channel in channels))
        link = await writer.catalog.create(target=TARGET, slug="abc")
        assert [await reader.location(b"abc") for reader in readers] == [TARGET] * 3
        await writer.catalog.change(link, {"state": LinkState.BANNED})
        await wait_until(lambda: all(b"abc" not in reader.table.hot for reader in readers))
        for reader in readers:
            assert reader.decide(await reader.ask(b"abc")).status == 410
        assert link.version > 0
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    with_stores(scenario)


def test_a_new_subscription_expires_what_may_have_changed_unheard(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        reader = Reader(stores)
        await reader.catalog.create(target=TARGET, slug="abc")
        channel = channel_of(reader, stores)
        task = asyncio.create_task(channel.run())
        await wait_until(lambda: channel.is_live)
        assert await reader.location(b"abc") == TARGET
        gaps = channel.gaps
        await stores.redis.client_kill_filter(_type="pubsub")
        await wait_until(lambda: channel.gaps > gaps)
        await wait_until(lambda: b"abc" in reader.table.hot)  # read again in the background
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with_stores(scenario)


def test_what_is_known_soon_after_a_new_subscription_is_doubted_once_more(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        now = 1_000.0
        reader = Reader(stores)
        channel = channel_of(reader, stores, lambda: now)
        entry = bytes(12) + TARGET.encode()
        kept = []
        channel.on_message({"type": "subscribe"})
        for _ in range(5):
            reader.table.put(b"abc", entry)
            now += 1.0
            channel.on_message({"type": "message", "data": encode_message([])})
            channel.watch()
            kept.append(b"abc" in reader.table.hot)
        assert kept == [True, True, False, True, True]
        await reader.resolver.close()

    with_stores(scenario)


@pytest.mark.parametrize("silence_s", [3.5, 100.0])
def test_silence_expires_entries_every_few_seconds(silence_s: float, with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        now = 1_000.0
        reader = Reader(stores)
        channel = channel_of(reader, stores, lambda: now)
        channel.on_message({"type": "subscribe"})
        assert channel.is_live
        entry = bytes(12) + TARGET.encode()
        reader.table.put(b"abc", entry)
        now += 2.0
        channel.watch()
        assert (channel.is_live, b"abc" in reader.table.hot) == (True, True)
        now += silence_s
        channel.watch()
        assert (channel.is_live, reader.table.hot) == (False, {})
        reader.table.put(b"abc", entry)
        now += 3.9
        channel.watch()
        assert b"abc" in reader.table.hot
        now += 0.2
        channel.watch()
        assert reader.table.hot == {}
        await reader.resolver.close()

    with_stores(scenario)
