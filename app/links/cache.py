"""Links in Redis, and the channel that announces their changes.

    l:<domain/slug>   msgpack [version, entry]: an array is a link, nil an absence (version 0), false a tombstone
    channel links     msgpack [[key, version], ...]; no pair is a beat, an empty key: any link may have changed,
                      version 0: the key's document is gone from MongoDB
    links:announced   how far MongoDB's change stream is put into this Redis, so that one that came back with old data
                      is noticed; of a cluster one mark for each 128 slots, so that each node has some
    links:beat        written with each beat, so that a server that may not be written to does not beat

One key for each link, so that an absence never replaces a link and an older version never a newer one: every put goes
through `put_if_newer.lua`. All of it may be lost at any time; MongoDB has the truth. Every command has one
key, so each goes to the node of a Redis Cluster that has it. May import: stores.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Sequence
from importlib.resources import files
from typing import Any

import msgspec
import redis.asyncio
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError, ResponseError

from app.links.model import Cached, CachedLink
from app.observe import asking
from app.stores import Pipes, RedisClient, SomeFailedError, command

__all__ = ["CHANNEL", "PREFIX", "LinkCache", "decode_cached", "decode_message", "encode_cached", "encode_message"]

CHANNEL = "links"
PREFIX = "l:"
ANNOUNCED = "links:announced"
BEAT = "links:beat"
BEAT_LIFE_S = 60
READ_S = 0.2  # of one server, below the 0.25 that redirects wait for all of them
TELL_S = 0.5  # to put changes, and as much to tell of them: `Catalog` gives it a second
LIFE_S = 3600
MESSAGE_PAIRS_MAX = 100  # 5 KB; a message costs its hearers 60 µs, a pair in it 1
CLEAR_KEYS = 1_000  # looked at in one step: 1 ms of Redis
ABSENCE_LIFE_S = 60  # scanners of slugs fill Redis with absences, and a lost announcement must not hide a new link
LIFE_JITTER_S = 600  # so that what was read together does not end together

_MARK = b"""
local current = redis.call('GET', KEYS[1]) or ''
if current ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""

_BEAT = """
redis.call('SET', KEYS[1], '', 'EX', ARGV[3])
return redis.call('PUBLISH', ARGV[1], ARGV[2])
"""

_PREFIX, _CHANNEL = PREFIX.encode(), CHANNEL.encode()
_encode = msgspec.msgpack.Encoder().encode
_decode_value = msgspec.msgpack.Decoder(tuple[int, CachedLink | bool | None]).decode
_decode_version = msgspec.msgpack.Decoder(tuple[int, msgspec.Raw]).decode
_decode_message = msgspec.msgpack.Decoder(list[tuple[str, int]]).decode


def encode_cached(cached: Cached) -> bytes:
    """The value of a key."""
    return _encode((cached.version, False if cached.is_deleted else cached.entry))


def decode_cached(value: bytes) -> Cached | None:
    """What a value says; None when it cannot be read, which counts as not being there."""
    try:
        version, entry = _decode_value(value)
    except msgspec.MsgspecError:
        return None
    if isinstance(entry, CachedLink):
        return Cached(version, entry)
    return Cached(version, None, is_deleted=entry is False)


def encode_message(pairs: Sequence[tuple[str, int]]) -> bytes:
    """A message of the channel: (key, version) of what changed; none for a beat."""
    return _encode(pairs)


def decode_message(data: bytes) -> list[tuple[str, int]] | None:
    """What a message says changed; None when it is none of ours."""
    try:
        return _decode_message(data)
    except msgspec.MsgspecError:
        return None


