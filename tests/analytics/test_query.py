"""Statistics are exact in any time zone, wherever a click lies and while it is moved; every read is bounded."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from msgspec import UNSET

from app.analytics import (
    ALL,
    CLICKS_NODE,
    CLICKS_SUM,
    BehindError,
    Ledger,
    Mover,
    Range,
    RangeError,
    Retention,
    Stats,
    read_stats,
)
from app.analytics import query as query_module
from app.analytics.periods import CLICKS_DAY, CLICKS_MONTH, DAY_MINUTES
from app.stores import LostRaceError
from tests.analytics.clicks import add_clicks, day, delta_of, held_lease, minute_of
from tests.analytics.test_ranges import ZONES, label
from tests.conftest import Stores

With = Callable[..., None]
LINK = 7
NOW = "2026-11-24T12:00Z"
SEED = 20_261_124


def range_of(start: str, end: str, unit: str, zone: str = "UTC") -> Range:
    return Range.make(datetime.fromisoformat(start), datetime.fromisoformat(end), unit, ZoneInfo(zone))


async def ask(
    stores: Stores, start: str, end: str, unit: str, zone: str = "UTC", *, subject: int = LINK, compare: bool = False
) -> Stats:
    now_s = datetime.fromisoformat(NOW).timestamp()
    return await read_stats(
        stores.database, subject, range_of(start, end, unit, zone), now_s=now_s, compare=compare, orphans=subject == ALL
    )


async def count(stores: Stores, *times: str, link: int = LINK, node: str = "n-0") -> None:
    await add_clicks(stores.database, [(link, minute_of(text)) for text in times], node=node)


async def move_all(stores: Stores, mover: Mover) -> None:
    for name in (CLICKS_NODE, CLICKS_SUM):
        while ids := [row["_id"] async for row in stores.database[name].find({}, {"_id": 1}).limit(400)]:
            await mover.move(ids, name)


def busy(stats: Stats) -> dict[str, int]:
    return {point.t.isoformat(): point.clicks for point in stats.series if point.clicks}


def test_nodes_are_added_up_and_other_links_are_not(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await count(stores, "2026-03-01T10:00Z", "2026-03-01T10:01Z")
        await count(stores, "2026-03-01T10:01Z", node="other-0")
        await count(stores, "2026-03-01T10:00Z", link=LINK + 1)
        stats = await ask(stores, "2026-03-01T00:00Z", "2026-03-02T00:00Z", "minute")
        assert busy(stats) == {"2026-03-01T10:00:00+00:00": 1, "2026-03-01T10:01:00+00:00": 2}
        assert (stats.clicks, len(stats.series), stats.bots) == (3, 1440, 2)
        assert [(share.key, share.clicks) for share in stats.browsers] == [("Firefox", 3)]
        assert stats.visitors == 3
        assert (stats.previous, stats.orphans) == (UNSET, UNSET)

    with_stores(scenario)


def test_a_range_ends_before_its_end_and_breakdowns_say_their_days(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await count(stores, "2026-03-01T09:59Z", "2026-03-01T10:00Z", "2026-03-01T11:59Z", "2026-03-01T12:00Z")
        stats = await ask(stores, "2026-03-01T10:00Z", "2026-03-01T12:00Z", "hour")
        assert busy(stats) == {"2026-03-01T10:00:00+00:00": 1, "2026-03-01T11:00:00+00:00": 1}
        assert stats.clicks == 2
        assert sum(share.clicks for share in stats.browsers) == 4
        assert stats.breakdown_from == stats.breakdown_to == datetime(2026, 3, 1).date()  # noqa: DTZ001

    with_stores(scenario)


def test_the_hour_that_comes_twice_is_two_hours(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await count(stores, "2026-10-25T00:30Z", "2026-10-25T01:30Z", "2026-10-25T01:31Z")
        stats = await ask(stores, "2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00", "hour", "Europe/Berlin")
        assert len(stats.series) == 25
        assert busy(stats) == {"2026-10-25T02:00:00+02:00": 1, "2026-10-25T02:00:00+01:00": 2}

    with_stores(scenario)


def test_half_hour_that_comes_twice_is_an_hour_and_a_half(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await count(stores, "2026-04-04T14:45Z", "2026-04-04T15:15Z", "2026-04-04T15:45Z")
        await move_all(stores, Mover(stores.database, await held_lease(stores)))
        stats = await ask(stores, "2026-04-05T01:00+11:00", "2026-04-05T03:00+10:30", "hour", "Australia/Lord_Howe")
        assert [(point.t.isoformat(), point.clicks) for point in stats.series] == [
            ("2026-04-05T01:00:00+11:00", 1),
            ("2026-04-05T01:30:00+10:30", 1),
            ("2026-04-05T02:00:00+10:30", 1),
        ]

    with_stores(scenario)


async def fill_two_years(stores: Stores, rng: random.Random) -> tuple[Counter[int], int]:
    """Clicks of LINK over 800 days, moved for the most part, days before the horizon removed; the horizon's minute."""
    begin, end = minute_of("2024-09-01T00:00Z"), minute_of(NOW)
    clicks = Counter(rng.randrange(begin, end) for _ in range(3_000))
    changes = ["2026-03-29T01:00Z", "2026-10-25T01:00Z", "2026-04-04T15:00Z", "2026-04-23T22:00Z", "2025-11-01T05:00Z"]
    for change in changes:
        clicks.update(minute_of(change) + rng.randrange(-180, 180) for _ in range(100))
    parts: list[list[tuple[int, int]]] = [[], [], []]
    for minute in clicks.elements():
        parts[rng.randrange(3)].append((LINK, minute))
    lease = await held_lease(stores)
    for number, part in enumerate(parts[:2]):
        await add_clicks(stores.database, part, node=f"n-{number}")
    await move_all(stores, Mover(stores.database, lease))
    await add_clicks(stores.database, parts[2], node="n-2")
    keeper = Retention(stores.database, lease, days_kept=250, months_kept=None, today=lambda: day(NOW))
    while await keeper.step():
        pass
    return clicks, (day(NOW) - 250) * DAY_MINUTES


