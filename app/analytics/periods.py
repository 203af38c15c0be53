"""Days, months and quarters of an hour in UTC, and the `_id`s of the documents that hold them.

    clicks_day     "0123456789abcdef-20261124"   link and day; minutes of the day
    clicks_month   "0123456789abcdef-202611"     link and month; quarters of an hour since the month began

Both hold what a bucket holds (`app.analytics.bucket`), with `link` and `day` or `month` as numbers beside it. Quarters
make a month right in any time zone: every offset that a zone has had since 2000 is a multiple of 15 minutes.
Days are counted from 1970-01-01, months from 1970-01. Pure. May import: bucket, pymongo.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from pymongo import ASCENDING, IndexModel

from app.analytics.bucket import EPOCH, Bucket, day_number, signed

__all__ = [
    "CLICKS_DAY",
    "CLICKS_MONTH",
    "DAY_MINUTES",
    "PERIOD_INDEXES",
    "QUARTER_MINUTES",
    "day_document",
    "day_id",
    "day_of",
    "days_of",
    "first_day",
    "is_link",
    "key_of",
    "link_prefix",
    "month_document",
    "month_id",
    "month_number",
    "month_of",
    "month_part",
    "months_of",
]

CLICKS_DAY = "clicks_day"
CLICKS_MONTH = "clicks_month"
#: For removing what is too old; every other read is a range of `_id`.
PERIOD_INDEXES = {
    CLICKS_DAY: [IndexModel([("day", ASCENDING)])],
    CLICKS_MONTH: [IndexModel([("month", ASCENDING)])],
}
DAY_MINUTES = 1_440
QUARTER_MINUTES = 15
_LINK_CHARACTERS = 16
_SIGN = 1 << 63


def day_of(moment: date) -> int:
    """Days since 1970."""
    return (moment - EPOCH).days


def month_of(day: int) -> int:
    """The month that a day lies in."""
    moment = EPOCH + timedelta(days=day)
    return (moment.year - EPOCH.year) * 12 + moment.month - 1


def first_day(month: int) -> int:
    """The day that a month begins with; that of the next month ends it."""
    return day_of(date(EPOCH.year + month // 12, month % 12 + 1, 1))


def month_number(month: int) -> int:
    """A month as a readable number: 202611."""
    return (EPOCH.year + month // 12) * 100 + month % 12 + 1


def days_of(number: int) -> int:
    """The day that a readable number such as 20261124 names."""
    return day_of(date(number // 10_000, number // 100 % 100, number % 100))


def months_of(number: int) -> int:
    """The month that a readable number such as 202611 names."""
    return (number // 100 - EPOCH.year) * 12 + number % 100 - 1


def day_id(link: int, day: int) -> str:
    """The `_id` of a link's day."""
    return f"{link:016x}-{day_number(day)}"


def month_id(link: int, month: int) -> str:
    """The `_id` of a link's month."""
    return f"{link:016x}-{month_number(month)}"


def link_prefix(link: int) -> str:
    """What the `_id`s of a link's documents begin with, and those of every link behind it are not below."""
    return f"{link:016x}"


def key_of(bucket_id: str) -> tuple[int, int]:
    """(link, day) of the `_id` of a bucket or a day."""
    start = _LINK_CHARACTERS + 1
    return int(bucket_id[:_LINK_CHARACTERS], 16), days_of(int(bucket_id[start : start + 8]))


def day_document(link: int, day: int, bucket: Bucket) -> dict[str, Any]:
    """The document of a day to store."""
    return {"_id": day_id(link, day), "link": signed(link), "day": day_number(day), **bucket.fields()}


def month_document(link: int, month: int, bucket: Bucket) -> dict[str, Any]:
    """The document of a month to store."""
    return {"_id": month_id(link, month), "link": signed(link), "month": month_number(month), **bucket.fields()}


def month_part(day: int) -> Mapping[str, int]:
    """How a day's bucket is united into its month's: arguments of `Bucket.unite`."""
    offset = (day - first_day(month_of(day))) * DAY_MINUTES
    return {"minute_offset": offset, "minute_step": QUARTER_MINUTES}


def is_link(link: int) -> bool:
    """Whether an id is a link's, or nobody's; the upper half of all ids are sums of many links."""
    return not link & _SIGN
