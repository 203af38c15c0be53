"""What is erased is gone wherever it was, and does not come back with late clicks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from app.analytics import ALL, Ledger, Mover, Totals, erase
from app.analytics import erasure as erasure_module
from app.analytics.periods import CLICKS_DAY, CLICKS_MONTH, DAY_MINUTES
from app.links import LINKS
from app.stores import LostRaceError
from tests.analytics.clicks import add_clicks, day, delta_of, everything_stored, held_lease, minute_of, stored_clicks
from tests.conftest import Stores

With = Callable[..., None]
LINK = 7
NOW = "2026-11-24T12:00Z"
NOON = minute_of(NOW)


async def erase_at_noon(stores: Stores, *, is_counted: bool = True) -> bool:
    """Erases LINK; every node has counted what was before, or none says so."""
    now = datetime.fromisoformat(NOW)
    clock = iter(now.timestamp() + step for step in range(1_000))
    await Ledger(stores.database, "n-0").note_progress(now + timedelta(seconds=1 if is_counted else -60))
    return await erase(stores.database, LINK, now_s=lambda: next(clock))


async def move_all(stores: Stores) -> None:
    ids = [row["_id"] async for row in stores.database["clicks_node"].find()]
    await Mover(stores.database, await held_lease(stores)).move(ids)


async def make_link(stores: Stores) -> None:
    row = {"_id": "/x", "link": LINK, "version": 5, "clicks": 3, "counted": 2, "target": "t"}
    await stores.database[LINKS].insert_one(row)


def test_documents_and_totals_of_the_link_go_and_no_others(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await make_link(stores)
        old = NOON - 40 * DAY_MINUTES
        others = {(LINK - 1, old): 1, (LINK + 1, NOON): 1}
        await add_clicks(stores.database, [(LINK, old), *others])
        await move_all(stores)
        await add_clicks(stores.database, [(LINK, NOON), *others])
        assert await erase_at_noon(stores)
        assert await stored_clicks(stores.database) == dict.fromkeys(others, 2)
        assert {row["link"] async for row in stores.database[CLICKS_MONTH].find()} == {LINK - 1, LINK + 1}
        row = await stores.database[LINKS].find_one({"_id": "/x"})
        assert row is not None
        assert (row["clicks"], row["counted"], row["version"], row["target"]) == (0, 0, 5, "t")
        sums = await everything_stored(stores.database, "clicks_sum")
        assert sums[ALL, NOON] == 3  # sums name no link

    with_stores(scenario)


def test_late_clicks_of_earlier_days_never_come_back(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await erase_at_noon(stores)
        await add_clicks(stores.database, [(LINK, NOON - DAY_MINUTES), (LINK, NOON), (LINK + 2, NOON - DAY_MINUTES)])
        await move_all(stores)
        kept = {(LINK, NOON): 1, (LINK + 2, NOON - DAY_MINUTES): 1}
        assert await stored_clicks(stores.database) == kept
        assert await stored_clicks(stores.database, CLICKS_DAY) == kept
        assert await stores.database[CLICKS_MONTH].count_documents({"link": LINK}) == 1

    with_stores(scenario)


def test_aggregator_that_remembers_the_bucket_begins_at_zero(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        ledger, key = Ledger(stores.database, "n-0"), (LINK, day("2026-11-24"))
        await ledger.apply("s", 0, 1, {key: delta_of([1, 2, 3])})
        await erase_at_noon(stores)
        with pytest.raises(LostRaceError):
            await ledger.apply("s", 1, 2, {key: delta_of([721])})
        await ledger.apply("s", 1, 2, {key: delta_of([721])})
        assert await stored_clicks(stores.database) == {(LINK, NOON + 1): 1}

    with_stores(scenario)


def test_it_waits_until_nodes_have_counted_what_was_before(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        ledger, now = Ledger(stores.database, "n-0"), datetime.now(UTC)
        await ledger.note_progress(now - timedelta(minutes=1))
        erasing = asyncio.create_task(erase(stores.database, LINK, now_s=now.timestamp))
        await asyncio.sleep(0)
        await add_clicks(stores.database, [(LINK, NOON)])  # asked before, counted now
        assert not erasing.done()
        await ledger.note_progress(now + timedelta(milliseconds=1))
        assert await erasing
        assert await stored_clicks(stores.database) == {}

    with_stores(scenario)


def test_node_that_is_away_is_not_waited_for_long(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await add_clicks(stores.database, [(LINK, NOON)])
        assert not await erase_at_noon(stores, is_counted=False)
        assert await stored_clicks(stores.database) == {}

    with_stores(scenario)


def test_it_wins_in_the_end_beside_a_busy_aggregator_and_rollup(
    with_stores: With, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure_module, "STEP_S", 0.001)

    async def scenario(stores: Stores) -> None:
        await make_link(stores)
        ledger, key = Ledger(stores.database, "n-0"), (LINK, day("2026-11-24"))
        lease = await held_lease(stores)
        mover, totals = Mover(stores.database, lease), Totals(stores.database, lease)
        is_erased = False

        async def count() -> None:
            number = 0
            while not is_erased:
                try:
                    await ledger.apply("s", number, number + 1, {key: delta_of([number % 700])})
                except LostRaceError:
                    continue
                number += 1

        async def roll() -> None:
            while not is_erased:
                try:
                    ids = [row["_id"] async for row in stores.database["clicks_node"].find()]
                    totals.forget((await mover.move(ids)).counted)
                    await totals.step()
                except LostRaceError:
                    continue

        async def end() -> None:
            nonlocal is_erased
            try:
                for _ in range(5):
                    await erase_at_noon(stores)
            finally:
                is_erased = True

        await asyncio.gather(count(), roll(), end())
        await erase_at_noon(stores)
        assert await stored_clicks(stores.database) == {}
        assert await stores.database[CLICKS_MONTH].count_documents({"link": LINK}) == 0
        row = await stores.database[LINKS].find_one({"_id": "/x"})
        assert row is not None
        assert (row["clicks"], row["counted"]) == (0, 0)

    with_stores(scenario)
