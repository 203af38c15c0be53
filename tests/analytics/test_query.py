"""Statistics are exact in any time zone, and every read is bounded."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from app.analytics import Delta, Ledger, LinkStats, Range, RangeError, link_stats
from app.analytics.bucket import EPOCH
from tests.conftest import Stores

LINK = 7
BERLIN = ZoneInfo("Europe/Berlin")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def count(stores: Stores, *clicks: str, node: str = "n-0", link: int = LINK) -> None:
    """Clicks at UTC minutes, as an aggregator stores them."""
    deltas: dict[tuple[int, int], Delta] = {}
    for text in clicks:
        when = moment(text).astimezone(UTC)
        delta = deltas.setdefault((link, (when.date() - EPOCH).days), Delta())
        delta.clicks += 1
        minute = when.hour * 60 + when.minute
        delta.minutes[minute] = delta.minutes.get(minute, 0) + 1
        browsers = delta.dims.setdefault("browser", {})
        browsers["Firefox"] = browsers.get("Firefox", 0) + 1
    await Ledger(stores.database, node).apply(f"source-{node}-{link}-{clicks[0]}", 0, 1, deltas)


async def ask(stores: Stores, start: str, end: str, unit: str, zone: str = "UTC") -> LinkStats:
    wanted = Range.make(moment(start), moment(end), unit, ZoneInfo(zone))
    return await link_stats(stores.database, LINK, wanted)


def busy(stats: LinkStats) -> dict[str, int]:
    return {point.t.isoformat(): point.clicks for point in stats.series if point.clicks}


def test_nodes_are_added_up_and_other_links_are_not(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        await count(stores, "2026-03-01T10:00Z", "2026-03-01T10:01Z")
        await count(stores, "2026-03-01T10:01Z", node="other-0")
        await count(stores, "2026-03-01T10:00Z", link=LINK + 1)
        stats = await ask(stores, "2026-03-01T00:00Z", "2026-03-02T00:00Z", "minute")
        assert busy(stats) == {"2026-03-01T10:00:00+00:00": 1, "2026-03-01T10:01:00+00:00": 2}
        assert (stats.clicks, len(stats.series)) == (3, 1440)
        assert [(share.key, share.clicks) for share in stats.browsers] == [("Firefox", 3)]

    with_stores(scenario)


def test_a_range_ends_before_its_end_and_breakdowns_say_their_days(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        await count(stores, "2026-03-01T09:59Z", "2026-03-01T10:00Z", "2026-03-01T11:59Z", "2026-03-01T12:00Z")
        stats = await ask(stores, "2026-03-01T10:00Z", "2026-03-01T12:00Z", "hour")
        assert busy(stats) == {"2026-03-01T10:00:00+00:00": 1, "2026-03-01T11:00:00+00:00": 1}
        assert stats.clicks == 2
        assert sum(share.clicks for share in stats.browsers) == 4
        assert stats.breakdown_from == stats.breakdown_to == moment("2026-03-01").date()

    with_stores(scenario)


def test_days_begin_where_the_zone_says_so_also_when_clocks_change(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        # 29 March 2026 has 23 hours in Berlin, 25 October has 25.
        await count(stores, "2026-03-28T22:59Z", "2026-03-28T23:00Z", "2026-03-29T21:59Z", "2026-03-29T22:00Z")
        stats = await ask(stores, "2026-03-28T00:00+01:00", "2026-03-31T00:00+02:00", "day", "Europe/Berlin")
        assert [(point.t.isoformat(), point.clicks) for point in stats.series] == [
            ("2026-03-28T00:00:00+01:00", 1),
            ("2026-03-29T00:00:00+01:00", 2),
            ("2026-03-30T00:00:00+02:00", 1),
        ]

    with_stores(scenario)


def test_the_hour_that_comes_twice_is_two_hours(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        await count(stores, "2026-10-25T00:30Z", "2026-10-25T01:30Z", "2026-10-25T01:31Z")
        stats = await ask(stores, "2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00", "hour", "Europe/Berlin")
        assert len(stats.series) == 25
        assert busy(stats) == {"2026-10-25T02:00:00+02:00": 1, "2026-10-25T02:00:00+01:00": 2}

    with_stores(scenario)


def test_a_zone_with_half_hours(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        await count(stores, "2026-06-01T18:29Z", "2026-06-01T18:30Z")
        stats = await ask(stores, "2026-06-01T00:00+05:30", "2026-06-03T00:00+05:30", "day", "Asia/Kolkata")
        assert [point.clicks for point in stats.series] == [1, 1]

    with_stores(scenario)


def test_weeks_begin_on_monday_and_months_on_the_first(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        await count(stores, "2026-05-31T12:00Z", "2026-06-01T12:00Z", "2026-06-07T12:00Z", "2026-06-08T12:00Z")
        weeks = await ask(stores, "2026-05-28T00:00Z", "2026-06-10T00:00Z", "week")
        assert busy(weeks) == {
            "2026-05-25T00:00:00+00:00": 1,
            "2026-06-01T00:00:00+00:00": 2,
            "2026-06-08T00:00:00+00:00": 1,
        }
        months = await ask(stores, "2026-05-28T00:00Z", "2026-06-10T00:00Z", "month")
        assert [point.clicks for point in months.series] == [1, 3]

    with_stores(scenario)


@pytest.mark.parametrize(
    ("days", "unit", "field"),
    [(0, "day", "to"), (-1, "day", "to"), (4_000, "month", "from"), (10, "minute", "unit"), (1, "second", "unit")],
)
def test_a_range_that_cannot_be_shown_names_its_field(days: int, unit: str, field: str) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(RangeError) as caught:
        Range.make(start, start + timedelta(days=days), unit, BERLIN)
    assert caught.value.field == field


def test_the_read_of_a_link_uses_the_index(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        await count(stores, "2026-03-01T10:00Z")
        query = {"_id": {"$gte": f"{LINK:016x}-20260301-", "$lt": f"{LINK:016x}-20260302-"}}
        plan = await stores.database["clicks_node"].find(query).explain()
        assert "COLLSCAN" not in str(plan["queryPlanner"]["winningPlan"])

    with_stores(scenario)
