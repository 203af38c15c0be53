"""Token buckets: a burst at once, then tokens come back one by one.

In: a name and a rate. Out: a grant: the tokens taken, or the seconds to wait.

    rl:<name>   the time at which the bucket is full again, in µs, written by `take.lua`; ends by itself

While Redis does not answer, each process counts for itself in buckets of the same rate, so that what must be limited
stays limited: by as much for each process; a line in the log says when that begins and ends. At most BUCKETS_MAX of
them; the one not used for longest is forgotten.
May import: observe, redis, stores.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable
from importlib.resources import files
from typing import NamedTuple

import redis.asyncio
from redis.exceptions import RedisError

from app.observe import get_logger
from app.stores import Breaker

__all__ = ["Bucket", "Buckets", "Grant", "Limiter", "Rate"]

PREFIX = "rl:"
BUCKETS_MAX = 10_000  # in memory, 2 MB
REDIS_LIMIT_S = 0.25


class Rate(NamedTuple):
    """`burst` at once; after that, one each `every_s` seconds."""

    burst: int
    every_s: float


class Bucket(NamedTuple):
    """One bucket: who and what is limited, and how."""

    name: str
    rate: Rate


class Grant(NamedTuple):
    """What became of a wish for tokens: how many were taken and are left, and seconds until enough, and until all."""

    taken: int
    left: int
    wait_s: float
    full_s: float


class Buckets:
    """Buckets in memory. `monotonic` is a clock in seconds."""

    def __init__(self, monotonic: Callable[[], float], limit: int = BUCKETS_MAX) -> None:
        self._full_at_s: OrderedDict[str, float] = OrderedDict()
        self._monotonic = monotonic
        self._limit = limit

    def __len__(self) -> int:
        return len(self._full_at_s)

    def take(self, bucket: Bucket, wanted: int = 1, least: int = 1) -> Grant:
        """Takes up to `wanted` tokens, none if there are fewer than `least`."""
        now_s = self._monotonic()
        every_s = bucket.rate.every_s
        empty_s = every_s * bucket.rate.burst
        full_s = max(0.0, self._full_at_s.get(bucket.name, 0.0) - now_s)
        left = int((empty_s - full_s) / every_s + 1e-9)
        if left < least:
            return Grant(0, left, full_s + every_s * least - empty_s, full_s)
        taken = min(wanted, left)
        full_s = max(0.0, full_s + every_s * taken)
        self._keep(bucket.name, now_s + full_s)
        return Grant(taken, left - taken, 0.0, full_s)

    def _keep(self, name: str, full_at_s: float) -> None:
        self._full_at_s[name] = full_at_s
        self._full_at_s.move_to_end(name)
        if len(self._full_at_s) > self._limit:
            self._full_at_s.popitem(last=False)


class Limiter:
    """Buckets shared by all processes through Redis, and of this process alone while it is away.

    Attributes:
        local: how often Redis was not there and this process counted for itself.
    """

    def __init__(self, client: redis.asyncio.Redis, breaker: Breaker, buckets: Buckets) -> None:
        self.local = 0
        self._is_local = False
        self._client = client
        self._breaker = breaker
        self._buckets = buckets
        self._script = files("app.limits").joinpath("take.lua").read_text()

    async def take(self, bucket: Bucket, wanted: int = 1, least: int = 1) -> Grant:
        """Takes up to `wanted` tokens, none if there are fewer than `least`."""
        grant = await self._run(bucket, wanted, least)
        if grant is None:
            self.local += 1
            self._tell_once(is_local=True)
            return self._buckets.take(bucket, wanted, least)
        self._tell_once(is_local=False)
        return grant

    def _tell_once(self, *, is_local: bool) -> None:
        """A line when this process begins to count for itself, and one when all count together again."""
        if is_local == self._is_local:
            return
        self._is_local = is_local
        if is_local:
            get_logger().warning("Redis does not answer: limits hold for each process alone")
        else:
            get_logger().info("Redis answers: limits hold over all processes")

    async def give_back(self, bucket: Bucket) -> None:
        """Undoes a `take` of one."""
        await self.take(bucket, -1, -1)

    async def _run(self, bucket: Bucket, wanted: int, least: int) -> Grant | None:
        """What Redis grants, or None when it does not answer."""
        if not self._breaker.admits():
            return None
        arguments = (math.ceil(bucket.rate.every_s * 1_000_000), bucket.rate.burst, wanted, least)
        try:
            async with asyncio.timeout(REDIS_LIMIT_S):
                answer = await self._client.eval(self._script, 1, PREFIX + bucket.name, *arguments)
        except (RedisError, OSError, TimeoutError):
            self._breaker.on_failure()
            return None
        self._breaker.on_success()
        taken, left, wait_us, full_us = map(int, answer)
        return Grant(taken, left, wait_us / 1_000_000, full_us / 1_000_000)
