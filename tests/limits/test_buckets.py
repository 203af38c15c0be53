"""A burst at once, then one by one; in a real Redis, and in memory while there is none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from structlog.testing import capture_logs

from app.limits import Bucket, Buckets, Limiter, Rate
from app.limits.buckets import PREFIX
from app.stores import Breaker, open_redis
from tests.conftest import Stores

With = Callable[[Callable[[Stores], Awaitable[None]]], None]
THREE = Bucket("test", Rate(burst=3, every_s=10.0))


def limiter_of(stores: Stores) -> Limiter:
    return Limiter(stores.redis, Breaker("redis", time.monotonic), Buckets(time.monotonic))


def test_a_burst_is_had_at_once_and_then_one_token_at_a_time() -> None:
    now_s = [100.0]
    buckets = Buckets(lambda: now_s[0])
    assert [buckets.take(THREE).wait_s for _ in range(4)] == [0.0, 0.0, 0.0, 10.0]
    now_s[0] += 4.0
    assert buckets.take(THREE).wait_s == 6.0
    now_s[0] += 6.0
    assert [buckets.take(THREE).wait_s for _ in range(2)] == [0.0, 10.0]
    now_s[0] += 1_000.0
    assert [buckets.take(THREE).wait_s for _ in range(4)] == [0.0, 0.0, 0.0, 10.0]


def test_a_token_that_is_given_back_can_be_taken_again() -> None:
    buckets = Buckets(lambda: 100.0)
    buckets.take(THREE, -1, -1)
    for _ in range(3):
        assert buckets.take(THREE).taken == 1
    buckets.take(THREE, -1, -1)
    assert [buckets.take(THREE).wait_s for _ in range(2)] == [0.0, 10.0]


def test_as_many_as_are_wanted_or_left_but_not_fewer_than_are_of_use(with_stores: With) -> None:
    fast = Bucket("fast", Rate(burst=10_000, every_s=0.0002))

    async def scenario(stores: Stores) -> None:
        limiter, buckets = limiter_of(stores), Buckets(lambda: 100.0)
        for wanted, least, taken, left in ((2, 1, 2, 1), (2, 2, 0, 1), (2, 1, 1, 0), (-2, -2, -2, 2)):
            shared, own = await limiter.take(THREE, wanted, least), buckets.take(THREE, wanted, least)
            assert (shared.taken, shared.left) == (own.taken, own.left) == (taken, left)
            assert own.full_s - shared.full_s < 5
        assert (await limiter.take(fast, 9_999)).left == 1
        await asyncio.sleep(0.1)
        assert 100 < (await limiter.take(fast)).left <= 10_000

    with_stores(scenario)


def test_memory_holds_so_many_buckets_and_forgets_the_one_not_used_for_longest() -> None:
    buckets = Buckets(lambda: 100.0, limit=2)
    for name in ("a", "b", "a", "c"):
        assert buckets.take(Bucket(name, THREE.rate)).taken == 1
    assert len(buckets) == 2
    assert [buckets.take(Bucket("a", THREE.rate)).wait_s for _ in range(2)] == [0.0, 10.0]


def test_processes_share_a_bucket_through_redis(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        limiters = [limiter_of(stores) for _ in range(4)]
        grants = await asyncio.gather(*(limiter.take(THREE) for limiter in limiters for _ in range(5)))
        assert sorted(grant.left for grant in grants if grant.taken) == [0, 1, 2]
        assert all(0 < grant.wait_s <= 10 and 20 < grant.full_s <= 30 for grant in grants if not grant.taken)
        assert 0 < await stores.redis.pttl(PREFIX + "test") <= 30_000
        await limiters[0].give_back(THREE)
        assert (await limiters[1].take(THREE)).taken == 1
        assert (await limiters[2].take(THREE)).taken == 0
        assert sum(limiter.local for limiter in limiters) == 0

    with_stores(scenario)


def test_a_full_bucket_is_no_key_and_a_clock_set_back_locks_nobody_out(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        limiter = limiter_of(stores)
        await limiter.take(THREE)
        await limiter.give_back(THREE)
        assert await stores.redis.exists(PREFIX + "test") == 0
        await stores.redis.set(PREFIX + "test", str(int((time.time() + 1e6) * 1_000_000)))
        assert 0 < (await limiter.take(THREE)).wait_s <= 10
        await stores.redis.set(PREFIX + "test", "not a number")
        assert (await limiter.take(THREE)).taken == 1

    with_stores(scenario)


def test_that_a_process_counts_for_itself_is_told_once_and_so_is_the_end(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        now_s = [100.0]
        breaker = Breaker("limits", lambda: now_s[0])
        limiter = Limiter(stores.redis, breaker, Buckets(time.monotonic))
        with capture_logs() as lines:
            await limiter.take(THREE)
            while breaker.admits():
                breaker.on_failure()
            for _ in range(3):
                await limiter.take(THREE)
            assert [line["log_level"] for line in lines] == ["warning"]
            now_s[0] += 2
            for _ in range(3):
                await limiter.take(THREE)
        assert [line["log_level"] for line in lines] == ["warning", "info"]
        assert limiter.local == 3

    with_stores(scenario)


def test_without_redis_the_process_counts_for_itself() -> None:
    async def scenario() -> None:
        client = open_redis("unix:///nowhere/r.sock")
        breaker = Breaker("redis", time.monotonic)
        limiter = Limiter(client, breaker, Buckets(lambda: 100.0))
        assert [(await limiter.take(THREE)).wait_s for _ in range(4)] == [0.0, 0.0, 0.0, 10.0]
        await limiter.give_back(THREE)
        assert (await limiter.take(THREE)).taken == 1
        assert limiter.local == 6
        await client.aclose()

    asyncio.run(scenario())
