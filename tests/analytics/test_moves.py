"""Node documents are moved into days and months: each click once, by the holder of the lease alone."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from app.analytics import Ledger, Mover, estimate_visitors
from app.analytics import moves as moves_module
from app.analytics.periods import CLICKS_DAY
from app.links import LINKS
from app.stores import LEASES, LeaseLostError, LostRaceError
from tests.analytics.clicks import (
    add_clicks,
    day,
    delta_of,
    held_lease,
    minute_of,
    stored_clicks,
    stored_months,
)
from tests.conftest import Stores

With = Callable[..., None]
LINK = 7
NOON = minute_of("2026-03-31T12:00Z")
AFTER = minute_of("2026-04-01T00:07Z")


async def node_ids(stores: Stores) -> list[str]:
    return [row["_id"] async for row in stores.database["clicks_node"].find({}, {"_id": 1})]


def test_two_nodes_become_one_day_and_one_month(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        clicks = [(LINK, NOON), (LINK, NOON + 16), (LINK + 2, AFTER)]
        await add_clicks(stores.database, clicks)
        await add_clicks(stores.database, clicks, node="other-0", browser="Chrome")
        moved = await Mover(stores.database, await held_lease(stores)).move(await node_ids(stores))
        assert (moved.documents, moved.counted) == (4, {LINK: 4, LINK + 2: 2})
        assert await stored_clicks(stores.database, CLICKS_DAY) == Counter(clicks * 2)
        assert await node_ids(stores) == []
        months = await stored_months(stores.database)
        assert set(months) == {(LINK, 202603), (LINK + 2, 202604)}
        march = months[LINK, 202603]
        assert march.minutes == {30 * 96 + 48: 2, 30 * 96 + 49: 2}
        assert (march.clicks, march.bots, march.dims) == (4, 2, {"browser": {"Firefox": 2, "Chrome": 2}})
        assert estimate_visitors(march.visitors) == 2  # the same ids on both nodes

    with_stores(scenario)


def test_late_clicks_are_added_to_what_was_moved(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        mover = Mover(stores.database, await held_lease(stores))
        for minute in (NOON, NOON, NOON + 1):
            await add_clicks(stores.database, [(LINK, minute)])
            await mover.move(await node_ids(stores))
        assert await stored_clicks(stores.database) == {(LINK, NOON): 2, (LINK, NOON + 1): 1}
        month = (await stored_months(stores.database))[LINK, 202603]
        assert (month.clicks, month.minutes) == (3, {30 * 96 + 48: 3})

    with_stores(scenario)


def test_links_are_told_what_was_moved_and_keep_their_version(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await stores.database[LINKS].insert_one({"_id": "/x", "link": LINK, "version": 5, "clicks": 0})
        await add_clicks(stores.database, [(LINK, NOON), (LINK, NOON), (0, NOON)])
        await Mover(stores.database, await held_lease(stores)).move(await node_ids(stores))
        row = await stores.database[LINKS].find_one({"_id": "/x"})
        assert row == {"_id": "/x", "link": LINK, "version": 5, "clicks": 2, "counted": 2}

    with_stores(scenario)


def test_stale_holder_moves_nothing(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await add_clicks(stores.database, [(LINK, NOON)])
        stale = Mover(stores.database, await held_lease(stores, "a"))
        await stores.database[LEASES].update_one({"_id": "rollup"}, [{"$set": {"until": "$$NOW"}}])
        await held_lease(stores, "b")
        with pytest.raises(LeaseLostError):
            await stale.move(await node_ids(stores))
        assert len(await node_ids(stores)) == 1
        assert await stored_clicks(stores.database, CLICKS_DAY) == {}
        assert await stored_months(stores.database) == {}

    with_stores(scenario)


def test_bucket_that_its_aggregator_writes_meanwhile_is_not_moved(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        ledger = Ledger(stores.database, "n-0")
        await ledger.apply("source", 0, 1, {(LINK, day("2026-03-31")): delta_of([720])})
        loop = asyncio.get_running_loop()
        writing: list[asyncio.Task[None]] = []

        async def write() -> None:
            await ledger.apply("source", 1, 2, {(LINK, day("2026-03-31")): delta_of([721])})

        def trace(step: str) -> None:
            if step == "write clicks_node":  # it was read
                writing.append(loop.create_task(write()))

        mover = Mover(stores.database, await held_lease(stores), trace=trace)
        results = await asyncio.gather(mover.move(await node_ids(stores)), return_exceptions=True)
        written = await asyncio.gather(*writing, return_exceptions=True)
        lost = [one for one in (*results, *written) if isinstance(one, LostRaceError)]
        assert len(lost) == 1, (results, written)
        assert sum((await stored_clicks(stores.database)).values()) == (1 if written == lost else 2)

    with_stores(scenario)


def test_paused_aggregator_whose_bucket_was_moved_counts_nothing_twice(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        key = (LINK, day("2026-03-31"))
        ledger = Ledger(stores.database, "n-0")
        await ledger.apply("source", 0, 1, {key: delta_of([720, 721])})
        await Mover(stores.database, await held_lease(stores)).move(await node_ids(stores))
        with pytest.raises(LostRaceError):
            await ledger.apply("source", 1, 2, {key: delta_of([722])})
        assert await ledger.position("source") == 1
        await ledger.apply("source", 1, 2, {key: delta_of([722])})
        assert sum((await stored_clicks(stores.database, "clicks_node")).values()) == 1
        await Mover(stores.database, await held_lease(stores)).move(await node_ids(stores))
        assert await stored_clicks(stores.database) == {(LINK, NOON + more): 1 for more in range(3)}

    with_stores(scenario)


def test_much_at_once_is_moved_in_several_transactions(with_stores: With, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves_module, "MOVED_BYTES_MAX", 100)

    async def scenario(stores: Stores) -> None:
        await add_clicks(stores.database, [(link, NOON) for link in range(1, 20)])
        mover = Mover(stores.database, await held_lease(stores))
        tries = 0
        while ids := await node_ids(stores):
            moved = await mover.move(ids)
            assert 0 < moved.documents < 19
            assert moved.is_all is (moved.documents == len(ids))
            tries += 1
        assert tries > 3
        assert sum((await stored_clicks(stores.database, CLICKS_DAY)).values()) == 19

    with_stores(scenario)


def test_what_is_gone_already_is_no_reason_to_stop(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await add_clicks(stores.database, [(LINK, NOON)])
        ids = await node_ids(stores)
        mover = Mover(stores.database, await held_lease(stores))
        assert (await mover.move(["00-20260101-gone", *ids])).documents == 1
        assert (await mover.move(ids)).documents == 0
        assert sum((await stored_clicks(stores.database)).values()) == 1

    with_stores(scenario)
