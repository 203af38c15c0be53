"""The field `clicks` of links: what lists show and sort by.

    counted   clicks that were moved into days; exact, written by `app.analytics.moves` alone
    clicks    counted + what the node documents hold, as of the last look

Nothing is counted by it: who wants exact numbers asks for statistics. Looks go round over all node documents, some at a
time, so they cost the same at a thousand links and at ten million; what did not change since the last look is not
written. In: node documents of links. Out: `clicks` of links, with `version` left alone. May import: links, stores.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pymongo import UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession

from app.analytics.bucket import NO_LINK_ID, signed
from app.analytics.ledger import CLICKS_NODE
from app.analytics.periods import key_of, link_prefix
from app.links import LINKS
from app.stores import Database, Lease, Trace, transaction

__all__ = ["LOOKED_AT_MAX", "Totals"]

LOOKED_AT_MAX = 1_000  # node documents of one transaction: 50 ms
TOLD_MAX = 200_000  # links whose number is remembered: 20 MB; then all are told once more
_FIRST = link_prefix(NO_LINK_ID + 1)


class Totals:
    """Tells links their clicks, for whoever holds `lease`."""

    def __init__(self, database: Database, lease: Lease, *, trace: Trace = lambda step: None) -> None:
        self._database = database
        self._lease = lease
        self._trace = trace
        self._from = _FIRST
        self._told: dict[int, int] = {}

    def forget(self, links: Iterable[int]) -> None:
        """Their clicks were moved."""
        for link in links:
            self._told.pop(link, None)

    async def step(self) -> bool:
        """Looks at some documents; True until the round is complete.

        Raises:
            LostRaceError: nothing is known to have happened.
            LeaseLostError: another holds the lease; nothing happened.
        """
        async with transaction(self._database, self._trace) as session:
            rows = await self._look(session)
            links = sums_of(rows)
            is_more = len(rows) >= LOOKED_AT_MAX
            if is_more and len(links) > 1:
                links.popitem()  # the last one may have further documents
            news = {link: clicks for link, clicks in links.items() if self._told.get(link) != clicks}
            if news:
                self._trace("write totals")
                writes = [telling(link, clicks) for link, clicks in news.items()]
                await self._database[LINKS].bulk_write(writes, ordered=False, session=session)
                await self._lease.check_in(session)
        if len(self._told) + len(news) > TOLD_MAX:
            self._told.clear()
        self._told |= news
        self._from = link_prefix(next(reversed(links)) + 1) if is_more else _FIRST
        return is_more

    async def _look(self, session: AsyncClientSession) -> list[Mapping[str, Any]]:
        query = {"_id": {"$gte": self._from}}
        cursor = self._database[CLICKS_NODE].find(query, {"clicks": 1}, session=session)
        return await cursor.sort("_id").limit(LOOKED_AT_MAX).to_list()


def sums_of(rows: Iterable[Mapping[str, Any]]) -> dict[int, int]:
    """Clicks by link, in the order of links."""
    sums: dict[int, int] = {}
    for row in rows:
        link, _ = key_of(row["_id"])
        sums[link] = sums.get(link, 0) + row.get("clicks", 0)
    return sums


def telling(link: int, clicks: int) -> UpdateOne:
    """The write that says how many clicks a link has beside the counted ones."""
    return UpdateOne({"link": signed(link)}, [{"$set": {"clicks": {"$add": [{"$ifNull": ["$counted", 0]}, clicks]}}}])
