"""Finds what L1 does not know: Redis, then MongoDB; what no store can say now is answered from stale entries.

In: keys that missed, from slots. Out: entries put into the table, and one call back for each waiter, never at once.
One flight for each key; the keys missed within one turn of the loop go to Redis in one pipeline and, those missing
there, to MongoDB in one `$in`. Each store has a time limit and a breaker.

A change that is announced is remembered, and marks its key's flight if there is one: what a read brings is kept only if
its version is at least the announced one, else it is read again, from MongoDB. So a read never puts back an older
version, neither one that was under way nor one from a store that lost what it had. A link that was known is read again
at once, so that the next request finds it.
"Not found" is said only when a store said so: with no answer it is stale, or 503.
May import: links, stores.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import NamedTuple, TypeVar

from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from app.links import Cached, CachedLink, LinkCache, LinkStore
from app.redirect.rules import entry_of
from app.redirect.table import Entry, Special, Table
from app.stores import Breaker

__all__ = ["Resolver", "ResolverCounts"]

STORE_LIMIT_S = 0.25
BATCH_KEYS_MAX = 512  # one pipeline or `$in`: 6 ms of Redis client time
BATCHES_MAX = 4  # under way at once; further keys wait for one to end
FLIGHTS_MAX = 20_000  # then a new key is answered 503 at once
NEWS_MAX = 20_000  # announced versions remembered, the newest: 4 MB
READ_AGAIN_MAX = 3  # a key that changes faster than it can be read is answered, but not kept

Answer = Entry | int
Callback = Callable[[Answer], None]
T = TypeVar("T")


@dataclass(slots=True)
class ResolverCounts:
    """Plain ints since the process's start."""

    redis_hits: int = 0
    redis_misses: int = 0
    mongodb_hits: int = 0
    mongodb_misses: int = 0
    store_failures: int = 0
    stale: int = 0


@dataclass(slots=True)
class _Flight:
    waiters: list[Callback] = field(default_factory=list)
    version_min: int = 0
    is_doubted: bool = False

    def is_outdated(self, version: int) -> bool:
        """Whether a read that brought `version` must be made again; -1, nobody could say, is left as it is."""
        return version >= 0 and (version < self.version_min or self.is_doubted)


class _Read(NamedTuple):
    """What stores said of one key: a version, and the link or None; `version` -1: nobody could say."""

    version: int
    link: CachedLink | None


_UNKNOWN = _Read(-1, None)


