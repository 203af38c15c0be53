"""A year of clicks as rollup leaves it, made without clicks: of one busy link, of all links, of many small ones.

In: how long and how many. Out: `clicks_day`, `clicks_month` and what is not moved yet of today, by the program's own
buckets. Every minute of the busy link has clicks, every dimension is as full as it gets, and every sketch: no real link
has larger documents. May import: the program's analytics and stores.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bson.int64 import Int64

from app.analytics import ALL, CLICKS_NODE, CLICKS_SUM, Bucket, scope_id
from app.analytics.bucket import KEY_BYTES, KEYS_MAX
from app.analytics.periods import (
    CLICKS_DAY,
    CLICKS_MONTH,
    DAY_MINUTES,
    day_document,
    first_day,
    month_document,
    month_of,
    month_part,
)
from app.analytics.visitors import add_visitors
from app.stores import Database

__all__ = ["TAG", "fill_small", "fill_year"]

TAG = "busy"
VISITORS = 5_000  # of a day: more fill no further cell of a sketch
UNMOVED_SUMS = 40  # of each scope: ten seconds of two aggregators' batches
BATCH_CLICKS = 500  # of each of them: all links together are clicked 2,000 times a second
SMALL_DAYS = 10  # of each small link
STEP = 5_000  # documents of one insert
KINDS = {"device": 3, "os": 24, "browser": 60, "language": 60, "bot": 40, "variant": 4}


def busy_bucket(rng: random.Random, minutes: Iterable[int], clicks: int) -> Bucket:
    """A bucket with about so many clicks over these minutes, and all that a bucket can hold."""
    bucket = Bucket()
    wanted = list(minutes)
    each = clicks // len(wanted)
    bucket.minutes = {minute: max(1, each + rng.randint(-each // 2, each // 2)) for minute in wanted}
    bucket.clicks = sum(bucket.minutes.values())
    bucket.bots = bucket.clicks // 10
    bucket.dims = {name: keys_of(rng, name, bucket.clicks) for name in KEY_BYTES if name != "slug"}
    bucket.visitors = add_visitors(b"", (rng.getrandbits(63) for _ in range(VISITORS)))
    return bucket


def keys_of(rng: random.Random, name: str, clicks: int) -> dict[str, int]:
    """The counts of a dimension, some keys large and most small, as they are."""
    count = KINDS.get(name, KEYS_MAX)
    weights = [1 / (rank + 1) for rank in range(count)]
    whole = sum(weights)
    width = min(KEY_BYTES[name], 20)
    return {
        f"{name}-{rank}"[-width:].rjust(min(width, 12), "x"): max(1, int(clicks * weight / whole)) + rng.randint(0, 9)
        for rank, weight in enumerate(weights)
    }


async def fill_year(database: Database, link: int, *, today: int, days: int, clicks: int) -> int:
    """The year up to today of a link and of the scopes that it is in; returns how many clicks the link has."""
    rng = random.Random(1)
    buckets = {day: busy_bucket(rng, range(DAY_MINUTES), clicks // days) for day in range(today - days + 1, today + 1)}
    for subject in (link, ALL, scope_id("tag", TAG)):
        await _store(database, CLICKS_DAY, (day_document(subject, day, buckets[day]) for day in buckets if day < today))
        await _store(database, CLICKS_MONTH, _months(subject, {day: buckets[day] for day in buckets if day < today}))
        if subject == link:
            await _store(database, CLICKS_NODE, [buckets[today].document((subject, today), "bench-0")])
        else:
            await _store(database, CLICKS_SUM, _sums(rng, subject, today))
    return sum(bucket.clicks for bucket in buckets.values())


def _months(subject: int, buckets: Mapping[int, Bucket]) -> Iterator[dict[str, Any]]:
    for month in sorted({month_of(day) for day in buckets}):
        whole = Bucket()
        for day in range(first_day(month), first_day(month + 1)):
            if day in buckets:
                whole.unite(buckets[day], **month_part(day))
        yield month_document(subject, month, whole)


def _sums(rng: random.Random, subject: int, today: int) -> Iterator[dict[str, Any]]:
    """What batches of half a second add: the last minutes, and what their clicks say."""
    every = {name: keys_of(rng, name, BATCH_CLICKS) for name in KEY_BYTES if name not in ("slug", "variant")}
    for number in range(UNMOVED_SUMS):
        bucket = Bucket()
        bucket.minutes = {DAY_MINUTES - 2: BATCH_CLICKS // 2, DAY_MINUTES - 1: BATCH_CLICKS - BATCH_CLICKS // 2}
        bucket.clicks = BATCH_CLICKS
        drawn = {name: rng.choices(list(keys), list(keys.values()), k=BATCH_CLICKS) for name, keys in every.items()}
        bucket.dims = {name: dict(Counter(keys)) for name, keys in drawn.items()}
        bucket.visitors = add_visitors(b"", (rng.getrandbits(63) for _ in range(BATCH_CLICKS)))
        yield bucket.document((subject, today), f"web_0-0-{number:x}")


async def fill_small(database: Database, first: int, links: int, *, today: int) -> int:
    """SMALL_DAYS days, their months and today's bucket of so many links; returns how many documents that makes."""
    rng = random.Random(2)
    few = [_small_bucket(rng) for _ in range(100)]
    kinds = (CLICKS_DAY, CLICKS_MONTH, CLICKS_NODE)
    count = 0
    for begin in range(first, first + links, STEP // SMALL_DAYS):
        documents: dict[str, list[dict[str, Any]]] = {name: [] for name in kinds}
        for link in range(begin, min(begin + STEP // SMALL_DAYS, first + links)):
            days = {today - rng.randrange(1, 365): rng.choice(few) for _ in range(SMALL_DAYS)}
            documents[CLICKS_DAY] += [day_document(link, day, bucket) for day, bucket in days.items()]
            documents[CLICKS_MONTH] += _months(link, days)
            documents[CLICKS_NODE].append(rng.choice(few).document((link, today), "bench-0"))
        for name in kinds:
            await _store(database, name, documents[name])
            count += len(documents[name])
    return count


def _small_bucket(rng: random.Random) -> Bucket:
    bucket = Bucket()
    bucket.minutes = {rng.randrange(DAY_MINUTES): 1 for _ in range(5)}
    bucket.clicks = len(bucket.minutes)
    bucket.dims = {"browser": {"Chrome": bucket.clicks}, "referrer": {"": bucket.clicks}}
    bucket.visitors = add_visitors(b"", (rng.getrandbits(63) for _ in range(bucket.clicks)))
    return bucket


async def _store(database: Database, collection: str, documents: Iterable[Mapping[str, Any]]) -> None:
    rows = [{**document, "link": Int64(document["link"])} for document in documents]
    for begin in range(0, len(rows), STEP):
        await database[collection].insert_many(rows[begin : begin + STEP], ordered=False)
