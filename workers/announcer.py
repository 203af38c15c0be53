"""Repeats in Redis, and on the channel, every change of a link in MongoDB: `python -m workers.announcer`.

In: MongoDB's change stream, from behind what is kept. Out: `app.links.LinkCache`, as the writer of the change does it.
So a writer that dies between MongoDB and Redis costs about a second. One is active by lease, the others stand by.

    batch      keys that changed are read again (majority), put if newer, and published
    mark       once a second Redis is told how far everything is done, in words never used before, if it still says what
               it was told last. If not, it came back with old data: the stream is followed again from where that ends.
               A Redis without a mark was emptied, or is older than any: its links are deleted
    look back  then, at batches older than LOOK_BACK_S: does Redis still say so? Else they are announced again
    keep       the token behind the last batch that was looked back at goes into the lease

Looking back catches a reader that had read the old version before the change and put it into a Redis that had lost the
new one in between (FLUSHALL, eviction). Because the mark is set between the put and the look, a Redis that went back to
a moment before the put is seen: either it also lost the mark, or the look comes after.

kill -9 anywhere: the next one begins behind the kept token, and what is done twice changes nothing the second time.
When the oplog no longer reaches that far, every link is forgotten in Redis, and then every process is told that any of
them may have changed; and once more LOOK_BACK_S later.
Of a Redis Cluster each node has marks of its own, and what one of them says is judged as above: so a replica that
lagged and was promoted is seen, whichever node's it is. May import: everything below it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from app.links import Cached, ChangeFeed, LinkCache, LinkStore
from app.observe import Metrics, get_logger, reason_of, traced
from app.process import node_id, refuse_second, run_program, wait_for_data, work_by_lease
from app.settings import Settings
from app.stores import (
    Database,
    HistoryLostError,
    Lease,
    RedisClient,
    count_members,
    mongodb_url,
    open_mongodb,
    open_redis,
    redis_url,
    run_dir,
)

__all__ = ["Announcer", "AnnouncerCounts"]

TEND_S = 1.0  # between two marks; also how long the end of the program may wait for a loop
#: Twice what a read of MongoDB and the put that follows may take in a reader (`app.redirect.resolver`, 250 ms each).
LOOK_BACK_S = 1.0
PENDING_MAX = 50_000  # keys to look back at: 10 MB; at the limit no further batch is taken
PUBLISH_S = 1.0
MEMBERS_S = 10.0  # an alert waits for minutes


@dataclass(slots=True)
class AnnouncerCounts:
    """Plain counts since the start."""

    announced: int = 0
    mended: int = 0
    cleared: int = 0


class _Batch(NamedTuple):
    """What was announced, as (key, version), 0 for a document that is gone; and the token behind it."""

    put_s: float
    pairs: Sequence[tuple[str, int]]
    token: str | None


class Announcer:
    """The work of whoever holds `lease`. `monotonic` is a clock in seconds."""

    def __init__(
        self, *, lease: Lease, feed: ChangeFeed, links: LinkStore, cache: LinkCache, monotonic: Callable[[], float]
    ) -> None:
        self.counts = AnnouncerCounts()
        self._lease = lease
        self._feed = feed
        self._links = links
        self._cache = cache
        self._monotonic = monotonic
        self._batches: deque[_Batch] = deque()
        self._pending = 0
        self._done: str | None = None
        self._noted: Sequence[str] = ()  # what each part of Redis was last told, or said; "": nothing
        self._marks = 0
        self._tended_s = float("-inf")
        self._clearing: AsyncIterator[None] | None = None  # a pass that forgets every link; None: none is under way
        self._second_pass_s: float | None = None
        self._tells = False  # whether everyone is told after a pass

    async def open(self) -> None:
        """Follows from behind the older of what is kept and what Redis has seen."""
        self._batches.clear()
        self._pending = 0
        self._clearing = self._second_pass_s = None
        self._done = self._lease.kept.get("token")
        self._noted = await self._cache.announced()
        if not all(self._noted):
            self._clear(tell=False)
        else:
            noted = min(map(token_of, self._noted))
            self._done = noted if self._done is None else min(noted, self._done)
        if not self._done:
            get_logger().info("nothing was followed before, all links are read")
            await self._begin_clearing()
            return
        try:
            await self._feed.open(self._done)
        except HistoryLostError as error:
            await self._lose_history(error)

    async def loop(self) -> bool:
        """Announces what has changed, looks back, keeps the token; True when more may be waiting."""
        if self._second_pass_s is not None and self._monotonic() >= self._second_pass_s:
            self._clearing = self._clearing or self._cache.clear()
        if self._clearing is not None:
            await self._clear_step(self._clearing)
            return True
        keys: list[str] = []
        try:
            if self._pending < PENDING_MAX:
                keys = await self._feed.next_batch(self._patience_s())
            else:
                await asyncio.sleep(self._patience_s())
        except HistoryLostError as error:
            await self._lose_history(error)
            return True
        if keys:
            with traced("announce", {"boltlink.keys": len(keys)}):
                pairs = await self._announce(keys)
            self._batches.append(_Batch(self._monotonic(), pairs, self._feed.token))
            self._pending += len(keys)
        elif not self._batches:
            self._note_done(self._feed.token)
        if self._monotonic() - self._tended_s >= TEND_S:
            await self._tend()
        return True  # the wait for a change is the pause

    async def drain(self) -> None:
        """Ends the stream; what was not looked back at is announced again by the next one."""
        await self._feed.close()

    def _patience_s(self) -> float:
        return min(TEND_S, max(0.0, self._tended_s + TEND_S - self._monotonic()))

    async def _announce(self, keys: Sequence[str]) -> list[tuple[str, int]]:
        found = await self._links.find_many(keys)
        items: list[tuple[str, Cached]] = [(key, link.cached()) for key, link in found.items()]
        if items:
            await self._cache.announce(items)
        gone = [key for key in keys if key not in found]
        if gone:
            await self._cache.drop(gone)
        self.counts.announced += len(keys)
        return [(key, cached.version) for key, cached in items] + [(key, 0) for key in gone]

    async def _tend(self) -> None:
        """Marks, looks back and keeps; reopens when Redis lost some of what it had."""
        self._tended_s = self._monotonic()
        await self._cache.look()
        self._marks += 1
        mark = f"{self._done or ''} {self._lease.epoch} {self._marks}"
        if not await self._cache.mark_announced(self._noted, mark):
            get_logger().warning("Redis forgot something, changes are announced again")
            await self.open()
            return
        self._noted = [mark] * len(self._noted)
        while self._batches and self._tended_s - self._batches[0].put_s >= LOOK_BACK_S:
            batch = self._batches[0]
            await self._look_back(batch)
            self._batches.popleft()
            self._pending -= len(batch.pairs)
            self._note_done(batch.token)
        if self._done is not None and self._done != self._lease.kept.get("token"):
            await self._lease.renew({"token": self._done})

    def _note_done(self, token: str | None) -> None:
        if self._second_pass_s is None:
            self._done = token

    async def _look_back(self, batch: _Batch) -> None:
        held = await self._cache.versions([key for key, _ in batch.pairs])
        older = [key for (key, version), now in zip(batch.pairs, held, strict=True) if is_older(now, version)]
        if older:
            self.counts.mended += len(older)
            await self._announce(older)

    async def _lose_history(self, reason: HistoryLostError) -> None:
        get_logger().warning("changes cannot be followed, all links are read again", reason=reason_of(reason))
        await self._begin_clearing()

    async def _begin_clearing(self) -> None:
        """Opens the stream from now on first, so that what changes while everything is forgotten is announced."""
        self._batches.clear()
        self._pending = 0
        self._done = None
        await self._feed.open(None)
        self._clear(tell=True)

    def _clear(self, *, tell: bool) -> None:
        self._clearing, self._second_pass_s, self._tells = self._cache.clear(), None, tell

    async def _clear_step(self, clearing: AsyncIterator[None]) -> None:
        """A second pass follows, for what readers that were under way during the first one put back after it."""
        async for _ in clearing:
            return
        self._clearing = None
        if self._tells:
            await self._cache.announce_all()
        if self._second_pass_s is None:
            self._second_pass_s = self._monotonic() + LOOK_BACK_S
        else:
            self._second_pass_s = None
            self.counts.cleared += 1


def token_of(mark: str) -> str:
    """The token that a mark begins with; "" when none was known, which is a point that is lost."""
    return mark.partition(" ")[0]


def is_older(held: int | None, version: int) -> bool:
    """Whether Redis holds something older than `version`; of a document that is gone (0), anything but an absence."""
    return held is not None and (held < version or (version == 0 and held > 0))


async def main(settings: Settings, name: str, stop: asyncio.Event) -> None:
    """Works or stands by until stopped."""
    refuse_second(settings.state_dir, name)
    metrics = Metrics(name, run_dir(settings) / "metrics")
    database = open_mongodb(mongodb_url(settings))
    client = open_redis(redis_url(settings))
    holder = f"{node_id(settings.state_dir)}/{name}"
    lease = Lease(database, "announcer", holder=holder, monotonic=time.monotonic)
    announcer = Announcer(
        lease=lease,
        feed=ChangeFeed(database),
        links=LinkStore(database),
        cache=LinkCache(client),
        monotonic=time.monotonic,
    )
    get_logger().info("started", holder=holder)
    publishing = [
        asyncio.create_task(_publish(announcer, lease, metrics)),
        asyncio.create_task(_publish_members(database, client, metrics)),
    ]
    try:
        await wait_for_data(database, stop)
        await work_by_lease(lease, announcer, stop, pause_s=0.0)
    finally:
        for task in publishing:
            task.cancel()
        await client.aclose()
        await database.client.close()


async def _publish(announcer: Announcer, lease: Lease, metrics: Metrics) -> None:
    while True:
        metrics.set("announcer_active", float(lease.is_held))
        metrics.count_to("announced", announcer.counts.announced)
        metrics.count_to("mended", announcer.counts.mended)
        metrics.count_told()
        metrics.count_to("cleared", announcer.counts.cleared)
        await asyncio.sleep(PUBLISH_S)


async def _publish_members(database: Database, client: RedisClient, metrics: Metrics) -> None:
    """What only one program of a node needs to ask; while a store is away, its last word stands."""
    while True:
        with contextlib.suppress(PyMongoError, RedisError, OSError):
            for store, members in (await count_members(database, client)).items():
                metrics.set("store_members", float(members.known), store)
                metrics.set("store_members_up", float(members.up), store)
        await asyncio.sleep(MEMBERS_S)


if __name__ == "__main__":
    sys.exit(run_program("announcer", main))
