"""Clicks as an aggregator stores them, and what is stored of them, for the tests of moves and queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

from app.analytics import CLICKS_NODE, Bucket, BucketKey, Delta, Ledger
from app.analytics.periods import CLICKS_DAY, CLICKS_MONTH, DAY_MINUTES, day_of, is_link, key_of
from app.stores import Database, Lease
from tests.conftest import Stores

__all__ = [
    "Clicks",
    "add_clicks",
    "day",
    "delta_of",
    "everything_stored",
    "held_lease",
    "minute_of",
    "stored_clicks",
    "stored_months",
]

#: Clicks by link and minute since 1970.
Clicks = Counter[tuple[int, int]]


def minute_of(text: str) -> int:
    """The minute since 1970 of a time with a zone."""
    return int(datetime.fromisoformat(text).timestamp()) // 60


def day(text: str) -> int:
    """The day since 1970 of a date."""
    return day_of(datetime.fromisoformat(text).replace(tzinfo=UTC).date())


def delta_of(minutes: Iterable[int], *, browser: str = "Firefox") -> Delta:
    """A batch's part: clicks at minutes of a day, each by a visitor of its own."""
    delta = Delta()
    for minute in minutes:
        delta.clicks += 1
        delta.minutes[minute] = delta.minutes.get(minute, 0) + 1
        delta.visitors += (delta.clicks * 7_919 + minute).to_bytes(8, "little")
    delta.dims["browser"] = {browser: delta.clicks}
    delta.bots = 1
    return delta


async def add_clicks(
    database: Database, clicks: Iterable[tuple[int, int]], *, node: str = "n-0", browser: str = "Firefox"
) -> None:
    """Stores clicks (link, minute since 1970) of one node in one batch, of a source of its own."""
    minutes: dict[BucketKey, list[int]] = {}
    for link, minute in clicks:
        minutes.setdefault((link, minute // DAY_MINUTES), []).append(minute % DAY_MINUTES)
    deltas = {key: delta_of(found, browser=browser) for key, found in minutes.items()}
    count = await database["checkpoints"].count_documents({})
    await Ledger(database, node).apply(f"source-{node}-{count}", 0, 1, deltas)


async def held_lease(stores: Stores, holder: str = "a") -> Lease:
    """The lease of rollup, held."""
    lease = Lease(stores.database, "rollup", holder=holder, monotonic=lambda: 0.0)
    assert await lease.acquire()
    return lease


async def stored_clicks(database: Database, *collections: str) -> Clicks:
    """What documents of links hold, of nodes and days unless others are named, by link and minute."""
    found = await everything_stored(database, *(collections or (CLICKS_NODE, CLICKS_DAY)))
    return Counter({key: count for key, count in found.items() if is_link(key[0])})


async def everything_stored(database: Database, *collections: str) -> Clicks:
    """What documents hold, of links and of many links' sums."""
    found: Clicks = Counter()
    for name in collections:
        async for document in database[name].find():
            link, at = key_of(document["_id"])
            for minute, count in Bucket.from_document(document).minutes.items():
                found[link, at * DAY_MINUTES + minute] += count
    return found


async def stored_months(database: Database) -> dict[tuple[int, int], Bucket]:
    """Months of links by link and readable number."""
    rows = database[CLICKS_MONTH].find({"link": {"$gte": 0}})
    return {(row["link"], row["month"]): Bucket.from_document(row) async for row in rows}