class Resolver:
    """The only reader of stores for redirects. `wall` is Unix time, for entries' second of reading."""

    def __init__(
        self,
        *,
        table: Table,
        cache: LinkCache,
        links: LinkStore,
        redis_breaker: Breaker,
        mongodb_breaker: Breaker,
        stale_max_s: int,
        wall: Callable[[], float],
        store_limit_s: float = STORE_LIMIT_S,
    ) -> None:
        self.counts = ResolverCounts()
        self.redis_breaker = redis_breaker
        self.mongodb_breaker = mongodb_breaker
        self._table = table
        self._cache = cache
        self._links = links
        self._stale_max_s = stale_max_s
        self._wall = wall
        self._store_limit_s = store_limit_s
        self._flights: dict[bytes, _Flight] = {}
        self._news: OrderedDict[bytes, int] = OrderedDict()
        self._waiting: list[bytes] = []
        self._batches: set[asyncio.Task[None]] = set()
        self._is_scheduled = False
        #: When the channel last vouched for all entries (Unix seconds); set by `Channel`.
        self.vouched_s = 0.0

    def resolve(self, key: bytes, callback: Callback) -> None:
        """Calls back, in a later turn of the loop, with an entry, 404 or 503."""
        flight = self._flights.get(key)
        if flight is None:
            if len(self._flights) >= FLIGHTS_MAX:
                asyncio.get_running_loop().call_soon(callback, HTTPStatus.SERVICE_UNAVAILABLE)
                return
            flight = self._start(key)
            self._schedule()
        flight.waiters.append(callback)

    def refresh(self, keys: Sequence[bytes]) -> None:
        """Reads keys again in the background, as far as there is room beside what is waited for."""
        for key in keys:
            if len(self._flights) >= FLIGHTS_MAX // 2:
                return
            if key not in self._flights:
                self._start(key)
        self._schedule()

    def on_change(self, key: bytes, version: int) -> None:
        """A message: `key` has reached `version`; 0: its document is gone. Heard again, it changes nothing."""
        if version and self._news.get(key, 0) >= version:
            return
        self._note(key, version)
        is_known = self._table.forget(key)
        flight = self._flights.get(key)
        if flight is not None:
            flight.version_min = version
            flight.is_doubted = not version
        elif is_known:
            self.refresh([key])

    def on_doubt(self) -> None:
        """A message: any link may have changed. What is under way is read again, from MongoDB."""
        self._news.clear()
        for flight in self._flights.values():
            flight.version_min = 0
            flight.is_doubted = True

    async def close(self) -> None:
        """Waits for the batches under way; each is bounded by the stores' time limits."""
        if self._batches:
            await asyncio.wait(self._batches)

    def _start(self, key: bytes) -> _Flight:
        flight = self._flights[key] = _Flight(version_min=self._news.get(key, 0))
        self._waiting.append(key)
        return flight

    def _note(self, key: bytes, version: int) -> None:
        self._news.pop(key, None)
        if version:
            self._news[key] = version
            if len(self._news) > NEWS_MAX:
                self._news.popitem(last=False)

    def _schedule(self) -> None:
        if not self._is_scheduled and self._waiting and len(self._batches) < BATCHES_MAX:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        self._is_scheduled = False
        keys, self._waiting = self._waiting[:BATCH_KEYS_MAX], self._waiting[BATCH_KEYS_MAX:]
        if keys:
            task = asyncio.get_running_loop().create_task(self._run_batch(keys))
            self._batches.add(task)
            task.add_done_callback(self._on_batch_done)
        self._schedule()

    def _on_batch_done(self, task: asyncio.Task[None]) -> None:
        self._batches.discard(task)
        self._schedule()
        if not task.cancelled() and task.exception() is not None:
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a batch of look-ups failed", "exception": task.exception()}
            )

    async def _run_batch(self, keys: list[bytes]) -> None:
        reads: dict[bytes, _Read] = {}
        try:
            reads = await self._read(keys)
            for _ in range(READ_AGAIN_MAX):
                outdated = [key for key in keys if self._flights[key].is_outdated(reads[key].version)]
                if not outdated:
                    break
                for key in outdated:
                    self._flights[key].is_doubted = False
                reads.update(await self._read_mongodb(outdated))
        finally:
            for key in keys:
                self._land(key, reads.get(key, _UNKNOWN))

    def _land(self, key: bytes, read: _Read) -> None:
        """Ends a flight: keeps what was read, and tells everyone who waited."""
        flight = self._flights.pop(key)
        now_s = self._wall()
        answer: Answer
        if read.version < 0:
            answer = self._stale(key, now_s)
        else:
            is_current = not flight.is_outdated(read.version)
            if read.link is None:
                answer = HTTPStatus.NOT_FOUND
                if is_current:
                    self._table.put_absent(key, now_s)
            else:
                answer = entry_of(read.link, now_s)
                if is_current:
                    self._table.put(key, answer)
        for callback in flight.waiters:
            callback(answer)

    def _stale(self, key: bytes, now_s: float) -> Answer:
        entry = self._table.find(key) or self._table.find_stale(key)
        if entry is None:
            return HTTPStatus.SERVICE_UNAVAILABLE
        read_s = entry.read_s if isinstance(entry, Special) else int.from_bytes(entry[8:12], "big")
        # The channel vouched for every entry until it fell silent, whenever the entry was read.
        if now_s - max(read_s, self.vouched_s) > self._stale_max_s:
            return HTTPStatus.SERVICE_UNAVAILABLE
        self.counts.stale += 1
        self._table.lend_stale(key, entry)
        return entry

    async def _read(self, keys: list[bytes]) -> dict[bytes, _Read]:
        """Redis first, MongoDB for what it does not hold."""
        names = [key_name(key) for key in keys]
        cached = await self._ask(self.redis_breaker, lambda: self._cache.get_many(names))
        reads: dict[bytes, _Read] = {}
        for key, value in zip(keys, cached or [None] * len(keys), strict=True):
            if value is not None:
                reads[key] = _Read(value.version, value.entry)
        self.counts.redis_hits += len(reads)
        missing = [key for key in keys if key not in reads]
        if missing:
            self.counts.redis_misses += len(missing)
            reads.update(await self._read_mongodb(missing))
        return reads

    async def _read_mongodb(self, keys: list[bytes]) -> dict[bytes, _Read]:
        names = [key_name(key) for key in keys]
        links = await self._ask(self.mongodb_breaker, lambda: self._links.find_many(names))
        if links is None:
            return dict.fromkeys(keys, _UNKNOWN)
        reads: dict[bytes, _Read] = {}
        fill: list[tuple[str, Cached]] = []
        for key, name in zip(keys, names, strict=True):
            link = links.get(name)
            if link is None:
                reads[key] = _Read(0, None)
                fill.append((name, Cached(0)))
                self.counts.mongodb_misses += 1
            else:
                value = link.cached()
                reads[key] = _Read(value.version, value.entry)
                fill.append((name, value))
                self.counts.mongodb_hits += 1
        await self._ask(self.redis_breaker, lambda: self._cache.put_many(fill))
        return reads

    async def _ask(self, breaker: Breaker, call: Callable[[], Awaitable[T]]) -> T | None:
        """The call's result, or None when the breaker forbids it, it fails or takes too long."""
        if not breaker.admits():
            return None
        try:
            async with asyncio.timeout(self._store_limit_s):
                result = await call()
        except (RedisError, PyMongoError, OSError, TimeoutError):
            self.counts.store_failures += 1
            breaker.on_failure()
            return None
        breaker.on_success()
        return result


def key_name(key: bytes) -> str:
    """A table's key as stores name it: `domain/slug`, where the default domain is empty."""
    text = key.decode("ascii")
    return text if "/" in text else "/" + text


def table_key(name: str) -> bytes:
    """The reverse of `key_name`."""
    return (name.removeprefix("/")).encode("ascii")
