"""Finds what L1 does not know: Redis, then MongoDB; what no store can say now is answered from stale entries.

In: keys that missed, from slots. Out: entries put into the table, and one call back for each waiter, never at once.
One flight for each key; the keys missed within one turn of the loop go to Redis in one pipeline and, those missing
there, to MongoDB in one `$in`; while a store answers, further keys gather for the next question (`batches`). Each store
has a time limit and a breaker. While what Redis says may be old (`Channel`) MongoDB is asked first, and Redis only when
MongoDB does not answer.

A version that was read or announced is remembered; announced again, it changes nothing. A new one marks its key's
flight if there is one: what a read brings is kept only if its version is at least the announced one, else it is read
again, from MongoDB. So a read never puts back an older version, be it one that was under way or one from a store that
lost what it had. A link that was known is read again at once, so that the next request finds it.
"Not found" is said only when a store said so: with no answer it is stale, or 503.
May import: links, stores, observe.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from app.links import Cached, LinkCache, LinkStore
from app.observe import OFF, Span
from app.redirect.batches import Batches
from app.redirect.rules import entry_of
from app.redirect.table import Entry, Special, Table
from app.stores import Breaker

__all__ = ["Resolver", "ResolverCounts", "key_name", "table_key"]

STORE_LIMIT_S = 0.25
FILLS_MAX = 8  # under way at once: a quarter second of Redis at its limit
FLIGHTS_MAX = 20_000  # then a new key is answered 503 at once
NEWS_MAX = 20_000  # announced versions remembered, the newest: 4 MB
READ_AGAIN_MAX = 3  # a key that changes faster than it can be read is answered, but not kept

Answer = Entry | int
Callback = Callable[[Answer], None]
Q = TypeVar("Q")
T = TypeVar("T")
_ABSENT = Cached(0)


@dataclass(slots=True)
class ResolverCounts:
    """Plain ints since the process's start; `asked` and `stale` of requests, all others also of what is read again."""

    asked: int = 0
    redis_hits: int = 0
    redis_misses: int = 0
    mongodb_hits: int = 0
    mongodb_misses: int = 0
    store_failures: int = 0
    stale: int = 0


