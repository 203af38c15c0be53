"""What time is asked for, and where its units begin on a clock that people change.

In: two moments, a unit, a zone. Out: the beginnings of all units that the range touches.

    minute         as everywhere
    hour           where the zone's clock shows a full hour, and where it was changed: an hour that comes twice is two
                   units, and so is one that is cut by a change of half an hour
    day            at the zone's midnight, or behind it where a change leaves it out
    week, month    on a day that is a Monday, or the first

Pure. May import: the standard library, msgspec.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

__all__ = ["POINTS_MAX", "UNITS", "Range", "RangeError"]

UNITS = ("minute", "hour", "day", "week", "month")
POINTS_MAX = 5_000  # 250 KB of JSON
DAYS_MAX = 3_660
YEAR_MIN, YEAR_MAX = 1_990, 9_000  # ten years on, and a year of any zone, are still years that Python knows
_STEP_S = {"minute": 60, "hour": 3600, "day": 86_400, "week": 7 * 86_400, "month": 28 * 86_400}
_MINUTE = timedelta(minutes=1)


class RangeError(ValueError):
    """A range that cannot be shown; `field` names the parameter."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


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
        start, end = start.astimezone(UTC), end.astimezone(UTC)
        if start.year < YEAR_MIN:
            raise RangeError("from", f"must not be before {YEAR_MIN}")
        if end.year > YEAR_MAX:
            raise RangeError("to", f"must not be behind {YEAR_MAX}")
        if end <= start:
            raise RangeError("to", "must be later than from")
        if (end - start).days > DAYS_MAX:
            raise RangeError("from", f"must be at most {DAYS_MAX} days before to")
        if (end - start).total_seconds() / _STEP_S[unit] > POINTS_MAX:
            raise RangeError("unit", f"would make more than {POINTS_MAX} points: ask for a coarser one")
        return cls(start=start.astimezone(zone), end=end.astimezone(zone), unit=unit, zone=zone)

    def beginnings(self) -> Iterator[datetime]:
        """Where each unit begins, in the zone; the first may begin before `start`."""
        if self.unit == "minute":
            return self._minutes()
        return self._hours() if self.unit == "hour" else self._calendar()

    def previous(self) -> Range:
        """As long, up to where this one begins: by months, if it is whole months; by days, if whole days."""
        start, end = self.start, self.end
        if all(_is_midnight(moment) and moment.day == 1 for moment in (start, end)):
            before = _midnight(_months_before(start.date(), _months_between(start, end)), self.zone)
        elif _is_midnight(start) and _is_midnight(end):
            before = _midnight(start.date() - (end.date() - start.date()), self.zone)
        else:
            before = start.astimezone(UTC) - (end.astimezone(UTC) - start.astimezone(UTC))
        return Range(start=before.astimezone(self.zone), end=start, unit=self.unit, zone=self.zone)

    def _minutes(self) -> Iterator[datetime]:
        moment = self.start.astimezone(UTC).replace(second=0, microsecond=0)
        while moment < self.end:
            yield moment.astimezone(self.zone)
            moment += _MINUTE

    def _hours(self) -> Iterator[datetime]:
        moment = self._hour_of(self.start)
        while moment < self.end.astimezone(UTC):
            local = moment.astimezone(self.zone)
            yield local
            moment = self._first_change(moment, moment + timedelta(minutes=60 - local.minute))

    def _hour_of(self, start: datetime) -> datetime:
        """The last beginning at or before `start`, in UTC: the full hour, or a change behind it."""
        minute = start.astimezone(UTC).replace(second=0, microsecond=0)
        full = minute - timedelta(minutes=start.minute)
        if full.astimezone(self.zone).utcoffset() == start.utcoffset():
            return full
        return self._first_change(full, minute)

    def _first_change(self, known: datetime, until: datetime) -> datetime:
        """The first minute behind `known` with the zone's offset of `until`, or `until` when nothing changed."""
        offset = known.astimezone(self.zone).utcoffset()
        low, high = 0, (until - known) // _MINUTE
        if until.astimezone(self.zone).utcoffset() == offset:
            return until
        while high - low > 1:
            middle = (low + high) // 2
            if (known + middle * _MINUTE).astimezone(self.zone).utcoffset() == offset:
                low = middle
            else:
                high = middle
        return known + high * _MINUTE

    def _calendar(self) -> Iterator[datetime]:
        day = self.start.date()
        if self.unit == "week":
            day -= timedelta(days=day.weekday())
        elif self.unit == "month":
            day = day.replace(day=1)
        moment, end = _midnight(day, self.zone), self.end.astimezone(UTC)
        while moment < end:
            day = self._following(day)
            following = _midnight(day, self.zone)
            if following > moment:  # not a day that a zone left out
                yield moment.astimezone(self.zone)
            moment = following

    def _following(self, day: date) -> date:
        if self.unit == "month":
            return (day.replace(day=28) + timedelta(days=4)).replace(day=1)
        return day + timedelta(days=7 if self.unit == "week" else 1)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """When a day begins, in UTC; where a change leaves midnight out, it is the moment of the change."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def _is_midnight(moment: datetime) -> bool:
    return moment.astimezone(UTC) == _midnight(moment.date(), _zone_of(moment))


def _zone_of(moment: datetime) -> ZoneInfo:
    assert isinstance(moment.tzinfo, ZoneInfo)
    return moment.tzinfo


def _months_between(start: datetime, end: datetime) -> int:
    return (end.year - start.year) * 12 + end.month - start.month


def _months_before(day: date, months: int) -> date:
    month = day.year * 12 + day.month - 1 - months
    return date(month // 12, month % 12 + 1, 1)
