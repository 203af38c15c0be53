"""Tokens taken ahead, so that somebody who asks often costs one question to Redis for many requests.

In: a bucket and what a request costs. Out: a grant. A process takes a share of a full bucket at once and spends it
itself for AHEAD_S; what is not spent then is lost, so all together may do a little less than the rate, never more.
Who was refused is refused without a question until the time that he was told.
May import: nothing but buckets.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from app.limits.buckets import Bucket, Grant, Limiter

__all__ = ["Quota"]

AHEAD_S = 1.0
SHARE = 50  # of a full bucket, taken ahead at once
PURSES_MAX = 1_000


class _Purse:
    """What one process has of one bucket."""

    __slots__ = ("asking", "grant", "refused", "refused_cost", "refused_until_s", "tokens", "until_s")

    def __init__(self) -> None:
        self.tokens = 0
        self.until_s = 0.0
        self.grant = self.refused = Grant(0, 0, 0.0, 0.0)
        self.refused_cost = 0
        self.refused_until_s = 0.0
        self.asking = asyncio.Lock()


class Quota:
    """Spends for one process. `monotonic` is a clock in seconds."""

    def __init__(self, limiter: Limiter, monotonic: Callable[[], float]) -> None:
        self._limiter = limiter
        self._monotonic = monotonic
        self._purses: OrderedDict[str, _Purse] = OrderedDict()

    async def spend(self, bucket: Bucket, cost: int = 1) -> Grant:
        """Takes `cost` tokens, or none and says how long to wait."""
        purse = self._purses.setdefault(bucket.name, _Purse())
        self._purses.move_to_end(bucket.name)
        if len(self._purses) > PURSES_MAX:
            self._purses.popitem(last=False)
        if not self._has(purse, cost):
            async with purse.asking:
                if not self._has(purse, cost):
                    return await self._ask(bucket, purse, cost)
        return self._pay(purse, cost)

    async def _ask(self, bucket: Bucket, purse: _Purse, cost: int) -> Grant:
        now_s = self._monotonic()
        if cost >= purse.refused_cost and now_s < purse.refused_until_s:
            return purse.refused._replace(wait_s=purse.refused_until_s - now_s)
        grant = await self._limiter.take(bucket, max(cost, bucket.rate.burst // SHARE), cost)
        if not grant.taken:
            purse.refused, purse.refused_cost = grant, cost
            purse.refused_until_s = now_s + grant.wait_s
            return grant
        purse.grant, purse.tokens = grant, grant.taken
        purse.until_s = self._monotonic() + AHEAD_S
        return self._pay(purse, cost)

    def _has(self, purse: _Purse, cost: int) -> bool:
        return purse.tokens >= cost and self._monotonic() < purse.until_s

    def _pay(self, purse: _Purse, cost: int) -> Grant:
        purse.tokens -= cost
        return purse.grant._replace(taken=cost, left=purse.grant.left + purse.tokens)
