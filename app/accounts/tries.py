"""Tries of signing in: enough for people, too few for guessing, and nobody locks somebody else out.

In: an account's e-mail, as typed, and the network that a try comes from. Out: whether it may be made.

    login:ACCOUNT:NETWORK   BOTH: guesses of one at one account
    logins:NETWORK          ADDRESS: guesses of one at many accounts
    login:ACCOUNT           ACCOUNT: guesses of many at one account. Empty, it stops only networks from which nobody has
                            signed in to this account within KNOWN_S: its owner is not locked out by others
    k:ACCOUNT:NETWORK       that somebody has; a password alone, of an account with a second factor, does not count
    begins:NETWORK          BEGINS: those who set out for the identity provider: no guess, and an office does it in one
                            minute, but each leaves a flow in Redis for ten

ACCOUNT stands for the SHA-256 of the folded e-mail, whether there is such an account or not. A right password gives its
try back, and so does a try that a store or the identity provider did not let end.
May import: limits, provider, sessions, users, Redis's client.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import redis.asyncio
from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from app.accounts.provider import ProviderError
from app.accounts.sessions import in_time
from app.accounts.users import fold_email
from app.limits import Bucket, Grant, Limiter, Rate

__all__ = ["TooManyTriesError", "Tries", "Try"]

BOTH = Rate(burst=10, every_s=60.0)
ADDRESS = Rate(burst=50, every_s=10.0)
ACCOUNT = Rate(burst=100, every_s=60.0)  # 1,500 guesses a day, of any number of addresses
BEGINS = Rate(burst=200, every_s=2.0)  # 500 flows at most, 150 KB
KNOWN_S = 30 * 86_400
KNOWN = "k:"


class TooManyTriesError(Exception):
    """They must wait, as `grant` says."""

    def __init__(self, grant: Grant) -> None:
        super().__init__("too many tries")
        self.grant = grant


class Try:
    """One try under way; whoever made it says whether it was right, and whether a second factor is still missing."""

    is_right = False
    is_half = False


class Tries:
    """Tries of all processes."""

    def __init__(self, limiter: Limiter, client: redis.asyncio.Redis) -> None:
        self._limiter = limiter
        self._client = client

    @asynccontextmanager
    async def one(self, network: str, email: str = "") -> AsyncIterator[Try]:
        """A try from a network, at an account if there is an e-mail; raises TooManyTriesError."""
        account = hashlib.sha256(fold_email(email).encode("utf-8", "surrogatepass")).hexdigest() if email else ""
        taken = await self._take(network, account)
        made = Try()
        try:
            yield made
        except (PyMongoError, RedisError, ProviderError):
            await self._give_back(taken)
            raise
        if made.is_right:
            await self._give_back(taken)
            if account and not made.is_half:
                await self._remember(account, network)

    async def begin(self, network: str) -> None:
        """Somebody sets out for the identity provider, from a network; raises TooManyTriesError."""
        grant = await self._limiter.take(Bucket(f"begins:{network}", BEGINS))
        if not grant.taken:
            raise TooManyTriesError(grant)

    async def _take(self, network: str, account: str) -> list[Bucket]:
        buckets = [Bucket(f"logins:{network}", ADDRESS)]
        if account:
            buckets.insert(0, Bucket(f"login:{account}:{network}", BOTH))
        for bucket in buckets:
            grant = await self._limiter.take(bucket)
            if not grant.taken:
                raise TooManyTriesError(grant)
        if account:
            whole = Bucket(f"login:{account}", ACCOUNT)
            grant = await self._limiter.take(whole)
            if grant.taken:
                return [*buckets, whole]
            if not await self._is_known(account, network):
                raise TooManyTriesError(grant)
        return buckets

    async def _give_back(self, buckets: list[Bucket]) -> None:
        for bucket in buckets:
            await self._limiter.give_back(bucket)

    async def _is_known(self, account: str, network: str) -> bool:
        try:
            return bool(await in_time(self._client.exists(f"{KNOWN}{account}:{network}")))
        except RedisError:
            return False

    async def _remember(self, account: str, network: str) -> None:
        with suppress(RedisError):  # then the network is a stranger's
            await in_time(self._client.set(f"{KNOWN}{account}:{network}", b"", ex=KNOWN_S))
