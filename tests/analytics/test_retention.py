"""Old days are removed when their month has them, never faster than the date may be believed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.analytics import Mover, Retention
from app.analytics import retention as retention_module
from app.analytics.periods import CLICKS_DAY, CLICKS_MONTH, month_of, months_of
from app.analytics.retention import Horizon, read_horizon
from app.stores import LEASES, Lease, LeaseLostError
from tests.analytics.clicks import add_clicks, day, held_lease, minute_of, stored_clicks
from tests.conftest import Stores

With = Callable[..., None]
TODAY = day("2026-11-24")


class Calendar:
    """A date that tests turn."""

    def __init__(self) -> None:
        self.today = TODAY

    def __call__(self) -> int:
        return self.today


async def fill(stores: Stores, lease: Lease, *dates: str) -> None:
    """One click at noon of each date, moved."""
    await add_clicks(stores.database, [(7, minute_of(f"{date}T12:00Z")) for date in dates])
    ids = [row["_id"] async for row in stores.database["clicks_node"].find()]
    await Mover(stores.database, lease).move(ids)


async def ids(stores: Stores, collection: str) -> list[str]:
    return sorted([row["_id"].partition("-")[2] async for row in stores.database[collection].find()])


def test_days_go_when_they_are_old_and_months_stay(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        lease = await held_lease(stores)
        await fill(stores, lease, "2026-11-13", "2026-11-14", "2026-11-24", "2024-01-01")
        keeper = Retention(stores.database, lease, days_kept=10, months_kept=None, today=Calendar())
        assert not await keeper.step()
        assert await ids(stores, CLICKS_DAY) == ["20261114", "20261124"]
        assert await ids(stores, CLICKS_MONTH) == ["202401", "202611"]
        assert await read_horizon(stores.database) == Horizon(day("2026-11-14"), 0)
        assert keeper.orphans == 0

    with_stores(scenario)


def test_months_go_when_it_is_set_so(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        lease = await held_lease(stores)
        await fill(stores, lease, "2026-11-13", "2026-08-31", "2026-07-31")
        keeper = Retention(stores.database, lease, days_kept=400, months_kept=3, today=Calendar())
        assert not await keeper.step()
        assert await ids(stores, CLICKS_MONTH) == ["202608", "202611"]
        assert (await read_horizon(stores.database)).month == months_of(202608)

    with_stores(scenario)


def test_day_that_is_in_no_month_is_kept(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        lease = await held_lease(stores)
        await fill(stores, lease, "2026-01-01", "2026-02-01")
        await stores.database[CLICKS_MONTH].delete_one({"month": 202601})
        keeper = Retention(stores.database, lease, days_kept=10, months_kept=None, today=Calendar())
        await keeper.step()
        assert await ids(stores, CLICKS_DAY) == ["20260101"]
        assert keeper.orphans == 1

    with_stores(scenario)


def test_late_clicks_of_a_removed_day_stay_in_their_month(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        lease = await held_lease(stores)
        keeper = Retention(stores.database, lease, days_kept=10, months_kept=None, today=Calendar())
        for _ in range(2):
            await fill(stores, lease, "2026-01-01")
            await keeper.step()
        assert await stored_clicks(stores.database) == {}
        month = await stores.database[CLICKS_MONTH].find_one({})
        assert month is not None
        assert month["clicks"] == 2

    with_stores(scenario)


def test_clock_that_jumps_is_believed_a_day_a_step_and_the_horizon_never_falls(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        lease, calendar = await held_lease(stores), Calendar()
        await fill(stores, lease, "2026-11-14", "2026-11-15", "2026-11-16", "2026-11-17")
        keeper = Retention(stores.database, lease, days_kept=10, months_kept=1, today=calendar)
        await keeper.step()
        calendar.today += 10_000
        await keeper.step()
        await keeper.step()
        assert await ids(stores, CLICKS_DAY) == ["20261116", "20261117"]
        assert await ids(stores, CLICKS_MONTH) == ["202611"]
        calendar.today = TODAY
        await keeper.step()
        assert await read_horizon(stores.database) == Horizon(day("2026-11-16"), month_of(TODAY) - 1)

    with_stores(scenario)


def test_shorter_time_is_obeyed_at_once_a_longer_one_brings_nothing_back(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        lease = await held_lease(stores)
        for kept, since in ((400, TODAY - 400), (5, TODAY - 5), (400, TODAY - 5)):
            keeper = Retention(stores.database, lease, days_kept=kept, months_kept=None, today=Calendar())
            await keeper.step()
            assert (await read_horizon(stores.database)).day == since

    with_stores(scenario)


def test_stale_holder_removes_nothing(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        lease = await held_lease(stores)
        await fill(stores, lease, "2026-01-01")
        await stores.database[LEASES].update_one({"_id": "rollup"}, [{"$set": {"until": "$$NOW"}}])
        await held_lease(stores, "b")
        keeper = Retention(stores.database, lease, days_kept=10, months_kept=None, today=Calendar())
        with pytest.raises(LeaseLostError):
            await keeper.step()
        assert await ids(stores, CLICKS_DAY) == ["20260101"]
        assert await read_horizon(stores.database) == Horizon()

    with_stores(scenario)


def test_much_is_removed_in_several_steps(with_stores: With, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention_module, "REMOVED_MAX", 2)

    async def scenario(stores: Stores) -> None:
        lease = await held_lease(stores)
        await fill(stores, lease, *(f"2026-01-0{number}" for number in range(1, 6)))
        keeper = Retention(stores.database, lease, days_kept=10, months_kept=None, today=Calendar())
        assert [await keeper.step() for _ in range(3)] == [True, True, False]
        assert await ids(stores, CLICKS_DAY) == []

    with_stores(scenario)