class _Flight:
    """A key that is looked up: who waits, and what a read must bring to be kept."""

    __slots__ = ("has_redis_left", "is_doubted", "reads_left", "span", "version_min", "waiters")

    def __init__(self, version_min: int, span: Span, *, has_redis_left: bool) -> None:
        self.has_redis_left = has_redis_left  # to be asked when MongoDB does not answer
        self.span = span  # of who asked first
        self.waiters: list[Callback] = []
        self.version_min = version_min
        self.is_doubted = False
        self.reads_left = READ_AGAIN_MAX

    def is_outdated(self, version: int) -> bool:
        """Whether a read that brought `version` must be made again; -1, nobody could say, is left as it is."""
        return version >= 0 and (version < self.version_min or self.is_doubted)


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
        self._from_redis = Batches(self._read_redis)
        self._from_mongodb = Batches(self._read_mongodb)
        self._traced = 0  # flights of which somebody wants to know
        self._fills: set[asyncio.Task[Any]] = set()
        #: When the channel last vouched for all entries (Unix seconds); set by `Channel`.
        self.vouched_s = 0.0
        #: Whether what Redis says may be old; set by `Channel`.
        self.is_redis_doubted = False

    def resolve(self, key: bytes, callback: Callback, span: Span = OFF) -> None:
        """Calls back, in a later turn of the loop, with an entry, 404 or 503; questions to stores are in `span`."""
        self.counts.asked += 1
        flight = self._flights.get(key)
        if flight is None:
            if len(self._flights) >= FLIGHTS_MAX:
                asyncio.get_running_loop().call_soon(callback, HTTPStatus.SERVICE_UNAVAILABLE)
                return
            flight = self._start(key, span)
        elif span is not OFF:
            span.set("boltlink.waits_for_another", True)
        flight.waiters.append(callback)

    def refresh(self, keys: Sequence[bytes]) -> None:
        """Reads keys again in the background, as far as there is room beside what is waited for."""
        for key in keys:
            if len(self._flights) >= FLIGHTS_MAX // 2:
                return
            if key not in self._flights:
                self._start(key)

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
        """Waits for what is under way; each step is bounded by the stores' time limits."""
        await self._from_redis.close()
        await self._from_mongodb.close()
        if self._fills:
            await asyncio.wait(self._fills)

    def _start(self, key: bytes, span: Span = OFF) -> _Flight:
        doubted = self.is_redis_doubted
        flight = self._flights[key] = _Flight(self._news.get(key, 0), span, has_redis_left=doubted)
        self._traced += span.is_on
        (self._from_mongodb if doubted else self._from_redis).add(key)
        return flight

    def _note(self, key: bytes, version: int) -> None:
        self._news.pop(key, None)
        if version:
            self._news[key] = version
            if len(self._news) > NEWS_MAX:
                self._news.popitem(last=False)

    async def _read_redis(self, keys: list[bytes]) -> None:
        """One pipeline; what Redis does not hold, or holds outdated, MongoDB is asked for."""
        names = [key_name(key) for key in keys]
        spans = self._begin_parts("redis", keys)
        found = await self._ask(self.redis_breaker, self._cache.get_many, names)
        _end_all(spans, found)
        now_s = self._wall()
        misses = 0
        for key, value in zip(keys, found or [None] * len(keys), strict=True):
            if value is None:
                misses += 1
                self._from_mongodb.add(key)
            elif self._flights[key].is_outdated(value.version):
                self._read_again(key)
            else:
                self._land(key, value, now_s)
        self.counts.redis_hits += len(keys) - misses
        self.counts.redis_misses += misses

    async def _read_mongodb(self, keys: list[bytes]) -> None:
        """One `$in`; what it says is put into Redis when everyone has their answer."""
        names = [key_name(key) for key in keys]
        spans = self._begin_parts("mongodb", keys)
        found = await self._ask(self.mongodb_breaker, self._links.find_many, names)
        _end_all(spans, found)
        now_s = self._wall()
        if found is None:
            self._do_without_mongodb(keys, now_s)
            return
        fill: list[tuple[str, Cached]] = []
        for key, name in zip(keys, names, strict=True):
            stored = found.get(name)
            value = _ABSENT if stored is None else stored.cached()
            fill.append((name, value))
            if self._flights[key].is_outdated(value.version) and self._flights[key].reads_left:
                self._read_again(key)
            else:
                self._land(key, value, now_s, is_kept=not self._flights[key].is_outdated(value.version))
        self.counts.mongodb_hits += len(found)
        self.counts.mongodb_misses += len(keys) - len(found)
        self._fill(fill)

    def _do_without_mongodb(self, keys: Sequence[bytes], now_s: float) -> None:
        for key in keys:
            flight = self._flights[key]
            if flight.has_redis_left:
                flight.has_redis_left = False
                self._from_redis.add(key)
            else:
                self._end(key, self._stale(key, now_s))

    def _begin_parts(self, store: str, keys: Sequence[bytes]) -> Sequence[Span]:
        """The same question once for each trace that it is a part of."""
        if not self._traced:
            return ()
        name = f"{store} look-up"
        about: dict[str, str | int] = {"db.system.name": store, "db.operation.batch.size": len(keys)}
        spans = (self._flights[key].span for key in keys)
        return [span.part(name, about, is_question=True) for span in spans if span.is_on]

    def _read_again(self, key: bytes) -> None:
        flight = self._flights[key]
        flight.is_doubted = False
        flight.reads_left -= 1
        self._from_mongodb.add(key)

    def _land(self, key: bytes, value: Cached, now_s: float, *, is_kept: bool = True) -> None:
        """Ends a flight with what a store said; of what is kept the version is remembered, should it be announced."""
        answer: Answer
        if is_kept and value.version > 0:
            self._note(key, value.version)
        if (link := value.entry) is None:
            answer = HTTPStatus.NOT_FOUND
            if is_kept:
                self._table.put_absent(key, now_s)
        else:
            answer = entry_of(link, now_s)
            if is_kept:
                self._table.put(key, answer)
        self._end(key, answer)

    def _end(self, key: bytes, answer: Answer) -> None:
        """Tells everyone who waited."""
        flight = self._flights.pop(key)
        self._traced -= flight.span.is_on
        for callback in flight.waiters:
            try:
                callback(answer)
            except Exception as error:  # the others must not wait for ever
                _report("an answer that was waited for failed", error)

    def _fill(self, items: list[tuple[str, Cached]]) -> None:
        """Puts what MongoDB said into Redis, in the background and at once, so that read and put take half a second.

        What finds no room is not put: the next process that looks it up asks MongoDB.
        """
        if len(self._fills) < FILLS_MAX:
            put = self._ask(self.redis_breaker, self._cache.put_many, items)
            task = asyncio.get_running_loop().create_task(put)
            self._fills.add(task)
            task.add_done_callback(self._fills.discard)

    def _stale(self, key: bytes, now_s: float) -> Answer:
        entry = self._table.find(key) or self._table.find_stale(key)
        if entry is None:
            return HTTPStatus.SERVICE_UNAVAILABLE
        read_s = entry.read_s if isinstance(entry, Special) else int.from_bytes(entry[8:12], "big")
        # The channel vouched for every entry until it fell silent, whenever the entry was read.
        if now_s - max(read_s, self.vouched_s) > self._stale_max_s:
            return HTTPStatus.SERVICE_UNAVAILABLE
        self.counts.stale += len(self._flights[key].waiters)
        self._table.lend_stale(key, entry)
        return entry

    async def _ask(self, breaker: Breaker, call: Callable[[Q], Awaitable[T]], question: Q) -> T | None:
        """The call's result, or None when the breaker forbids it, it fails or takes too long."""
        if not breaker.admits():
            return None
        try:
            async with asyncio.timeout(self._store_limit_s):
                result = await call(question)
        except (RedisError, PyMongoError, OSError, TimeoutError):
            self.counts.store_failures += 1
            breaker.on_failure()
            return None
        except Exception as error:  # a document that is no link, or our mistake: whoever waits is told
            _report("a look-up failed", error)
            breaker.on_success()  # the store did answer
            return None
        breaker.on_success()
        return result


def _end_all(spans: Sequence[Span], found: object) -> None:
    for span in spans:
        span.end("unanswered" if found is None else None)


def _report(message: str, error: Exception) -> None:
    asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})


def key_name(key: bytes) -> str:
    """A table's key as stores name it: `domain/slug`, where the default domain is empty."""
    return key.decode("ascii") if b"/" in key else "/" + key.decode("ascii")


def table_key(name: str) -> bytes:
    """The reverse of `key_name`."""
    return (name.removeprefix("/")).encode("ascii")
