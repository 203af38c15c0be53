"""Ends what is known of one link's visitors, wherever it is: stored, in an aggregator's memory, or still in journals.

In: a link, living or deleted. Out: no document of it, totals of zero, and a note that keeps late clicks out.

    stored       nodes, days, months and totals go in one transaction; whoever writes one of them meanwhile loses a race
    in memory    an aggregator that remembers a bucket finds it gone and begins a new one, at zero
    in journals  waited for first, COUNTED_S at most: until every node has counted what was before the wish. What comes
                 later of a day before the wish is thrown away by rollup, for ever; what comes later of the day itself,
                 from a node that was away just then, is counted

Sums over many links stay: they do not say which link was clicked. May import: links, stores.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from bson.int64 import Int64
from pymongo.asynchronous.client_session import AsyncClientSession

from app.analytics.bucket import day_number, signed
from app.analytics.ledger import CLICKS_NODE
from app.analytics.periods import CLICKS_DAY, CLICKS_MONTH, day_of, days_of, link_prefix
from app.analytics.progress import read_as_of
from app.links import LINKS
from app.stores import Database, LostRaceError, transaction

__all__ = ["ERASURES", "erase", "read_erasures"]

ERASURES = "erasures"
COUNTED_S = 5.0
STEP_S = 0.1
TRIES_MAX = 20  # races with the aggregators of a busy link, each lost in milliseconds


async def erase(database: Database, link: int, *, now_s: Callable[[], float]) -> bool:
    """Erases all statistics of a link; False when a node may still hold clicks from before.

    Raises:
        LostRaceError: others wrote again and again; nothing was erased.
        PyMongoError: MongoDB does not answer.
    """
    wished_s = now_s()
    is_counted = await _wait_until_counted(database, wished_s, now_s)
    for _ in range(TRIES_MAX - 1):
        try:
            await _erase_stored(database, link, datetime.fromtimestamp(wished_s, UTC))
        except LostRaceError:
            await asyncio.sleep(STEP_S)
        else:
            return is_counted
    await _erase_stored(database, link, datetime.fromtimestamp(wished_s, UTC))
    return is_counted


async def read_erasures(database: Database, session: AsyncClientSession, links: Iterable[int]) -> dict[int, int]:
    """The day before which clicks are thrown away, of those of the links that were ever erased."""
    wanted = {"_id": {"$in": [signed(link) for link in links]}}
    return {row["_id"]: days_of(row["day"]) async for row in database[ERASURES].find(wanted, session=session)}


async def _wait_until_counted(database: Database, wished_s: float, now_s: Callable[[], float]) -> bool:
    while True:
        as_of = await read_as_of(database, now_s())
        if as_of is not None and as_of.timestamp() >= wished_s:
            return True
        if now_s() - wished_s >= COUNTED_S:
            return False
        await asyncio.sleep(STEP_S)


async def _erase_stored(database: Database, link: int, wished: datetime) -> None:
    within = {"_id": {"$gte": link_prefix(link), "$lt": link_prefix(link + 1)}}
    async with transaction(database) as session:
        for name in (CLICKS_NODE, CLICKS_DAY, CLICKS_MONTH):
            await database[name].delete_many(within, session=session)
        # `erased` is always another value, so that whoever tells the link its clicks just now meets this write.
        totals = {"counted": 0, "clicks": 0, "erased": Int64(wished.timestamp() * 1000)}
        await database[LINKS].update_one({"link": signed(link)}, {"$set": totals}, session=session)
        note = {"day": day_number(day_of(wished.date())), "at": wished}
        await database[ERASURES].update_one({"_id": signed(link)}, {"$set": note}, upsert=True, session=session)
