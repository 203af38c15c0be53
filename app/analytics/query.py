"""Statistics of a link: the series in any time zone, and breakdowns.

In: a link, a range, a unit, a zone. Out: `LinkStats`. The series is exact, from minutes; breakdowns cover the whole
UTC days that the range touches, and the answer says which. Reads are ranges of `_id`, link first; no query without an
index. May import: stores.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from app.analytics.bucket import EPOCH, Bucket, bucket_id
from app.analytics.ledger import CHECKPOINTS, CLICKS_NODE
from app.stores import Database

__all__ = ["UNITS", "LinkStats", "Range", "RangeError", "link_stats"]

UNITS = ("minute", "hour", "day", "week", "month")
POINTS_MAX = 5_000
DAYS_MAX = 3_660
BREAKDOWN_MAX = 100
_STEP_S = {"minute": 60, "hour": 3600, "day": 86_400, "week": 7 * 86_400, "month": 28 * 86_400}
_FIELDS = {
    "referrers": "referrer",
    "countries": "country",
    "devices": "device",
    "os": "os",
    "browsers": "browser",
    "languages": "language",
    "bot_names": "bot",
    "variants": "variant",
}
DIRECT = "(none)"


class RangeError(ValueError):
    """A range that cannot be shown; `field` names the parameter."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Point(msgspec.Struct, frozen=True):
    """Clicks of one unit; `t` is its beginning in the zone that was asked for."""

    t: datetime
    clicks: int


class Share(msgspec.Struct, frozen=True):
    """Clicks of one key."""

    key: str
    clicks: int


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """From `start` up to, not including, `end`, by `unit` in `zone`. Checked when made by `make`."""

    start: datetime
    end: datetime
    unit: str
    zone: ZoneInfo

    @classmethod
    def make(cls, start: datetime, end: datetime, unit: str, zone: ZoneInfo) -> Range:
        """Raises RangeError for an empty range, or one of too many points."""
        if unit not in UNITS:
            raise RangeError("unit", "must be one of " + ", ".join(UNITS))
        if end <= start:
            raise RangeError("to", "must be later than from")
        if (end - start).days > DAYS_MAX:
            raise RangeError("from", f"must be at most {DAYS_MAX} days before to")
        if (end - start).total_seconds() / _STEP_S[unit] > POINTS_MAX:
            raise RangeError("unit", f"would make more than {POINTS_MAX} points: ask for a coarser one")
        return cls(start=start, end=end, unit=unit, zone=zone)


class LinkStats(msgspec.Struct, kw_only=True):
    """The answer. `clicks` are people's; `as_of` says how far clicks are counted, None when nothing ever was."""

    clicks: int
    bots: int
    heads: int
    previews: int
    prefetches: int
    as_of: datetime | None
    unit: str
    series: list[Point]
    breakdown_from: date
    breakdown_to: date
    referrers: list[Share]
    countries: list[Share]
    devices: list[Share]
    os: list[Share]
    browsers: list[Share]
    languages: list[Share]
    bot_names: list[Share]
    variants: list[Share]


async def link_stats(database: Database, link: int, wanted: Range) -> LinkStats:
    """Statistics of the link with the id `link`."""
    first, last = _utc_days(wanted)
    query = {"_id": {"$gte": bucket_id(link, first, ""), "$lt": bucket_id(link, last + 1, "")}}
    minutes: Counter[int] = Counter()
    tallies: Counter[str] = Counter()
    dims: dict[str, Counter[str]] = {name: Counter() for name in _FIELDS.values()}
    async for document in database[CLICKS_NODE].find(query):
        bucket = Bucket.from_document(document)
        _add_minutes(minutes, document, bucket)
        tallies.update(bots=bucket.bots, heads=bucket.heads, previews=bucket.previews, prefetches=bucket.prefetches)
        for name, keys in bucket.dims.items():
            dims.setdefault(name, Counter()).update(keys)
    series = _series(minutes, wanted)
    breakdowns: dict[str, Any] = {field: _shares(dims[name]) for field, name in _FIELDS.items()}
    return LinkStats(
        clicks=sum(point.clicks for point in series),
        bots=tallies["bots"],
        heads=tallies["heads"],
        previews=tallies["previews"],
        prefetches=tallies["prefetches"],
        as_of=await _as_of(database),
        unit=wanted.unit,
        series=series,
        breakdown_from=EPOCH + timedelta(days=first),
        breakdown_to=EPOCH + timedelta(days=last),
        **breakdowns,
    )


def _utc_days(wanted: Range) -> tuple[int, int]:
    """The first and the last UTC day that a range touches, as days since 1970."""
    first = (wanted.start.astimezone(UTC).date() - EPOCH).days
    last = ((wanted.end - timedelta(microseconds=1)).astimezone(UTC).date() - EPOCH).days
    return first, last


def _add_minutes(minutes: Counter[int], document: Mapping[str, Any], bucket: Bucket) -> None:
    day = document["day"]
    moment = date(day // 10_000, day // 100 % 100, day % 100)
    base = (moment - EPOCH).days * 1_440
    for minute, count in bucket.minutes.items():
        minutes[base + minute] += count


def _series(minutes: Mapping[int, int], wanted: Range) -> list[Point]:
    """Every unit of the range, empty ones too. Units begin where the zone's own clock says so."""
    start_s, end_s = wanted.start.timestamp(), wanted.end.timestamp()
    counts: Counter[float] = Counter()  # by Unix time: two hours that a clock shows alike compare as equal
    for minute, count in minutes.items():
        if start_s <= minute * 60 < end_s:
            moment = datetime.fromtimestamp(minute * 60, wanted.zone)
            counts[_begin(moment, wanted.unit).timestamp()] += count
    moment = _begin(wanted.start.astimezone(wanted.zone), wanted.unit)
    points = []
    while moment.timestamp() < end_s:
        points.append(Point(moment, counts.get(moment.timestamp(), 0)))
        moment = _next(moment, wanted.unit)
    return points


def _begin(moment: datetime, unit: str) -> datetime:
    """The beginning of the unit that a local time lies in; `fold` keeps the two hours of a change apart."""
    if unit == "minute":
        return moment.replace(second=0, microsecond=0)
    if unit == "hour":
        return moment.replace(minute=0, second=0, microsecond=0)
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if unit == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if unit == "month" else day


def _next(moment: datetime, unit: str) -> datetime:
    if unit in ("minute", "hour"):
        later = moment.astimezone(UTC) + timedelta(seconds=_STEP_S[unit])
        return later.astimezone(moment.tzinfo)
    if unit == "month":
        return (moment.replace(day=28) + timedelta(days=4)).replace(day=1)
    return moment + timedelta(days=7 if unit == "week" else 1)


def _shares(keys: Mapping[str, int]) -> list[Share]:
    """The largest first; what is behind BREAKDOWN_MAX counts as `other`."""
    ordered = sorted(keys.items(), key=lambda item: (-item[1], item[0]))
    shares = [Share(key or DIRECT, count) for key, count in ordered[:BREAKDOWN_MAX]]
    rest = sum(count for _, count in ordered[BREAKDOWN_MAX:])
    return [*shares, Share("other", rest)] if rest else shares


async def _as_of(database: Database) -> datetime | None:
    """Up to when all nodes' clicks are counted."""
    rows = database[CHECKPOINTS].find({"as_of": {"$gt": datetime.now(UTC) - timedelta(days=1)}}, {"as_of": 1})
    times = [row["as_of"] async for row in rows]
    return min(times) if times else None
