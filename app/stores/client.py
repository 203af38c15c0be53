"""A client of Redis, as the rooms use it: redis-py's, and what differs between one server and several.

In: what redis-py takes. Out: its commands, and

    pipe()       commands that leave as they come (`pipe`), each to the server that has its key
    look()       once a second: sees to it that the primary is still the one that is talked to
    spread()     names of one thing that is kept once on each server
    beside()     the name of a thing that is kept where a subscription is
    primaries()  a client of each server that takes writes
    members()    how many servers there are, and are well

`RedisClient` is of one server; `sentinels` and `cluster` have the others. May import: pipe, the client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import redis.asyncio
from redis.asyncio.client import PubSub
from redis.exceptions import ResponseError

from app.stores.pipe import Pipe, Reply

__all__ = ["Members", "Pipes", "RedisClient", "SomeFailedError", "well_replicas"]

LAG_MAX_S = 10  # of a replica that is well; Redis itself counts seconds since its last sign


class Members(NamedTuple):
    """Servers of one store: those that are well, and all that are known."""

    up: int
    known: int


class SomeFailedError(ResponseError):
    """Some commands failed, or all of them; the others were carried out.

    Attributes:
        replies: of all commands, None for those that failed.
        errors: by their places, what was said of them.
    """

    def __init__(self, replies: Sequence[Reply], errors: Mapping[int, str]) -> None:
        super().__init__("; ".join(dict.fromkeys(errors.values())))
        self.replies = replies
        self.errors = errors


class Pipes:
    """Commands with one key each, to one server."""

    def __init__(self, client: redis.asyncio.Redis, limit_s: float) -> None:
        self._pipe = Pipe(client)
        self._limit_s = limit_s

    async def ask(self, commands: Sequence[bytes], keys: Sequence[bytes]) -> Sequence[Reply]:
        """The replies, in order; a command with the key b"" goes to any server.

        Raises:
            SomeFailedError: of several servers, some did not answer, or refused.
            RedisError: the only one did, or nobody says which server has a key.
            TimeoutError: the only one did not answer in time.
        """
        async with asyncio.timeout(self._limit_s):  # one that hangs says nothing at all, and another may be primary
            return await self._pipe.ask(b"".join(commands), len(commands))


class RedisClient(redis.asyncio.Redis):
    """One server."""

    def pipe(self, limit_s: float) -> Pipes:
        """A way to Redis of one's own: its connections are no one else's.

        Args:
            limit_s: how long a server may take.
        """
        return Pipes(self, limit_s)

    async def look(self) -> None:
        """Looks who the primaries are; raises RedisError when nobody says."""

    def spread(self, name: str) -> Sequence[str]:
        """Keys of which each server has at least one."""
        return (name,)

    def beside(self, subscription: PubSub, name: str) -> str:
        """A key that the server of a subscription has."""
        return name

    async def primaries(self) -> Sequence[redis.asyncio.Redis]:
        """Each server that takes writes; they end with this client."""
        return (self,)

    async def members(self) -> Mapping[str, Members]:
        """By kind, redis or sentinel; nothing of a single server."""
        return {}


def well_replicas(info: Mapping[str, Any]) -> int:
    """How many replicas keep up with a primary, of its INFO."""
    rows = [info.get(f"slave{number}", {}) for number in range(int(info.get("connected_slaves", 0)))]
    return sum(row.get("state") == "online" and int(row.get("lag", 0)) <= LAG_MAX_S for row in rows)
