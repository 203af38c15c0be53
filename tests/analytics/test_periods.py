"""Days, months and quarters are what a calendar says, and what makes a month right in every time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from hypothesis import given
from hypothesis import strategies as st

from app.analytics.bucket import Bucket, bucket_id
from app.analytics.periods import (
    QUARTER_MINUTES,
    day_document,
    day_id,
    day_of,
    days_of,
    first_day,
    key_of,
    link_prefix,
    month_document,
    month_id,
    month_number,
    month_of,
    month_part,
    months_of,
)

dates = st.dates(date(1970, 1, 1), date(2200, 1, 1))
links = st.integers(0, 2**64 - 1)


@given(dates)
def test_month_holds_its_days_and_no_other(moment: date) -> None:
    day = day_of(moment)
    month = month_of(day)
    assert month_number(month) == moment.year * 100 + moment.month
    assert months_of(month_number(month)) == month
    assert first_day(month) <= day < first_day(month + 1)
    assert month_part(day)["minute_offset"] == (moment.day - 1) * 1440


@given(links, links, dates)
def test_documents_lie_in_the_order_of_links_and_days(link: int, other: int, moment: date) -> None:
    day = day_of(moment)
    ids = [bucket_id(link, day, "n-0"), day_id(link, day)]
    assert [key_of(one) for one in ids] == [(link, day)] * 2
    assert days_of(int(day_id(link, day)[17:])) == day
    assert all(link_prefix(link) <= one < link_prefix(link) + "~" for one in [*ids, month_id(link, month_of(day))])
    assert (day_id(link, day) < day_id(other, day)) == (link < other)
    assert day_id(link, day) < day_id(link, day + 1)
    assert month_id(link, month_of(day)) < month_id(link, month_of(day) + 1)


@given(links)
def test_numbers_beside_the_id_are_what_mongodb_can_hold(link: int) -> None:
    day = day_document(link, 20_000, Bucket())
    month = month_document(link, 656, Bucket())
    assert day["link"] == month["link"]
    assert day["link"] % 2**64 == link
    assert -(2**63) <= day["link"] < 2**63
    assert (day["day"], month["month"]) == (20241004, 202409)


def test_quarters_of_an_hour_are_fine_enough_for_every_zone_since_2000() -> None:
    for name in available_timezones():
        zone = ZoneInfo(name)
        moment = datetime(2000, 1, 1, tzinfo=UTC)
        while moment.year < 2040:
            offset = moment.astimezone(zone).utcoffset()
            assert offset is not None
            assert offset % timedelta(minutes=QUARTER_MINUTES) == timedelta(0), (name, moment)
            moment += timedelta(days=61)
