"""Links with `max_visits`: each redirect is counted in MongoDB before it is answered.

In: a link and whether a visit shall be spent. Out: a `VisitWord`. One conditional update for each visit, on a majority:
`visits < max` is judged where it is counted, so neither many requests at once, nor other processes, nor a loss of Redis
can make one redirect too many. When MongoDB does not answer in time the visit may have been counted all the same; the
visitor is told to come again, and is never redirected on a guess.
Looking without counting (HEADs, bots) is shared by all who look at the same link at the same time.
May import: links, stores.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from pymongo.errors import PyMongoError

from app.links import LinkStore
from app.redirect.rules import VisitWord
from app.stores import Breaker

__all__ = ["Visits"]

STORE_LIMIT_S = 0.25
WAITING_MAX = 256  # then a visitor is told to come again: 0.1 s of client time
CALLS_MAX = 16  # under way at once: more would be no faster, and a burst would open a hundred connections

_WORDS = {True: VisitWord.GRANTED, False: VisitWord.SPENT, None: VisitWord.UNKNOWN}


class Visits:
    """Visits of one process.

    Attributes:
        spent: visits counted here.
        unknown: times that MongoDB did not say.
    """

    def __init__(self, links: LinkStore, breaker: Breaker, *, limit_s: float = STORE_LIMIT_S) -> None:
        self.spent = 0
        self.unknown = 0
        self._links = links
        self._breaker = breaker
        self._limit_s = limit_s
        self._waiting = 0
        self._calls = asyncio.Semaphore(CALLS_MAX)
        self._looks: dict[tuple[str, int], asyncio.Task[bool | None]] = {}

    async def spend(self, key: str, link: int) -> VisitWord:
        """Counts one visit; GRANTED only when MongoDB said that it was counted."""
        granted = await self._ask(lambda: self._links.spend_visit(key, link))
        self.spent += granted is True
        return _WORDS[granted]

    async def look(self, key: str, link: int) -> VisitWord:
        """Whether a visit is left."""
        task = self._looks.get((key, link))
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(lambda: self._links.has_visits(key, link)))
            self._looks[key, link] = task
            task.add_done_callback(lambda _: self._looks.pop((key, link), None))
        return _WORDS[await asyncio.shield(task)]

    async def _ask(self, call: Callable[[], Awaitable[bool]]) -> bool | None:
        """The call's result, or None when too many wait, the breaker forbids it, it fails or takes too long."""
        if self._waiting >= WAITING_MAX:
            self.unknown += 1
            return None
        self._waiting += 1
        try:
            async with self._calls:
                result = await self._call(call)
        finally:
            self._waiting -= 1
        self.unknown += result is None
        return result

    async def _call(self, call: Callable[[], Awaitable[bool]]) -> bool | None:
        if not self._breaker.admits():
            return None
        try:
            async with asyncio.timeout(self._limit_s):
                result = await call()
        except (PyMongoError, OSError, TimeoutError):
            self._breaker.on_failure()
            return None
        self._breaker.on_success()
        return result