def test_random_ranges_in_many_zones_agree_with_a_count_of_every_click(with_stores: With) -> None:
    rng = random.Random(SEED)

    async def scenario(stores: Stores) -> None:
        clicks, horizon = await fill_two_years(stores, rng)
        first, last = min(clicks), max(clicks)
        for _ in range(150):
            unit = rng.choice(["minute", "hour", "hour", "day", "day", "week", "month"])
            longest = {"minute": 4_900, "hour": 200 * DAY_MINUTES}.get(unit, 800 * DAY_MINUTES)
            start = rng.randrange(horizon if unit == "minute" else first - 9_000, last)
            start -= start % 15 if start < horizon else 0
            end = start + rng.randrange(1, longest)
            end += -end % 15 if end < horizon else 0
            zone = ZoneInfo(rng.choice(ZONES))
            moments = [datetime.fromtimestamp(at * 60, UTC) for at in (start, end)]
            wanted = Range.make(moments[0], moments[1], unit, zone)
            expected: Counter[object] = Counter()
            for minute, times in clicks.items():
                if start <= minute < end:
                    expected[label(datetime.fromtimestamp(minute * 60, zone), unit)] += times
            stats = await read_stats(stores.database, LINK, wanted, now_s=minute_of(NOW) * 60.0)
            found = {label(point.t, unit): point.clicks for point in stats.series if point.clicks}
            assert found == expected, (SEED, wanted)
            assert len({point.t.timestamp() for point in stats.series}) == len(stats.series)
            days = range(day(stats.breakdown_from.isoformat()), day(stats.breakdown_to.isoformat()) + 1)
            within = sum(times for minute, times in clicks.items() if minute // DAY_MINUTES in days)
            assert sum(share.clicks for share in stats.browsers) == within, (SEED, wanted)

    with_stores(scenario)


def test_total_never_wavers_while_documents_are_moved_under_queries(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        rng = random.Random(SEED)
        lease = await held_lease(stores)
        begin = minute_of("2026-10-20T00:00Z")
        for batch in range(30):
            clicks = [(LINK, begin + rng.randrange(20 * DAY_MINUTES)) for _ in range(20)]
            await add_clicks(stores.database, clicks, node=f"n-{batch % 3}")
        is_moved = False

        async def move() -> None:
            nonlocal is_moved
            mover = Mover(stores.database, lease)
            for name in (CLICKS_NODE, CLICKS_SUM):
                while ids := [row["_id"] async for row in stores.database[name].find({}, {"_id": 1}).limit(3)]:
                    await mover.move(ids, name)
            is_moved = True

        async def query(subject: int) -> int:
            answers = 0
            while not is_moved:
                stats = await ask(stores, "2026-10-01T00:00Z", "2026-11-15T00:00Z", "day", subject=subject)
                assert stats.clicks == 600
                assert sum(share.clicks for share in stats.browsers) == 600
                answers += 1
            return answers

        answers = await asyncio.gather(query(LINK), query(ALL), move())
        assert min(answers[0], answers[1]) > 5
        assert await stores.database[CLICKS_NODE].count_documents({}) == 0

    with_stores(scenario)


def test_paused_aggregator_never_shows_a_click_twice(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        ledger, key = Ledger(stores.database, "n-0"), (LINK, day("2026-11-20"))
        mover = Mover(stores.database, await held_lease(stores))
        for number in range(6):
            deltas = {key: delta_of([number])}
            try:
                await ledger.apply("s", number, number + 1, deltas)
            except LostRaceError:
                await ledger.apply("s", number, number + 1, deltas)
            if number % 2:
                await move_all(stores, mover)
            stats = await ask(stores, "2026-11-01T00:00Z", "2026-12-01T00:00Z", "day")
            assert stats.clicks == number + 1

    with_stores(scenario)


def test_previous_period_is_told_beside_this_one(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await count(stores, "2026-09-30T23:59Z", "2026-10-01T00:00Z", "2026-10-31T23:59Z", "2026-11-01T00:00Z")
        stats = await ask(stores, "2026-11-01T00:00Z", "2026-12-01T00:00Z", "month", compare=True)
        assert stats.clicks == 1
        assert stats.previous is not UNSET
        previous = stats.previous
        assert (previous.clicks, previous.visitors, previous.bots) == (2, 2, 2)
        assert [(point.t.month, point.clicks) for point in previous.series] == [(10, 2)]
        assert (previous.start.month, previous.end.month) == (10, 11)

    with_stores(scenario)


def test_previous_period_that_is_not_kept_is_refused(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        lease = await held_lease(stores)
        await Retention(stores.database, lease, days_kept=3, months_kept=1, today=lambda: day(NOW)).step()
        with pytest.raises(RangeError) as caught:
            await ask(stores, "2026-10-01T00:00Z", "2026-11-01T00:00Z", "month", compare=True)
        assert caught.value.field == "compare"
        assert "2026-10-01" in str(caught.value)

    with_stores(scenario)


def test_all_links_are_summed_and_nobodys_slugs_are_told_apart(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await count(stores, "2026-11-20T10:00Z", "2026-11-20T10:00Z")
        await count(stores, "2026-11-20T11:00Z", link=LINK + 2)
        delta = delta_of([3, 4, 5])
        delta.dims = {"slug": {"wp-login.php": 2, "other": 1}}
        await Ledger(stores.database, "n-0").apply("o", 0, 1, {(0, day("2026-11-20")): delta})
        for _ in range(2):
            stats = await ask(stores, "2026-11-20T00:00Z", "2026-11-21T00:00Z", "hour", subject=ALL)
            assert busy(stats) == {"2026-11-20T10:00:00+00:00": 2, "2026-11-20T11:00:00+00:00": 1}
            assert stats.orphans is not UNSET
            assert stats.orphans.visits == 3
            assert [(share.key, share.clicks) for share in stats.orphans.slugs] == [("wp-login.php", 2), ("other", 1)]
            await move_all(stores, Mover(stores.database, await held_lease(stores)))

    with_stores(scenario)


def test_breakdown_is_bounded_and_its_rest_is_other(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        delta = delta_of([1])
        delta.dims["referrer"] = {f"h{number}.example": 1000 - number for number in range(150)} | {"": 5, "other": 7}
        await Ledger(stores.database, "n-0").apply("s", 0, 1, {(LINK, day("2026-11-20")): delta})
        stats = await ask(stores, "2026-11-20T00:00Z", "2026-11-21T00:00Z", "day")
        assert len(stats.referrers) == 101
        assert stats.referrers[0].key == "h0.example"
        assert (stats.referrers[-1].key, sum(share.clicks for share in stats.referrers)) == (
            "other",
            sum(delta.dims["referrer"].values()),
        )
        assert "other" not in [share.key for share in stats.referrers[:-1]]

    with_stores(scenario)


def test_sum_that_was_left_unmoved_for_too_long_is_no_answer(
    with_stores: With, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_module, "UNMOVED_MAX", 3)

    async def scenario(stores: Stores) -> None:
        for _ in range(4):
            await count(stores, "2026-11-20T10:00Z")
        with pytest.raises(BehindError):
            await ask(stores, "2026-11-20T00:00Z", "2026-11-21T00:00Z", "hour", subject=ALL)
        await move_all(stores, Mover(stores.database, await held_lease(stores)))
        stats = await ask(stores, "2026-11-20T00:00Z", "2026-11-21T00:00Z", "hour", subject=ALL)
        assert stats.clicks == 4

    with_stores(scenario)


def test_as_of_is_the_slowest_nodes(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        assert (await ask(stores, "2026-11-20T00:00Z", "2026-11-21T00:00Z", "day")).as_of is None
        now = datetime.fromisoformat(NOW)
        for node, behind_s in (("n-0", 1), ("n-1", 60), ("n-gone", 2 * 86_400)):
            await Ledger(stores.database, node).note_progress(now - timedelta(seconds=behind_s))
        assert (await ask(stores, "2026-11-20T00:00Z", "2026-11-21T00:00Z", "day")).as_of == now - timedelta(minutes=1)

    with_stores(scenario)


def test_every_read_is_a_range_of_the_first_index(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await count(stores, "2026-03-01T10:00Z")
        commands: list[tuple[str, object]] = []
        original = query_module._Reader._find

        def spy(self: object, collection: str, within: object, projection: object) -> object:
            commands.append((collection, within))
            return original(self, collection, within, projection)  # type: ignore[arg-type]

        query_module._Reader._find = spy  # type: ignore[method-assign]
        try:
            await ask(stores, "2026-01-15T00:00Z", "2026-03-15T00:00Z", "day")
            await ask(stores, "2026-01-15T00:00Z", "2026-03-15T00:00Z", "day", subject=ALL)
        finally:
            query_module._Reader._find = original  # type: ignore[method-assign]
        assert {name for name, _ in commands} == {CLICKS_DAY, CLICKS_MONTH, CLICKS_NODE, CLICKS_SUM}
        for name, within in commands:
            plan = await stores.database[name].find({"_id": within}).explain()
            assert "COLLSCAN" not in str(plan["queryPlanner"]["winningPlan"])

    with_stores(scenario)
