"""Links in Redis, and the channel that announces their changes.

    l:<domain/slug>   msgpack [version, entry]: an array is a link, nil an absence (version 0), false a tombstone
    channel links     msgpack [[key, version], ...]; no pair is a beat, an empty key: any link may have changed,
                      version 0: the key's document is gone from MongoDB
    links:announced   how far MongoDB's change stream is put into this Redis, so that one that came back with old data
                      is noticed

One key for each link, so that an absence never replaces a link and an older version never a newer one: every put goes
through `put_if_newer.lua`. All of it may be lost at any time; MongoDB has the truth. Reads are single GETs, pipelined,
and each script touches one key, so that a proxy before a Redis Cluster can spread them. May import: stores.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import msgspec
import redis.asyncio
from redis.exceptions import ResponseError

from app.links.model import Cached, CachedLink
from app.observe import asking
from app.stores import Pipe, command

__all__ = ["CHANNEL", "LinkCache", "decode_cached", "decode_message", "encode_cached", "encode_message"]

CHANNEL = "links"
PREFIX = "l:"
ANNOUNCED = "links:announced"
LIFE_S = 3600
MESSAGE_PAIRS_MAX = 100  # 5 KB; a message costs its hearers 60 µs, a pair in it 1
CLEAR_KEYS = 1_000  # looked at in one step: 1 ms of Redis
ABSENCE_LIFE_S = 60  # scanners of slugs fill Redis with absences, and a lost announcement must not hide a new link
LIFE_JITTER_S = 600  # so that what was read together does not end together

_MARK = """
local current = redis.call('GET', KEYS[1]) or ''
if current ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
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
    """Links in one Redis; raises `redis.exceptions.RedisError` when it does not answer."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._pipe = Pipe(client)
        self._announcer = Pipe(client)  # of its own: a redirect waits behind no thousand puts
        script = files("app.links").joinpath("put_if_newer.lua").read_bytes()
        self._eval = _put_begin(b"EVAL", script, b"1")
        digest = hashlib.sha1(script, usedforsecurity=False).hexdigest().encode()
        self._evalsha = _put_begin(b"EVALSHA", digest, b"1")

    async def get_many(self, keys: Sequence[str]) -> list[Cached | None]:
        """What Redis holds of each key; None where it holds nothing readable."""
        names = [_PREFIX + key.encode() for key in keys]
        # The same as `command` makes, at a third of its time: this runs for every redirect that memory does not know.
        gets = b"".join([b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(name), name) for name in names])
        values: list[Any] = await self._pipe.ask(gets, len(names))
        return [None if value is None else decode_cached(value) for value in values]

    async def put_many(self, items: Sequence[tuple[str, Cached]]) -> None:
        """Puts what is newer than what is there; older things change nothing."""
        if items:
            await self._put(self._pipe, items)

    async def _put(self, pipe: Pipe, items: Sequence[tuple[str, Cached]]) -> None:
        puts = [_put_end(key, cached) for key, cached in items]
        try:
            await pipe.ask(b"".join([self._evalsha + put for put in puts]), len(puts))
        except ResponseError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
            # Redis was restarted, flushed or failed over: it learns the script by being told it whole.
            await pipe.ask(b"".join([self._eval + put for put in puts]), len(puts))

    async def announce(self, items: Sequence[tuple[str, Cached]]) -> None:
        """Puts, then tells every process; whoever hears of it finds the new value."""
        messages = _messages([(key, cached.version) for key, cached in items])
        with asking("redis", "announce"):
            await self._put(self._announcer, items)
            told = b"".join([command(b"PUBLISH", _CHANNEL, data) for data in messages])
            await self._announcer.ask(told, len(messages))

    async def drop(self, keys: Sequence[str]) -> None:
        """Forgets keys whose documents are gone, and tells every process."""
        pipeline = self._client.pipeline(transaction=False)
        for key in keys:
            pipeline.unlink(PREFIX + key)
        for data in _messages([(key, 0) for key in keys]):
            pipeline.publish(CHANNEL, data)
        await pipeline.execute()

    async def versions(self, keys: Sequence[str]) -> list[int | None]:
        """The version that Redis holds of each key; None where it holds nothing readable."""
        pipeline = self._client.pipeline(transaction=False)
        for key in keys:
            pipeline.get(PREFIX + key)
        return [_version_of(value) for value in await pipeline.execute()]

    async def clear_some(self, cursor: int) -> int:
        """One step of forgetting every link, from cursor 0 on; returns the next cursor, 0 when all are gone."""
        following, keys = await self._client.scan(cursor, match=PREFIX + "*", count=CLEAR_KEYS)
        if keys:
            await self._client.unlink(*keys)
        return int(following)

    async def announce_all(self) -> None:
        """Tells every process that any link may have changed."""
        await self._client.publish(CHANNEL, encode_message([("", 0)]))

    async def beat(self) -> None:
        """Publishes a message that says nothing, for whoever listens for silence."""
        await self._client.publish(CHANNEL, encode_message([]))

    async def mark_announced(self, before: str | None, mark: str) -> bool:
        """Notes `mark` in Redis; False, and nothing is noted, unless it says `before`, or nothing when that is None."""
        # Compared by Redis itself: it may be restarted, from an old snapshot, between any two calls.
        return bool(await self._client.eval(_MARK, 1, ANNOUNCED, before or "", mark))

    async def announced(self) -> str | None:
        """What was noted last; None when Redis knows nothing of it."""
        mark: Any = await self._client.get(ANNOUNCED)
        return None if mark is None else mark.decode("ascii", "replace")

    async def forget_announced(self) -> None:
        """Forgets what was noted, so that the announcer forgets every link in Redis at its start."""
        await self._client.delete(ANNOUNCED)


def _messages(pairs: Sequence[tuple[str, int]]) -> list[bytes]:
    """What the channel is told of pairs."""
    parts = range(0, len(pairs), MESSAGE_PAIRS_MAX)
    return [encode_message(pairs[start : start + MESSAGE_PAIRS_MAX]) for start in parts]


def _put_begin(*words: bytes) -> bytes:
    """A command without its last four words, which `_put_end` has."""
    return b"*%d\r\n" % (len(words) + 4) + command(*words).partition(b"\r\n")[2]


def _put_end(key: str, cached: Cached) -> bytes:
    """The key and the arguments of the script, as `command` makes them but at a third of its time."""
    is_absent = cached.entry is None and not cached.is_deleted
    jitter_s = random.random() * LIFE_JITTER_S  # noqa: S311  spreads load
    name, value, version = _PREFIX + key.encode(), encode_cached(cached), b"%d" % cached.version
    life = b"%d" % (ABSENCE_LIFE_S if is_absent else LIFE_S + jitter_s)
    words = (len(name), name, len(version), version, len(value), value, len(life), life)
    return b"$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % words


def _version_of(value: bytes | None) -> int | None:
    try:
        return None if value is None else _decode_version(value)[0]
    except msgspec.MsgspecError:
        return None
