"""Links in Redis, and the channel that announces their changes.

    l:<domain/slug>   msgpack [version, entry]: an array is a link, nil an absence (version 0), false a tombstone
    channel links     msgpack [key, version]; an empty key is a beat

One key for each link, so that an absence never replaces a link and an older version never a newer one: every put goes
through `put_if_newer.lua`. All of it may be lost at any time; MongoDB has the truth. May import: msgspec, redis.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import msgspec
import redis.asyncio

from app.links.model import Cached, CachedLink

__all__ = ["CHANNEL", "LinkCache", "decode_cached", "decode_message", "encode_cached", "encode_message"]

CHANNEL = "links"
PREFIX = "l:"
LIFE_S = 3600
ABSENCE_LIFE_S = 60  # scanners of slugs fill Redis with absences, and a lost announcement must not hide a new link
LIFE_JITTER_S = 600  # so that what was read together does not end together

_encode = msgspec.msgpack.Encoder().encode
_decode_value = msgspec.msgpack.Decoder(tuple[int, CachedLink | bool | None]).decode
_decode_message = msgspec.msgpack.Decoder(tuple[str, int]).decode


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


def encode_message(key: str, version: int) -> bytes:
    """A message of the channel."""
    return _encode((key, version))


def decode_message(data: bytes) -> tuple[str, int] | None:
    """(key, version) of a message; None when it is none of ours."""
    try:
        return _decode_message(data)
    except msgspec.MsgspecError:
        return None


class LinkCache:
    """Links in one Redis; raises `redis.exceptions.RedisError` when it does not answer."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._script = files("app.links").joinpath("put_if_newer.lua").read_text()

    async def get_many(self, keys: Sequence[str]) -> list[Cached | None]:
        """What Redis holds of each key, in one pipeline; None where it holds nothing readable."""
        pipeline = self._client.pipeline(transaction=False)
        for key in keys:
            pipeline.get(PREFIX + key)
        values: list[Any] = await pipeline.execute()
        return [None if value is None else decode_cached(value) for value in values]

    async def put_many(self, items: Sequence[tuple[str, Cached]]) -> None:
        """Puts what is newer than what is there; older things change nothing."""
        if items:
            pipeline = self._client.pipeline(transaction=False)
            self._add_puts(pipeline, items)
            await pipeline.execute()

    async def announce(self, items: Sequence[tuple[str, Cached]]) -> None:
        """Puts, then tells every process, in one pipeline; whoever hears of it finds the new value."""
        pipeline = self._client.pipeline(transaction=False)
        self._add_puts(pipeline, items)
        for key, cached in items:
            pipeline.publish(CHANNEL, encode_message(key, cached.version))
        await pipeline.execute()

    def _add_puts(self, pipeline: Any, items: Sequence[tuple[str, Cached]]) -> None:
        for key, cached in items:
            is_absent = cached.entry is None and not cached.is_deleted
            life_s = ABSENCE_LIFE_S if is_absent else LIFE_S + random.randrange(LIFE_JITTER_S)  # noqa: S311  spreads load
            # EVAL rather than EVALSHA: correct also right after SCRIPT FLUSH or a failover, for 400 bytes each.
            pipeline.eval(self._script, 1, PREFIX + key, cached.version, encode_cached(cached), life_s)