class LinkCache:
    """Links in Redis; raises `redis.exceptions.RedisError` or TimeoutError when it does not answer."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._pipe = client.pipe(READ_S)
        self._announcer = client.pipe(TELL_S)  # of its own: a redirect waits behind no thousand puts
        self._marks = [name.encode() for name in client.spread(ANNOUNCED)]
        script = files("app.links").joinpath("put_if_newer.lua").read_bytes()
        self._eval = _put_begin(b"EVAL", script, b"1")
        digest = hashlib.sha1(script, usedforsecurity=False).hexdigest().encode()
        self._evalsha = _put_begin(b"EVALSHA", digest, b"1")

    async def get_many(self, keys: Sequence[str]) -> list[Cached | None]:
        """What Redis holds of each key; None where it holds nothing readable, or a node of several does not answer."""
        names = [_PREFIX + key.encode() for key in keys]
        # The same as `command` makes, at a third of its time: this runs for every redirect that memory does not know.
        gets = [b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(name), name) for name in names]
        try:
            values: Sequence[Any] = await self._pipe.ask(gets, names)
        except SomeFailedError as error:
            if len(error.errors) == len(names):
                raise
            values = error.replies
        return [None if value is None else decode_cached(value) for value in values]

    async def put_many(self, items: Sequence[tuple[str, Cached]]) -> None:
        """Puts what is newer than what is there; older things change nothing."""
        if items:
            await self._put(self._pipe, items)

    async def _put(self, pipe: Pipes, items: Sequence[tuple[str, Cached]]) -> None:
        names = [_PREFIX + key.encode() for key, _ in items]
        puts = [_put_end(name, cached) for name, (_, cached) in zip(names, items, strict=True)]
        try:
            await pipe.ask([self._evalsha + put for put in puts], names)
        except ResponseError as error:
            if "NOSCRIPT" not in str(error):
                raise
            # Redis was restarted, flushed or failed over: it learns the script by being told it whole.
            await pipe.ask([self._eval + put for put in puts], names)

    async def announce(self, items: Sequence[tuple[str, Cached]]) -> None:
        """Puts, then tells every process; whoever hears of it finds the new value.

        What cannot be put is told all the same: who hears of it reads MongoDB, as Redis holds an older version.
        """
        with asking("redis", "announce"):
            await self._and_tell(self._put(self._announcer, items), [(key, cached.version) for key, cached in items])

    async def drop(self, keys: Sequence[str]) -> None:
        """Forgets keys whose documents are gone, and tells every process."""
        names = [_PREFIX + key.encode() for key in keys]
        unlinking = self._announcer.ask([command(b"UNLINK", name) for name in names], names)
        await self._and_tell(unlinking, [(key, 0) for key in keys])

    async def versions(self, keys: Sequence[str]) -> list[int | None]:
        """The version that Redis holds of each key; None where it holds nothing readable."""
        return [_version_of(value) for value in await self._get([_PREFIX + key.encode() for key in keys])]

    async def clear(self) -> AsyncIterator[None]:
        """Forgets every link, a step each time that it is asked for the next.

        Raises:
            RedisError: also when another server took over meanwhile: begin again, for it walks in another order.
        """
        for server in await self._client.primaries():
            run, cursor = None, None
            while cursor != 0:
                cursor, now = await _clear_step(server, cursor or 0)
                if run not in (None, now):
                    raise RedisError("another Redis answers than the one that forgot links")
                run = now
                yield

    async def announce_all(self) -> None:
        """Tells every process that any link may have changed."""
        await self._client.publish(CHANNEL, encode_message([("", 0)]))

    async def beat(self, subscription: PubSub) -> None:
        """Publishes a message that says nothing, for whoever listens for silence, where the subscription is.

        Raises:
            ResponseError: the server may not be written to: it lost its replicas, its place, or its disk.
        """
        name = self._client.beside(subscription, BEAT)
        await self._client.eval(_BEAT, 1, name, CHANNEL, encode_message([]), BEAT_LIFE_S)

    async def look(self) -> None:
        """Looks who the primaries are; raises RedisError when nobody says."""
        await self._client.look()

    async def mark_announced(self, before: Sequence[str], mark: str) -> bool:
        """Notes `mark` in every part of Redis; False where one says something else than `before`, "" for nothing."""
        # Compared by Redis itself: it may be restarted, from an old snapshot, between any two calls.
        olds = [old.encode() for old in before]
        evals = [
            command(b"EVAL", _MARK, b"1", name, old, mark.encode()) for name, old in zip(self._marks, olds, strict=True)
        ]
        return all(await self._announcer.ask(evals, self._marks))

    async def announced(self) -> list[str]:
        """What was noted last in each part of Redis; "" where it knows nothing of it."""
        return ["" if mark is None else mark.decode("ascii", "replace") for mark in await self._get(self._marks)]

    async def forget_announced(self) -> None:
        """Forgets what was noted, so that the announcer forgets every link in Redis at its start."""
        await self._announcer.ask([command(b"DEL", name) for name in self._marks], self._marks)

    async def _and_tell(self, change: Awaitable[object], pairs: Sequence[tuple[str, int]]) -> None:
        try:
            await change
        except (RedisError, OSError):
            await self._tell(pairs)
            raise
        await self._tell(pairs)

    async def _tell(self, pairs: Sequence[tuple[str, int]]) -> None:
        told = [command(b"PUBLISH", _CHANNEL, data) for data in _messages(pairs)]
        await self._announcer.ask(told, [b""] * len(told))

    async def _get(self, names: Sequence[bytes]) -> Sequence[Any]:
        return await self._announcer.ask([command(b"GET", name) for name in names], names)


async def _clear_step(server: redis.asyncio.Redis, cursor: int) -> tuple[int, str]:
    """Forgets some of a server's links; the next cursor, 0 behind the last, and which run of Redis that was."""
    async with server.pipeline(transaction=False) as pipeline:
        pipeline.info("server")
        pipeline.scan(cursor, match=PREFIX + "*", count=CLEAR_KEYS)
        info, (following, keys) = await pipeline.execute()
        for key in keys:
            pipeline.unlink(key)  # one by one: of a cluster's node they are in many slots
        await pipeline.execute()
    return int(following), info["run_id"]


def _messages(pairs: Sequence[tuple[str, int]]) -> list[bytes]:
    """What the channel is told of pairs."""
    parts = range(0, len(pairs), MESSAGE_PAIRS_MAX)
    return [encode_message(pairs[start : start + MESSAGE_PAIRS_MAX]) for start in parts]


def _put_begin(*words: bytes) -> bytes:
    """A command without its last four words, which `_put_end` has."""
    return b"*%d\r\n" % (len(words) + 4) + command(*words).partition(b"\r\n")[2]


def _put_end(name: bytes, cached: Cached) -> bytes:
    """The key and the arguments of the script, as `command` makes them but at a third of its time."""
    is_absent = cached.entry is None and not cached.is_deleted
    jitter_s = random.random() * LIFE_JITTER_S  # noqa: S311  spreads load
    value, version = encode_cached(cached), b"%d" % cached.version
    life = b"%d" % (ABSENCE_LIFE_S if is_absent else LIFE_S + jitter_s)
    words = (len(name), name, len(version), version, len(value), value, len(life), life)
    return b"$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % words


def _version_of(value: bytes | None) -> int | None:
    try:
        return None if value is None else _decode_version(value)[0]
    except msgspec.MsgspecError:
        return None
