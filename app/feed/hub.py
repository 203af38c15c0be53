"""Hands what aggregators tell to all who watch: a web process's end of the feed.

In: one subscription to `live`, however many watch, and none when nobody does. Out: for each watcher a queue of frames
of an event stream (WHATWG HTML, 9.2), which holds QUEUE_MAX: who reads more slowly loses events and hears how many.

    event: visit    one visit, as JSON
    event: sampled  {"left_out": n}: so many more came than are told in a second
    event: lost     {"events": n}: so many were thrown away because this client reads too slowly
    : …             a comment: whether Redis, over which all this comes, can be heard

May import: links, Redis's client.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
import redis.asyncio
from redis.exceptions import RedisError

from app.feed.events import ALL_LINKS, LIVE, WANTED, Message, Seen, decode, encode, listen
from app.links import split_key

__all__ = ["QUEUE_MAX", "FullError", "Hub", "Stream"]

STREAMS_MAX = 100  # of one process: at 500 visits a second to each, half a core
QUEUE_MAX = 500  # frames of one stream, 125 KB
ASK_S = 1.0
HEARD = b": Redis can be heard\n\n"
UNHEARD = b": Redis is away: nothing comes until it is back\n\n"


class FullError(Exception):
    """So many watch already as one process serves, or it is about to end."""


class Stream:
    """One watcher's queue."""

    def __init__(self, link: int) -> None:
        self.link = link
        self.is_ended = False
        self._frames: deque[bytes] = deque()
        self._notice = b""
        self._lost = 0
        self._news = asyncio.Event()

    def put(self, frame: bytes) -> None:
        """Adds a frame, unless too many wait."""
        if len(self._frames) >= QUEUE_MAX:
            self._lost += 1
        else:
            self._frames.append(frame)
        self._news.set()

    def note(self, comment: bytes) -> None:
        """Says something beside the events; only the last such word counts."""
        self._notice = comment
        self._news.set()

    def end(self) -> None:
        """Nothing more comes."""
        self.is_ended = True
        self._news.set()

    async def next(self, limit_s: float) -> bytes:
        """What is to be sent; b"" when nothing came for `limit_s`, or the stream has ended."""
        try:
            async with asyncio.timeout(limit_s):
                await self._news.wait()
        except TimeoutError:
            return b""
        self._news.clear()
        data = self._notice + b"".join(self._frames)
        if self._lost:
            data += frame_of("lost", {"events": self._lost})
        self._frames.clear()
        self._notice, self._lost = b"", 0
        return data


class Hub:
    """All streams of one process."""

    def __init__(self, client: redis.asyncio.Redis, *, streams_max: int = STREAMS_MAX) -> None:
        self._client = client
        self._streams_max = streams_max
        self._streams: dict[int, set[Stream]] = {}  # by link
        self._count = 0
        self._is_ending = False
        self._is_heard = True  # until it is known otherwise
        self._opened = asyncio.Event()
        self._emptied = asyncio.Event()

    @property
    def count(self) -> int:
        """How many watch."""
        return self._count

    def open(self, link: int = ALL_LINKS) -> Stream:
        """A stream of one link's visits, or of all. Raises FullError."""
        if self._count >= self._streams_max or self._is_ending:
            raise FullError
        stream = Stream(link)
        self._streams.setdefault(link, set()).add(stream)
        self._count += 1
        if not self._is_heard:
            stream.note(UNHEARD)
        self._emptied.clear()
        self._opened.set()
        return stream

    def close(self, stream: Stream) -> None:
        """Its client is gone."""
        streams = self._streams[stream.link]
        streams.remove(stream)
        self._count -= 1
        if not streams:
            del self._streams[stream.link]
        if not self._count:
            self._emptied.set()

    def end(self) -> None:
        """Ends all streams, and opens no more: the process drains."""
        self._is_ending = True
        for stream in self._all():
            stream.end()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._opened.wait()
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(listen(self._client, LIVE, self._on_data, self._on_state)),
                    group.create_task(self._ask()),
                ]
                await self._emptied.wait()
                for task in tasks:
                    task.cancel()
            self._is_heard = True
            if self._count:  # somebody came meanwhile
                self._opened.set()
            else:
                self._opened.clear()

    async def _ask(self) -> None:
        """Tells aggregators what is watched: once a second, and at once when something new is."""
        while True:
            self._opened.clear()
            try:
                async with asyncio.timeout(ASK_S):
                    await self._client.publish(WANTED, encode(list(self._streams)))
            except (RedisError, OSError, TimeoutError):
                pass  # whether Redis can be heard is for the subscription to say
            try:
                async with asyncio.timeout(ASK_S):
                    await self._opened.wait()
            except TimeoutError:
                continue

    def _on_state(self, is_heard: bool) -> None:
        if is_heard != self._is_heard:
            self._is_heard = is_heard
            for stream in self._all():
                stream.note(HEARD if is_heard else UNHEARD)

    def _on_data(self, data: bytes) -> None:
        message = decode(data)
        if message is not None:
            self._hand_out(message)

    def _hand_out(self, message: Message) -> None:
        everything = self._streams.get(ALL_LINKS, ())
        for seen in message.seen:
            streams = self._streams.get(seen.link, ())
            if streams or everything:
                frame = frame_of("visit", shown(seen, message.keys[seen.link]))
                for stream in (*streams, *everything):
                    stream.put(frame)
        for link, count in message.left_out.items():
            for stream in self._streams.get(link, ()):
                stream.put(frame_of("sampled", {"left_out": count}))

    def _all(self) -> Iterable[Stream]:
        return [stream for streams in self._streams.values() for stream in streams]


def frame_of(event: str, data: Any) -> bytes:
    """One event; JSON holds no line break."""
    return b"event: %s\ndata: %s\n\n" % (event.encode(), msgspec.json.encode(data))


def shown(seen: Seen, key: str) -> dict[str, Any]:
    """What a watcher sees of a visit; null is what nobody knows."""
    domain, slug = split_key(key)
    return {
        "slug": slug,
        "domain": domain,
        "time": datetime.fromtimestamp(seen.time_ms / 1000, UTC),
        "kind": seen.kind,
        "variant": seen.variant or None,
        "country": seen.country or None,
        "device": seen.device or None,
        "browser": seen.browser or None,
        "os": seen.os or None,
        "referrer": seen.referrer or None,
    }
