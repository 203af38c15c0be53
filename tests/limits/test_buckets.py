"""A burst at once, then one by one; in a real Redis, and in memory while there is none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

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
    assert [buckets.take(THREE) for _ in range(4)] == [0.0, 0.0, 0.0, 10.0]
    now_s[0] += 4.0
    assert buckets.take(THREE) == 6.0
    now_s[0] += 6.0
    assert [buckets.take(THREE) for _ in range(2)] == [0.0, 10.0]
    now_s[0] += 1_000.0
    assert [buckets.take(THREE) for _ in range(4)] == [0.0, 0.0, 0.0, 10.0]


def test_a_token_that_is_given_back_can_be_taken_again() -> None:
    buckets = Buckets(lambda: 100.0)
    buckets.give_back(THREE)
    for _ in range(3):
        assert buckets.take(THREE) == 0.0
    buckets.give_back(THREE)
    assert [buckets.take(THREE) for _ in range(2)] == [0.0, 10.0]


def test_memory_holds_so_many_buckets_and_forgets_the_one_not_used_for_longest() -> None:
    buckets = Buckets(lambda: 100.0, limit=2)
    for name in ("a", "b", "a", "c"):
        assert buckets.take(Bucket(name, THREE.rate)) == 0.0
    assert len(buckets) == 2
    assert [buckets.take(Bucket("a", THREE.rate)) for _ in range(2)] == [0.0, 10.0]


def test_processes_share_a_bucket_through_redis(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        limiters = [limiter_of(stores) for _ in range(4)]
        waits = await asyncio.gather(*(limiter.take(THREE) for limiter in limiters for _ in range(5)))
        assert waits.count(0.0) == 3
        assert all(0 < wait <= 10 for wait in waits if wait)
        assert 0 < await stores.redis.pttl(PREFIX + "test") <= 30_000
        await limiters[0].give_back(THREE)
        assert await limiters[1].take(THREE) == 0.0
        assert await limiters[2].take(THREE) > 0
        assert sum(limiter.local for limiter in limiters) == 0

    with_stores(scenario)


def test_a_full_bucket_is_no_key_and_a_clock_set_back_locks_nobody_out(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        limiter = limiter_of(stores)
        await limiter.take(THREE)
        await limiter.give_back(THREE)
        assert await stores.redis.exists(PREFIX + "test") == 0
        await stores.redis.set(PREFIX + "test", str(int((time.time() + 1e6) * 1000)))
        assert 0 < await limiter.take(THREE) <= 10
        await stores.redis.set(PREFIX + "test", "not a number")
        assert await limiter.take(THREE) == 0.0

    with_stores(scenario)


def test_without_redis_the_process_counts_for_itself() -> None:
    async def scenario() -> None:
        client = open_redis("unix:///nowhere/r.sock")
        breaker = Breaker("redis", time.monotonic)
        limiter = Limiter(client, breaker, Buckets(lambda: 100.0))
        assert [await limiter.take(THREE) for _ in range(4)] == [0.0, 0.0, 0.0, 10.0]
        await limiter.give_back(THREE)
        assert await limiter.take(THREE) == 0.0
        assert limiter.local == 5
        await client.aclose()

    asyncio.run(scenario())
