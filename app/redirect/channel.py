"""Keeps L1 coherent: hears which links changed, and notices when it may have missed something.

In: messages on Redis's channel `links`. Out: `resolver.on_change`, and `table.expire_all` when messages may be lost.

    LIVE  a message or a beat was heard within SILENCE_S: every entry of L1 is valid
    DEAF  nothing was heard, or the server refused a beat: entries are valid for DEAF_ENTRY_S only, so that a banned
          link ends within 5 s as long as a store can be asked; a new subscription ends it, after all entries were
          expired once more

A new subscription may be one to a Redis that came back with old links, or to a promoted replica that had lagged; the
announcer notices and mends that within two seconds. And a read that began before it may end after it. So what is known
DOUBT_S after it is expired a second time. In that time, and while it is deaf, this process asks MongoDB before Redis.
Each process publishes a beat a second and hears its own, so silence means that this process cannot hear. A beat is a
write, too: a primary that was cut off from its replicas, or from most of a cluster, refuses it, though it would pass on
messages, and answer reads with what is old. And once a second the process looks who the primary is.
After a gap, what was known is read again in the background, a step a second, before it is asked for.
May import: links, stores.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from redis.asyncio.client import PubSub
from redis.exceptions import RedisError, ResponseError

from app.links import CHANNEL, LinkCache, decode_message
from app.redirect.resolver import Resolver, table_key
from app.redirect.table import Table
from app.stores import RedisClient

__all__ = ["Channel"]

BEAT_S = 1.0
DOUBT_S = 3.0
SILENCE_S = 3.0
DEAF_ENTRY_S = 4.0  # with a beat of the watch, below the promised 5 s
RETRY_S = 0.25
REFRESH_STEP = 2_000  # keys a second: 100,000 links are known again within a minute, at 3 % of a core
FULL_CYCLE_S = 3_600  # every entry is read again within this time, messages or not


class Channel:
    """One process's ear. `monotonic` and `wall` are clocks in seconds."""

    def __init__(
        self,
        *,
        client: RedisClient,
        table: Table,
        resolver: Resolver,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.is_live = False
        self._was_live = False
        self.gaps = 0
        self._client = client
        self._cache = LinkCache(client)
        self._table = table
        self._resolver = resolver
        self._monotonic = monotonic
        self._wall = wall
        self._heard_s = float("-inf")
        self._expired_s = monotonic()
        self._doubts_until_s: float | None = None
        self._cycle: list[bytes] = []
        self._subscription: PubSub | None = None

    async def run(self) -> None:
        """Listens, beats and watches until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._beat())

    async def _listen(self) -> None:
        while True:
            try:
                async with self._client.pubsub() as subscription:
                    self._subscription = subscription
                    await subscription.subscribe(CHANNEL)
                    await self._hear(subscription)
            except (RedisError, OSError):
                await asyncio.sleep(RETRY_S)

    async def _hear(self, subscription: PubSub) -> None:
        """Until it is silent or the process is deaf; the next subscription may be to another server."""
        while (message := await subscription.get_message(timeout=SILENCE_S)) is not None:
            self.on_message(message)
            if not self.is_live:
                return

    async def _beat(self) -> None:
        while True:
            try:
                async with asyncio.timeout(BEAT_S / 2):
                    await asyncio.gather(self._send_beat(), self._client.look())
            except (RedisError, OSError, TimeoutError):
                pass  # unheard beats are what the watch below notices
            self.watch()
            await asyncio.sleep(BEAT_S)

    async def _send_beat(self) -> None:
        if self._subscription is not None:
            try:
                await self._cache.beat(self._subscription)
            except ResponseError:
                self.on_refusal()

    def on_message(self, message: dict[str, Any]) -> None:
        """One message of the subscription; each new subscription may have missed some before it."""
        if message["type"] == "subscribe":
            self._resolver.is_redis_doubted = self._was_live
            self._gap()
            self.is_live = self._was_live = True
            self._doubts_until_s = self._monotonic() + DOUBT_S
        elif message["type"] == "message":
            for name, version in decode_message(message["data"]) or ():
                if name:
                    self._resolver.on_change(table_key(name), version)
                else:
                    self._gap()
                    self._resolver.on_doubt()
        else:
            return
        self._heard_s = self._monotonic()
        self._resolver.vouched_s = self._wall()

    def on_refusal(self) -> None:
        """A beat was refused: what this server says may be old."""
        if self.is_live:
            self._deafen()

    def watch(self) -> None:
        """Once a second: notices silence, ends entries while deaf, and reads known links again step by step."""
        now_s = self._monotonic()
        if self.is_live and now_s - self._heard_s > SILENCE_S:
            self._deafen()
        elif not self.is_live and now_s - self._expired_s >= DEAF_ENTRY_S:
            self._gap()
        elif self._doubts_until_s is not None and now_s >= self._doubts_until_s:
            self._doubts_until_s = None
            self._resolver.is_redis_doubted = False
            self._gap()
        if self.is_live:
            self._refresh()

    def _deafen(self) -> None:
        self.is_live = False
        self._doubts_until_s = None  # everything ends sooner than that from now on
        self._resolver.is_redis_doubted = True
        self._gap()

    def _gap(self) -> None:
        self.gaps += 1
        self._expired_s = self._monotonic()
        self._table.expire_all()

    def _refresh(self) -> None:
        stale = self._table.stale_keys(REFRESH_STEP)
        if stale:
            self._resolver.refresh(stale)
            return
        if not self._cycle:
            self._cycle = self._table.fresh_keys()
        step = min(REFRESH_STEP, len(self._cycle) // FULL_CYCLE_S + 1)
        due, self._cycle = self._cycle[-step:], self._cycle[:-step]
        self._resolver.refresh(due)
