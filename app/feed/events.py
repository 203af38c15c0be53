"""What is told of a visit, and how it travels from aggregators to web processes.

    channel `live`         aggregator -> web: msgpack of `Message`, a few times a second while somebody watches
    channel `live-wanted`  web -> aggregator: msgpack of link ids, once a second while somebody watches

Nothing of it is stored, and nothing in it says who the visitor was: no address, no agent, no id.
`listen` is how both sides follow a channel: it begins again for ever, and notices a Redis that went silent.
May import: msgspec, Redis's client, links.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import redis.asyncio
from redis.exceptions import RedisError

__all__ = ["ALL_LINKS", "LIVE", "WANTED", "Glimpse", "Message", "Seen", "decode", "encode", "listen"]

LIVE = "live"
WANTED = "live-wanted"
ALL_LINKS = 0  # the id that no link has: those who watch everything
PING_S = 2.0  # of silence, after which Redis is asked for a sign
SILENT_MAX = 2  # pings without one
RETRY_S = 0.5

encode = msgspec.msgpack.Encoder().encode


class Seen(msgspec.Struct, array_like=True, frozen=True):
    """One visit; "" is what nobody knows.

    Attributes:
        kind: person, bot, preview or prefetch.
        variant: as in statistics; 0 for none.
    """

    link: int
    time_ms: int
    kind: str
    variant: int
    country: str
    device: str
    browser: str
    os: str
    referrer: str


class Message(msgspec.Struct, array_like=True, frozen=True):
    """Some visits; `keys` are the links' `domain/slug`, `left_out` counts by link what was too much to be told."""

    seen: list[Seen]
    keys: dict[int, str]
    left_out: dict[int, int]


@dataclass(slots=True)
class Glimpse:
    """What of a batch is to be told; `left_out` as in `Message`."""

    seen: list[Seen] = field(default_factory=list)
    left_out: Counter[int] = field(default_factory=Counter)


def decode(data: bytes) -> Message | None:
    """A message; None for what is none."""
    try:
        return msgspec.msgpack.decode(data, type=Message)
    except msgspec.MsgspecError:
        return None


async def listen(
    client: redis.asyncio.Redis,
    channel: str,
    on_message: Callable[[bytes], None],
    on_state: Callable[[bool], None] = lambda is_heard: None,
) -> None:
    """Follows a channel until cancelled; `on_state` hears whether messages come through."""
    while True:
        try:
            async with client.pubsub() as subscription:
                await subscription.subscribe(channel)
                silent = 0
                while silent <= SILENT_MAX:
                    message = await subscription.get_message(timeout=PING_S)
                    if message is None:
                        silent += 1
                        await subscription.ping()
                        continue
                    silent = 0
                    if message["type"] == "message":
                        on_message(message["data"])
                    elif message["type"] == "subscribe":
                        on_state(True)
        except (RedisError, OSError):
            pass
        on_state(False)
        await asyncio.sleep(RETRY_S)
