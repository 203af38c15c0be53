"""Tells web processes what was counted: an aggregator's end of the feed.

In: glimpses of batches that a majority has, so nothing is told that is not in the statistics, or told again when a
batch is read again. Out: messages on `live`. Nobody waits for it: what is offered while a message is under way is
gathered, SEEN_MAX at most, and a message has SEND_S to be on its way, or is forgotten. The next clicks come soon.
May import: links, stores.
"""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
import redis.asyncio
from bson.int64 import Int64
from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from app.feed.events import ALL_LINKS, LIVE, WANTED, Glimpse, Message, encode, listen
from app.feed.tap import Tap
from app.links import LINKS
from app.stores import Database

__all__ = ["SEEN_MAX", "Publisher"]

SEEN_MAX = 2_000  # 0.3 MB, a second at the tap's limits and some
SEND_S = 1.0
KEYS_MAX = 20_000  # of links that are remembered, 3 MB; then all are forgotten
_decode_links = msgspec.msgpack.Decoder(list[int]).decode


class Publisher:
    """Publishes for one aggregator, and tells its tap what is wanted.

    Attributes:
        published: visits that were told.
        dropped: visits that Redis did not take in time.
    """

    def __init__(self, client: redis.asyncio.Redis, database: Database, tap: Tap) -> None:
        self.published = 0
        self.dropped = 0
        self._client = client
        self._links = database[LINKS]
        self._tap = tap
        self._pending = Glimpse()
        self._is_pending = asyncio.Event()
        self._keys: dict[int, str] = {}

    def offer(self, glimpse: Glimpse) -> None:
        """Takes what is to be told of a batch; returns at once."""
        if not (glimpse.seen or glimpse.left_out):
            return
        room = SEEN_MAX - len(self._pending.seen)
        self._pending.seen += glimpse.seen[:room]
        self._pending.left_out.update(glimpse.left_out)
        for seen in glimpse.seen[room:]:
            self._pending.left_out.update((seen.link, ALL_LINKS))
        self._is_pending.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(listen(self._client, WANTED, self._on_wanted))
            group.create_task(self._send())

    def _on_wanted(self, data: bytes) -> None:
        with contextlib.suppress(msgspec.MsgspecError):  # what another release says is no wish
            self._tap.want(link for link in _decode_links(data) if 0 <= link < 1 << 63)

    async def _send(self) -> None:
        while True:
            await self._is_pending.wait()
            self._is_pending.clear()
            glimpse, self._pending = self._pending, Glimpse()
            try:
                async with asyncio.timeout(SEND_S):
                    keys = await self._keys_of({seen.link for seen in glimpse.seen})
                    seen = [each for each in glimpse.seen if each.link in keys]
                    await self._client.publish(LIVE, encode(Message(seen, keys, dict(glimpse.left_out))))
                self.published += len(seen)
            except (PyMongoError, RedisError, OSError, TimeoutError):
                self.dropped += len(glimpse.seen)

    async def _keys_of(self, links: set[int]) -> dict[int, str]:
        """`domain/slug` by link id: a link never gets another one."""
        unknown = links.difference(self._keys)
        if unknown:
            query = {"link": {"$in": [Int64(link) for link in unknown]}}
            fresh = {int(row["link"]): row["_id"] async for row in self._links.find(query, {"link": 1})}
            if len(self._keys) + len(fresh) > KEYS_MAX:
                self._keys.clear()
            found = fresh | {link: self._keys[link] for link in links if link in self._keys}
            self._keys |= found
            return found
        return {link: self._keys[link] for link in links}
