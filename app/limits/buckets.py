"""Token buckets: a burst at once, then tokens come back one by one.

In: a name and a rate. Out: the seconds to wait, 0.0 when the thing may be done now.

    rl:<name>   the time at which the bucket is full again, in ms, written by `take.lua`; ends by itself

While Redis does not answer, each process counts for itself in buckets of the same rate, so that what must be limited
stays limited: by as much for each process. At most BUCKETS_MAX of them; the one not used for longest is forgotten.
May import: redis, stores.
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

from app.stores import Breaker

__all__ = ["Bucket", "Buckets", "Limiter", "Rate"]

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


class Buckets:
    """Buckets in memory. `monotonic` is a clock in seconds."""

    def __init__(self, monotonic: Callable[[], float], limit: int = BUCKETS_MAX) -> None:
        self._full_at_s: OrderedDict[str, float] = OrderedDict()
        self._monotonic = monotonic
        self._limit = limit

    def __len__(self) -> int:
        return len(self._full_at_s)

    def take(self, bucket: Bucket) -> float:
        """Takes a token: 0.0, or the seconds until there will be one."""
        now_s = self._monotonic()
        whole_s = bucket.rate.every_s * bucket.rate.burst
        full_at_s = max(now_s, self._full_at_s.get(bucket.name, 0.0)) + bucket.rate.every_s
        if full_at_s > now_s + whole_s:
            return full_at_s - now_s - whole_s
        self._keep(bucket.name, full_at_s)
        return 0.0

    def give_back(self, bucket: Bucket) -> None:
        """Undoes a `take`."""
        full_at_s = self._full_at_s.get(bucket.name)
        if full_at_s is not None:
            self._keep(bucket.name, full_at_s - bucket.rate.every_s)

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
        self._client = client
        self._breaker = breaker
        self._buckets = buckets
        self._script = files("app.limits").joinpath("take.lua").read_text()

    async def take(self, bucket: Bucket) -> float:
        """Takes a token: 0.0, or the seconds until there will be one."""
        wait_s = await self._run(bucket, 1)
        if wait_s is None:
            self.local += 1
            return self._buckets.take(bucket)
        return wait_s

    async def give_back(self, bucket: Bucket) -> None:
        """Undoes a `take`."""
        if await self._run(bucket, -1) is None:
            self._buckets.give_back(bucket)

    async def _run(self, bucket: Bucket, direction: int) -> float | None:
        """The seconds to wait, or None when Redis does not answer."""
        if not self._breaker.admits():
            return None
        token_ms = math.ceil(bucket.rate.every_s * 1000)
        arguments = (token_ms, token_ms * bucket.rate.burst, direction)
        try:
            async with asyncio.timeout(REDIS_LIMIT_S):
                wait_ms = await self._client.eval(self._script, 1, PREFIX + bucket.name, *arguments)
        except (RedisError, OSError, TimeoutError):
            self._breaker.on_failure()
            return None
        self._breaker.on_success()
        return int(wait_ms) / 1000
