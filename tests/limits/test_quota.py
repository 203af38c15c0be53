"""Tokens taken ahead: few questions, never more than the rate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from app.limits import Bucket, Buckets, Limiter, Quota, Rate
from app.limits.quota import AHEAD_S, PURSES_MAX
from app.stores import Breaker
from tests.conftest import Stores

With = Callable[[Callable[[Stores], Awaitable[None]]], None]
HUNDRED = Bucket("test", Rate(burst=100, every_s=60.0))


def limiter_of(stores: Stores) -> Limiter:
    return Limiter(stores.redis, Breaker("limits", time.monotonic), Buckets(time.monotonic))


def test_processes_together_spend_a_bucket_and_no_more(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await stores.redis.config_resetstat()
        quotas = [Quota(limiter_of(stores), lambda: 100.0) for _ in range(3)]
        grants = await asyncio.gather(*(quota.spend(HUNDRED) for quota in quotas for _ in range(60)))
        assert sum(grant.taken for grant in grants) == 100
        assert all(0 < grant.wait_s <= 60 for grant in grants if not grant.taken)
        calls = int((await stores.redis.info("commandstats"))["cmdstat_eval"]["calls"])
        assert 50 <= calls <= 53  # two tokens a question while there are any; then each process asks once more

    with_stores(scenario)


def test_a_purse_is_good_for_a_second_and_says_what_is_left(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        now_s = [100.0]
        quota = Quota(limiter_of(stores), lambda: now_s[0])
        assert [(await quota.spend(HUNDRED)).left for _ in range(3)] == [99, 98, 97]  # 2 taken, 2 more taken
        now_s[0] += AHEAD_S
        assert (await quota.spend(HUNDRED)).left == 95  # one was lost
        assert (await quota.spend(HUNDRED, 30)).left == 64  # 30 of 94; the one in the purse is lost

    with_stores(scenario)


def test_purses_are_bounded(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        quota = Quota(limiter_of(stores), lambda: 100.0)
        for number in range(PURSES_MAX + 10):
            await quota.spend(Bucket(f"k{number}", HUNDRED.rate))
        assert len(quota._purses) == PURSES_MAX

    with_stores(scenario)
