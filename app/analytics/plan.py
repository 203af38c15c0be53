"""Which documents answer a range: months where whole months are asked, days for the rest, nodes for what is not moved.

In: a range and the horizon of what is kept. Out: a plan, in which each moment of the range lies in one month or one
day. Node documents are added to both, as no click is in two places.

    whole month asked               its month: quarters of an hour suffice for every unit but minutes
    part of a month, days kept      its days
    part of a month, days removed   its month. Minutes are refused then, and what does not begin or end with a quarter

The series is exact. Breakdowns, visitors and whatever else has no time within a day cover whole UTC days, or months
where days are not kept any more. The plan says which days those are.
Pure. May import: bucket, periods, ranges, retention.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from app.analytics.bucket import EPOCH
from app.analytics.periods import DAY_MINUTES, QUARTER_MINUTES, first_day, month_of
from app.analytics.ranges import Range, RangeError
from app.analytics.retention import Horizon

__all__ = ["Days", "Plan", "make_plan"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)


class Days(NamedTuple):
    """Days from `first` to `last`; whether only their minutes count, because a month has the rest of them."""

    first: int
    last: int
    is_series_only: bool = False


class Plan(NamedTuple):
    """What to read.

    Attributes:
        start, end: minutes since 1970; what counts begins at `start` or later, and before `end`.
        months: the first and the last month to read; None for none.
        quarters_end: quarters of months count before this minute; `days` have what follows.
        days: up to two stretches.
        first, last: the days that breakdowns cover, and whose node documents are read.
    """

    start: int
    end: int
    months: tuple[int, int] | None
    quarters_end: int
    days: list[Days]
    first: int
    last: int


def make_plan(wanted: Range, horizon: Horizon) -> Plan:
    """Raises RangeError for what is not kept any more."""
    start, end = -((_EPOCH - wanted.start) // _MINUTE), -((_EPOCH - wanted.end) // _MINUTE)  # rounded up
    first = (wanted.start - _EPOCH).days
    last = (wanted.end - _EPOCH - timedelta(microseconds=1)).days
    if month_of(first) < horizon.month:
        raise RangeError(
            "from", f"must not be before {_date(first_day(horizon.month))}, since when statistics are kept"
        )
    if wanted.unit == "minute" and first < horizon.day:
        raise RangeError("unit", f"minutes are kept since {_date(horizon.day)}: ask for hours or a later time")
    months = [
        month
        for month in range(month_of(first), month_of(last) + 1)
        if (start <= first_day(month) * DAY_MINUTES and first_day(month + 1) * DAY_MINUTES <= end)
        or max(first, first_day(month)) < horizon.day
    ]
    if not months:
        return Plan(start, end, None, end, [Days(first, last)], first, last)
    begin, behind = first_day(months[0]), first_day(months[-1] + 1)
    days = [Days(first, begin - 1)] if first < begin else []
    days += [Days(behind, last)] if behind <= last else []
    quarters_end = end
    if start > begin * DAY_MINUTES and start % QUARTER_MINUTES:
        raise _between_quarters("from", horizon)
    if end < behind * DAY_MINUTES and end % QUARTER_MINUTES:
        if last < horizon.day:
            raise _between_quarters("to", horizon)
        days.append(Days(last, last, is_series_only=True))
        quarters_end = last * DAY_MINUTES
    return Plan(start, end, (months[0], months[-1]), quarters_end, days, min(first, begin), max(last, behind - 1))


def _between_quarters(field: str, horizon: Horizon) -> RangeError:
    kept = f"minutes are kept since {_date(horizon.day)}"
    return RangeError(field, f"must be a multiple of {QUARTER_MINUTES} minutes: {kept}")


def _date(day: int) -> str:
    return (EPOCH + timedelta(days=day)).isoformat()
