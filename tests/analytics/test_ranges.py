"""Units begin where a zone's own clock says so, whatever people do to clocks: compared with a count of every minute."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.analytics.ranges import Range, RangeError

#: Quarters of an hour, half an hour of summer time, a midnight that is left out, one that comes twice, changes on a
#: Saturday evening, both sides of the date line.
ZONES = (
    *("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Chatham", "Australia/Lord_Howe"),
    *("Africa/Cairo", "America/Havana", "America/Nuuk", "Asia/Beirut", "Africa/Casablanca", "Pacific/Kiritimati"),
    *("America/St_Johns", "Asia/Tehran", "Australia/Eucla", "Pacific/Pago_Pago"),
)
moments = st.integers(
    int(datetime(2021, 1, 1, tzinfo=UTC).timestamp()) // 60, int(datetime(2036, 1, 1, tzinfo=UTC).timestamp()) // 60
).map(lambda minute: datetime.fromtimestamp(minute * 60, UTC))


def label(moment: datetime, unit: str) -> object:
    """What tells the unit of a minute from all others, on the clock of a wall."""
    day = moment.date()
    if unit == "minute":
        return moment.astimezone(UTC)
    if unit == "hour":
        return day, moment.hour, moment.utcoffset()
    if unit == "day":
        return day
    return day - timedelta(days=day.weekday()) if unit == "week" else (day.year, day.month)


def near_change(zone: str, month: int, day: int, hour: int = 0) -> datetime:
    """A moment of 2026 in a zone."""
    return datetime(2026, month, day, hour, tzinfo=ZoneInfo(zone)).astimezone(UTC)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(ZONES), moments, st.integers(1, 4_900), st.sampled_from(["minute", "hour", "day"]))
@example("Australia/Lord_Howe", near_change("Australia/Lord_Howe", 4, 4, 20), 900, "hour")
@example("Australia/Lord_Howe", near_change("Australia/Lord_Howe", 10, 3, 20), 900, "hour")
@example("Europe/Berlin", near_change("Europe/Berlin", 10, 25), 600, "hour")
@example("Africa/Cairo", near_change("Africa/Cairo", 4, 23, 12), 3_000, "day")
@example("America/Havana", near_change("America/Havana", 10, 31, 12), 3_000, "day")
@example("America/Nuuk", near_change("America/Nuuk", 10, 24, 12), 3_000, "hour")
@example("Pacific/Chatham", near_change("Pacific/Chatham", 4, 5), 300, "minute")
def test_units_are_those_of_the_clock_on_the_wall(zone: str, start: datetime, minutes: int, unit: str) -> None:
    check(zone, start, minutes, unit)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ZONES), moments, st.integers(1, 120_000), st.sampled_from(["week", "month"]))
def test_weeks_and_months_are_those_of_the_calendar(zone: str, start: datetime, minutes: int, unit: str) -> None:
    check(zone, start, minutes, unit, step=15)


def check(zone: str, start: datetime, minutes: int, unit: str, step: int = 1) -> None:
    """Every minute lies in the unit that its label names, and each unit of the range is there once."""
    start = start - timedelta(minutes=start.minute % step)
    wanted = Range.make(start, start + timedelta(minutes=minutes), unit, ZoneInfo(zone))
    begins = list(wanted.beginnings())
    instants = [begin.astimezone(UTC) for begin in begins]  # Python compares times of one zone as its wall shows them
    assert instants == sorted(instants)
    assert instants[0] <= start
    assert all(begin.utcoffset() == begin.astimezone(UTC).astimezone(ZoneInfo(zone)).utcoffset() for begin in begins)
    labels = [label(begin, unit) for begin in begins]
    assert len(set(labels)) == len(labels)
    seen: Counter[object] = Counter()
    index = 0
    for number in range(0, minutes, step):
        moment = start + timedelta(minutes=number)
        while index + 1 < len(begins) and instants[index + 1] <= moment:
            index += 1
        assert labels[index] == label(moment.astimezone(ZoneInfo(zone)), unit), moment
        seen[labels[index]] += 1
    assert set(seen) == set(labels)


def test_midnight_that_is_left_out_is_shown_as_the_clock_shows_it() -> None:
    zone = ZoneInfo("Africa/Cairo")
    wanted = Range.make(datetime(2026, 4, 23, tzinfo=zone), datetime(2026, 4, 25, tzinfo=zone), "day", zone)
    assert [begin.isoformat() for begin in wanted.beginnings()] == [
        "2026-04-23T00:00:00+02:00",
        "2026-04-24T01:00:00+03:00",
    ]


def test_day_that_a_zone_left_out_is_no_unit() -> None:
    zone = ZoneInfo("Pacific/Apia")
    wanted = Range.make(datetime(2011, 12, 29, tzinfo=zone), datetime(2012, 1, 1, tzinfo=zone), "day", zone)
    assert [begin.day for begin in wanted.beginnings()] == [29, 31]


@pytest.mark.parametrize(
    ("start", "end", "before"),
    [
        ("2026-03-01T00:00", "2026-04-01T00:00", "2026-02-01T00:00"),
        ("2026-01-01T00:00", "2027-01-01T00:00", "2025-01-01T00:00"),
        ("2026-03-15T00:00", "2026-04-14T00:00", "2026-02-13T00:00"),
        ("2026-03-30T00:00", "2026-03-31T00:00", "2026-03-29T00:00"),
        ("2026-03-29T12:00", "2026-03-30T12:00", "2026-03-28T11:00"),
    ],
)
def test_previous_period_is_as_long_on_the_calendar(start: str, end: str, before: str) -> None:
    zone = ZoneInfo("Europe/Berlin")
    wanted = Range.make(
        datetime.fromisoformat(start).replace(tzinfo=zone),
        datetime.fromisoformat(end).replace(tzinfo=zone),
        "day",
        zone,
    )
    previous = wanted.previous()
    assert previous.start.isoformat()[:16] == before
    assert previous.end == wanted.start
    assert (previous.unit, previous.zone) == ("day", zone)


@pytest.mark.parametrize(
    ("start", "end", "field"), [("0001-01-01", "0002-01-01", "from"), ("9998-01-01", "9999-12-31", "to")]
)
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_time_that_has_no_clicks_is_refused(start: str, end: str, field: str, zone: str) -> None:
    with pytest.raises(RangeError) as caught:
        Range.make(
            datetime.fromisoformat(f"{start}T12:00Z"), datetime.fromisoformat(f"{end}T00:00Z"), "day", ZoneInfo(zone)
        )
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("days", "unit", "field"),
    [(0, "day", "to"), (-1, "day", "to"), (4_000, "month", "from"), (10, "minute", "unit"), (1, "second", "unit")],
)
def test_a_range_that_cannot_be_shown_names_its_field(days: int, unit: str, field: str) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(RangeError) as caught:
        Range.make(start, start + timedelta(days=days), unit, ZoneInfo("Europe/Berlin"))
    assert caught.value.field == field
