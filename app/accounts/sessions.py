"""Sessions of users, in Redis: `s:<SHA-256 of the token>` -> (user, epoch, created), until unused for idle_s.

In: tokens of cookies. Out: the user who is signed in. The token has 256 random bits, and Redis never sees it. A session
ends when it is unused or old, at sign-out, and, with all of its user's, when the user's `epoch` rises: that is in
MongoDB, so a Redis that comes back from a snapshot brings no ended session back. While Redis is away nobody is in,
and one that hangs is away after ANSWER_S.
May import: users, Redis's client.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import redis.asyncio
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.accounts.users import User, UserBook

__all__ = ["Sessions", "in_time"]

PREFIX = "s:"
ANSWER_S = 1.0  # a page that waits longer is not worth the connection; the client itself waits ten times as long


class _Stored(msgspec.Struct, array_like=True, frozen=True):
    user: str
    epoch: int
    created: int


class Sessions:
    """All sessions. `idle_s` and `life_s` are seconds, `token` is `secrets.token_urlsafe`."""

    def __init__(
        self,
        client: redis.asyncio.Redis,
        users: UserBook,
        *,
        idle_s: int,
        life_s: int,
        now_s: Callable[[], float],
        token: Callable[[int], str],
    ) -> None:
        self.life_s = life_s
        self._client = client
        self._users = users
        self._idle_s = idle_s
        self._now_s = now_s
        self._token = token

    async def begin(self, user: User) -> str:
        """The token of a new session; raises RedisError."""
        token = self._token(32)
        stored = _Stored(user.id, user.epoch, int(self._now_s()))
        await in_time(self._client.set(_key_of(token), msgspec.msgpack.encode(stored), ex=self._idle_s))
        return token

    async def find(self, token: str) -> User | None:
        """Who is signed in; raises RedisError, PyMongoError."""
        value: Any = await in_time(self._client.getex(_key_of(token), ex=self._idle_s))
        if value is None:
            return None
        stored = msgspec.msgpack.decode(value, type=_Stored)
        user = await self._users.find(stored.user)
        is_over = self._now_s() - stored.created >= self.life_s
        if user is None or user.disabled or user.epoch != stored.epoch or is_over:
            await self.end(token)
            return None
        return user

    async def end(self, token: str) -> None:
        """Ends one session; raises RedisError."""
        await in_time(self._client.delete(_key_of(token)))


async def in_time(call: Awaitable[Any]) -> Any:
    """What Redis says; raises RedisError also when it says nothing for ANSWER_S."""
    try:
        async with asyncio.timeout(ANSWER_S):
            return await call
    except TimeoutError as error:
        raise RedisTimeoutError("no answer about a sign-in") from error


def _key_of(token: str) -> str:
    return PREFIX + hashlib.sha256(token.encode()).hexdigest()
