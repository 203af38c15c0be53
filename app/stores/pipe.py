"""Pipelines commands to Redis over a connection of its own, and takes the replies apart as they come.

In: commands as bytes, and how many there are. Out: their replies, in order. Redirects read and fill Redis through it:
a key costs 1.5 µs of CPU, where a pipeline of redis-py costs 17 (docs/performance.md#resolver). It is to one server;
`app.stores.client` has what goes to the right one of several.

redis-py makes the connection, so TLS, passwords, databases and time limits are those of its URL; then the transport is
taken over. It stays one of the client's pool and ends with the client. Calls go out as they come, and whoever gives up
on one ends the connection, for its replies would have to be waited for: every call under way fails, the next opens a
new one. A primary that has become a replica says READONLY, which ends the connection, too: the next one goes to the
new primary. Nothing is ever sent twice.

    CLOSED   the next call opens a connection, and those that come meanwhile wait for the same one
    OPEN     `_Link` has the transport; replies belong to the oldest call
    LOST     the transport is gone, or given up; as CLOSED

May import: redis.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any

import redis.asyncio
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import ResponseError

__all__ = ["Pipe", "Reply", "command"]

CALLS_MAX = 64  # under way at once; one more is refused, for Redis does not keep up
DEMOTED = "READONLY"
REPLY_LINE_BYTES_MAX = 64 * 1024  # Redis's own limit of a line; without its end in so many bytes it is no Redis

Reply = bytes | int | None


def command(*words: bytes) -> bytes:
    """A command as Redis reads it (RESP: an array of bulk strings)."""
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


class Pipe:
    """One connection of `client`'s pool; raises `redis.exceptions.RedisError` when Redis does not answer."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._pool: Any = client.connection_pool
        self._connection: Any = None
        self._link: _Link | None = None
        self._opening: asyncio.Task[_Link] | None = None

    async def ask(self, commands: bytes, count: int) -> list[Reply]:
        """The replies of `count` commands.

        Raises:
            ResponseError: what the first of them said that failed; the others were carried out.
        """
        replies, errors = await self.ask_each(commands, count)
        if errors:
            raise ResponseError(errors[min(errors)])
        return replies

    async def ask_each(self, commands: bytes, count: int) -> tuple[list[Reply], Mapping[int, str]]:
        """The replies, None for each command that failed, and what those said, by their places."""
        link = self._link
        if link is None or link.is_lost:
            link = await self._open()
        return await link.ask(commands, count)

    async def _open(self) -> _Link:
        if self._opening is None:
            self._opening = asyncio.create_task(self._connect())
            self._opening.add_done_callback(self._on_opened)
        return await asyncio.shield(self._opening)  # who gives up leaves it to those behind

    def _on_opened(self, task: asyncio.Task[_Link]) -> None:
        self._opening = None
        if not task.cancelled() and task.exception() is None:
            self._link = task.result()

    async def _connect(self) -> _Link:
        former, self._connection = self._connection, None
        if former is not None:
            await former.disconnect(nowait=True)
            await self._pool.release(former)
        self._connection = await self._pool.get_connection()
        return _Link(self._connection._writer.transport)


class _Call:
    """Replies that are waited for."""

    __slots__ = ("count", "errors", "future", "replies")

    def __init__(self, count: int, future: asyncio.Future[None]) -> None:
        self.count = count
        self.future = future
        self.replies: list[Reply] = []
        self.errors: dict[int, str] = {}


class _Link(asyncio.Protocol):
    """The transport of a connection that redis-py made, and the calls under way on it."""

    def __init__(self, transport: Any) -> None:
        self.is_lost = transport.is_closing()
        self._transport = transport
        self._maker = transport.get_protocol()  # redis-py waits for it when it closes the connection
        self._calls: deque[_Call] = deque()
        self._rest = b""
        transport.set_protocol(self)

    async def ask(self, commands: bytes, count: int) -> tuple[list[Reply], Mapping[int, str]]:
        """As `Pipe.ask_each`."""
        if len(self._calls) >= CALLS_MAX:
            raise LostError("too many calls of Redis are under way")
        call = _Call(count, asyncio.get_running_loop().create_future())
        self._calls.append(call)
        self._transport.write(commands)
        try:
            await call.future
        except asyncio.CancelledError:
            self._give_up("a call took too long")
            raise
        if call.errors and any(text.startswith(DEMOTED) for text in call.errors.values()):
            self._give_up("the primary became a replica")
        return call.replies, call.errors

    def data_received(self, data: bytes) -> None:
        """Replies came, or a part of one."""
        if self._rest:
            data = self._rest + data
        at = 0
        while self._calls:
            call = self._calls[0]
            try:
                at = take_replies(data, at, call)
            except ValueError as error:
                self._give_up(str(error))
                return
            if len(call.replies) < call.count:
                break
            self._calls.popleft()
            if not call.future.done():
                call.future.set_result(None)
        self._rest = data[at:]
        if self._rest and not self._calls:
            self._give_up("Redis said what nobody asked for")

    def connection_lost(self, error: Exception | None) -> None:
        """Redis, or redis-py, ended the connection."""
        self.is_lost = True
        self._fail("the connection to Redis was lost")
        self._maker.connection_lost(error)

    def _give_up(self, why: str) -> None:
        self.is_lost = True
        self._fail(why)
        self._transport.abort()

    def _fail(self, why: str) -> None:
        calls, self._calls = self._calls, deque()
        for call in calls:
            if not call.future.done():
                call.future.set_exception(LostError(why))


def take_replies(data: bytes, at: int, call: _Call) -> int:
    """Takes whole replies of a call from `data`, beginning at `at`; returns where the first that is not whole begins.

    Raises:
        ValueError: that is no reply to a command that has no arrays in its answer.
    """
    replies, wanted = call.replies, call.count
    find = data.find
    while len(replies) < wanted:
        end = find(b"\r\n", at)
        if end < 0:
            if len(data) - at > REPLY_LINE_BYTES_MAX:
                raise ValueError("Redis sent a line without an end")
            break
        kind = data[at]
        if kind == 36:  # $, a string: its length, then so many bytes
            size = int(data[at + 1 : end])
            start = end + 2
            if size >= 0:
                end = start + size
                if end + 2 > len(data):
                    break
                replies.append(data[start:end])
            else:
                replies.append(None)
        elif kind == 58:  # :
            replies.append(int(data[at + 1 : end]))
        elif kind == 45:  # -
            call.errors[len(replies)] = data[at + 1 : end].decode("utf-8", "replace")
            replies.append(None)
        elif kind == 95:  # _, None to whoever asked for RESP 3
            replies.append(None)
        elif kind == 43:  # +
            replies.append(data[at + 1 : end])
        else:
            raise ValueError(f"Redis sent {data[at : at + 20]!r}")
        at = end + 2
    return at
