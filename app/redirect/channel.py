"""Keeps L1 coherent: hears which links changed, and notices when it may have missed something.

In: messages on Redis's channel `links`. Out: `resolver.on_change`, and `table.expire_all` when messages may be lost.

    LIVE  a message or a beat was heard within SILENCE_S: every entry of L1 is valid
    DEAF  nothing was heard: entries are valid for DEAF_ENTRY_S only, so that a banned link ends within 5 s as long as
          a store can be asked; a new subscription ends it, after all entries were expired once more

A new subscription may be one to a Redis that came back with old links; the announcer notices and mends that within two
seconds. And a read that began before it may end after it. So what is known DOUBT_S after it is expired a second time.
Each process publishes a beat a second and hears its own, so silence means that this process cannot hear.
After a gap, what was known is read again in the background, a step a second, before it is asked for.
May import: links, stores.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError

from app.links import CHANNEL, LinkCache, decode_message
from app.redirect.resolver import Resolver, table_key
from app.redirect.table import Table

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
        client: redis.asyncio.Redis,
        table: Table,
        resolver: Resolver,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.is_live = False
        self.gaps = 0
        self.messages = 0
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

    async def run(self) -> None:
        """Listens, beats and watches until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._beat())

    async def _listen(self) -> None:
        while True:
            try:
                async with self._client.pubsub() as subscription:
                    await subscription.subscribe(CHANNEL)
                    while True:
                        message = await subscription.get_message(timeout=SILENCE_S)
                        if message is not None:
                            self.on_message(message)
            except (RedisError, OSError):
                await asyncio.sleep(RETRY_S)

    async def _beat(self) -> None:
        while True:
            try:
                async with asyncio.timeout(BEAT_S / 2):
                    await self._cache.beat()
            except (RedisError, OSError, TimeoutError):
                pass  # unheard beats are what the watch below notices
            self.watch()
            await asyncio.sleep(BEAT_S)

    def on_message(self, message: dict[str, Any]) -> None:
        """One message of the subscription; each new subscription may have missed some before it."""
        if message["type"] == "subscribe":
            self._gap()
            self.is_live = True
            self._doubts_until_s = self._monotonic() + DOUBT_S
        elif message["type"] == "message":
            for name, version in decode_message(message["data"]) or ():
                self.messages += 1
                if name:
                    self._resolver.on_change(table_key(name), version)
                else:
                    self._gap()
                    self._resolver.on_doubt()
        else:
            return
        self._heard_s = self._monotonic()
        self._resolver.vouched_s = self._wall()

    def watch(self) -> None:
        """Once a second: notices silence, ends entries while deaf, and reads known links again step by step."""
        now_s = self._monotonic()
        if self.is_live and now_s - self._heard_s > SILENCE_S:
            self.is_live = False
            self._doubts_until_s = None  # everything ends sooner than that from now on
            self._gap()
        elif not self.is_live and now_s - self._expired_s >= DEAF_ENTRY_S:
            self._gap()
        elif self._doubts_until_s is not None and now_s >= self._doubts_until_s:
            self._doubts_until_s = None
            self._gap()
        if self.is_live:
            self._refresh()

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
