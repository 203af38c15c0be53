"""Every moment of a range is read from one place, whatever is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.analytics.periods import DAY_MINUTES, first_day, month_of
from app.analytics.plan import Days, make_plan
from app.analytics.ranges import Range, RangeError
from app.analytics.retention import Horizon
from tests.analytics.clicks import day, minute_of

BEGIN = minute_of("2024-01-01T00:00Z")
NOWHERE = Horizon()
minutes = st.integers(BEGIN, BEGIN + 1_200 * DAY_MINUTES)
horizons = st.integers(BEGIN // DAY_MINUTES - 50, BEGIN // DAY_MINUTES + 1_300).map(lambda at: Horizon(at, 0))


def range_of(start: int, end: int, unit: str = "day") -> Range:
    """From a minute since 1970 to another."""
    first, last = (datetime.fromtimestamp(minute * 60, UTC) for minute in (start, end))
    return Range.make(first, last, unit, ZoneInfo("UTC"))


@given(minutes, st.integers(1, 900 * DAY_MINUTES), horizons, st.booleans())
def test_each_quarter_of_an_hour_is_read_once(start: int, length: int, horizon: Horizon, is_odd: bool) -> None:
    start, end = start - start % 15, start + length + 15 - (start + length) % 15
    end += 7 if is_odd else 0
    if is_odd and end // DAY_MINUTES < horizon.day:
        with pytest.raises(RangeError) as caught:
            make_plan(range_of(start, end), horizon)
        assert caught.value.field == "to"
        return
    plan = make_plan(range_of(start, end), horizon)
    assert (plan.start, plan.end) == (start, end)
    places = [*range(start, end, 997 * 15), end - 1, *(end - end % 15 - 1, horizon.day * DAY_MINUTES)]
    for minute in places:
        if not start <= minute < end:
            continue
        at = minute // DAY_MINUTES
        in_month = (
            plan.months is not None
            and plan.months[0] <= month_of(at) <= plan.months[1]
            and minute - minute % 15 < plan.quarters_end
        )
        in_days = sum(first <= at <= last for first, last, _ in plan.days)
        assert in_month + in_days == 1, minute
        assert plan.first <= at <= plan.last
        assert in_month or at >= horizon.day


@given(minutes, st.integers(1, 900 * DAY_MINUTES), horizons)
def test_breakdowns_cover_what_the_plan_says_once(start: int, length: int, horizon: Horizon) -> None:
    try:
        plan = make_plan(range_of(start, start + length), horizon)
    except RangeError:
        return
    covered = [at for first, last, is_series_only in plan.days if not is_series_only for at in range(first, last + 1)]
    if plan.months is not None:
        covered += range(first_day(plan.months[0]), first_day(plan.months[1] + 1))
    assert sorted(covered) == list(range(plan.first, plan.last + 1))
    assert sum(not one.is_series_only for one in plan.days) <= 2
    assert len(covered) - (0 if plan.months is None else 28) <= length // DAY_MINUTES + 63


@given(minutes, st.integers(1, 900 * DAY_MINUTES))
def test_at_most_61_days_are_read(start: int, length: int) -> None:
    plan = make_plan(range_of(start, start + length), NOWHERE)
    assert sum(last - first + 1 for first, last, _ in plan.days) <= 61


def test_year_is_read_from_its_months() -> None:
    plan = make_plan(range_of(minute_of("2025-11-10T00:00Z"), minute_of("2026-11-10T00:00Z")), NOWHERE)
    assert plan.months == (month_of(day("2025-12-01")), month_of(day("2026-10-01")))
    assert plan.days == [Days(day("2025-11-10"), day("2025-11-30")), Days(day("2026-11-01"), day("2026-11-09"))]
    assert (plan.first, plan.last) == (day("2025-11-10"), day("2026-11-09"))


def test_part_of_a_month_whose_days_are_gone_widens_breakdowns_to_the_month() -> None:
    horizon = Horizon(day("2026-03-10"), 0)
    plan = make_plan(range_of(minute_of("2026-03-05T10:15Z"), minute_of("2026-03-20T00:01Z")), horizon)
    assert (plan.first, plan.last) == (day("2026-03-01"), day("2026-03-31"))
    assert plan.days == [Days(day("2026-03-20"), day("2026-03-20"), is_series_only=True)]
    assert plan.quarters_end == minute_of("2026-03-20T00:00Z")


@pytest.mark.parametrize(
    ("start", "end", "unit", "field", "said"),
    [
        ("2026-03-05T10:00Z", "2026-03-05T11:00Z", "minute", "unit", "2026-03-10"),
        ("2026-03-05T10:07Z", "2026-03-20T00:00Z", "day", "from", "2026-03-10"),
        ("2026-03-05T10:00Z", "2026-03-06T00:01Z", "hour", "to", "2026-03-10"),
        ("2025-11-30T23:59Z", "2026-03-06T00:00Z", "day", "from", "2025-12-01"),
    ],
)
def test_what_is_not_kept_is_refused_with_the_oldest_date(
    start: str, end: str, unit: str, field: str, said: str
) -> None:
    horizon = Horizon(day("2026-03-10"), month_of(day("2025-12-01")))
    with pytest.raises(RangeError) as caught:
        make_plan(range_of(minute_of(start), minute_of(end), unit), horizon)
    assert caught.value.field == field
    assert said in str(caught.value)


def test_seconds_are_rounded_up_as_minutes_count_from_their_beginning() -> None:
    start = datetime(2026, 3, 5, 23, 59, 30, tzinfo=UTC)
    plan = make_plan(Range.make(start, start + timedelta(hours=1), "minute", ZoneInfo("UTC")), NOWHERE)
    assert (plan.start, plan.end) == (minute_of("2026-03-06T00:00Z"), minute_of("2026-03-06T01:00Z"))
    assert plan.days == [Days(day("2026-03-05"), day("2026-03-06"))]
