"""Runs what a decision must find out first, and brings back what became known.

In: an `Errand`, the entry and the request that it is for. Out: one call back with `Known`, in a later turn of the loop.
May import: the rooms of its parts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.redirect.password import PasswordDesk
from app.redirect.resolver import key_name
from app.redirect.rules import Errand, Known, PasswordWord, Request, VisitWord, spent
from app.redirect.table import Special, Table
from app.redirect.visitor import Visitors
from app.redirect.visits import Visits

__all__ = ["Specials"]

_NOTHING_GRANTED = Known(visit=VisitWord.UNKNOWN, password=PasswordWord.BUSY)


class Specials:
    """What one process needs for links that need a decision; runs as many errands as slots wait for."""

    def __init__(self, *, table: Table, visitors: Visitors, visits: Visits, passwords: PasswordDesk) -> None:
        self.visitors = visitors
        self.visits = visits
        self._table = table
        self._passwords = passwords
        self._tasks: set[asyncio.Task[Known]] = set()

    def run(
        self, errand: Errand, entry: Special, request: Request, known: Known, on_known: Callable[[Known], None]
    ) -> None:
        """Calls back with `known` and what the errand found out; never at once."""

        def on_done(task: asyncio.Task[Known]) -> None:
            self._tasks.discard(task)
            failure = None if task.cancelled() else task.exception()
            if failure is not None:
                task.get_loop().call_exception_handler({"message": "an errand failed", "exception": failure})
            # Whoever waits is told in any case; nothing was granted.
            on_known(task.result() if not task.cancelled() and failure is None else _NOTHING_GRANTED)

        task = asyncio.get_running_loop().create_task(self._run(errand, entry, request, known))
        self._tasks.add(task)
        task.add_done_callback(on_done)

    async def close(self) -> None:
        """Waits for those under way; each is bounded by a store's limit, or by the queue for bcrypt."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _run(self, errand: Errand, entry: Special, request: Request, known: Known) -> Known:
        if errand is Errand.CHECK_PASSWORD:
            word, wait_s = await self._passwords.judge(entry.link_id, entry.link.password, request)
            return known._replace(password=word, wait_s=wait_s)
        if errand is Errand.LOAD_READER:
            await asyncio.to_thread(self.visitors.load)  # 60 ms, of which the loop sees slices
            return known
        ask = self.visits.spend if errand is Errand.SPEND_VISIT else self.visits.look
        visit = await ask(key_name(request.key), entry.link.link)
        # Said of this entry, so noted only while it is the one that is known: a change brings another.
        if visit is VisitWord.SPENT and self._table.find(request.key) is entry:
            self._table.put(request.key, spent(entry))
        return known._replace(visit=visit)
