"""Lists show what a link has been clicked, moved or not, and nobody is told of a change."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.analytics import Mover, Totals
from app.analytics import totals as totals_module
from app.links import LINKS
from app.stores import LEASES, LeaseLostError
from tests.analytics.clicks import add_clicks, held_lease, minute_of
from tests.conftest import Stores

With = Callable[..., None]
NOON = minute_of("2026-03-31T12:00Z")


async def make_links(stores: Stores, *links: int) -> None:
    rows = [{"_id": f"/{link}", "link": link, "version": 5, "clicks": 0} for link in links]
    await stores.database[LINKS].insert_many(rows)
    await stores.database[LINKS].create_index("link", unique=True)


async def shown(stores: Stores) -> dict[int, int]:
    rows = [row async for row in stores.database[LINKS].find()]
    assert {row["version"] for row in rows} == {5}
    return {row["link"]: row["clicks"] for row in rows if row["clicks"]}


async def round_of(totals: Totals) -> int:
    """Looks until the round is complete; how many steps it took."""
    steps = 1
    while await totals.step():
        steps += 1
    return steps


def test_moved_and_unmoved_clicks_are_shown_together(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await make_links(stores, 7, 9)
        lease = await held_lease(stores)
        totals, mover = Totals(stores.database, lease), Mover(stores.database, lease)
        await add_clicks(stores.database, [(7, NOON), (7, NOON), (0, NOON)])
        await add_clicks(stores.database, [(7, NOON)], node="other-0")
        await round_of(totals)
        assert await shown(stores) == {7: 3}
        ids = [row["_id"] async for row in stores.database["clicks_node"].find()]
        totals.forget((await mover.move(ids)).counted)
        await add_clicks(stores.database, [(7, NOON + 1440)] * 3 + [(9, NOON)])
        await round_of(totals)
        assert await shown(stores) == {7: 6, 9: 1}
        await round_of(totals)
        assert await shown(stores) == {7: 6, 9: 1}

    with_stores(scenario)


def test_round_goes_over_all_documents_in_steps_and_cuts_no_link(
    with_stores: With, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(totals_module, "LOOKED_AT_MAX", 4)

    async def scenario(stores: Stores) -> None:
        await make_links(stores, *range(1, 8))
        for node in ("a-0", "b-0", "c-0"):
            await add_clicks(stores.database, [(link, NOON) for link in range(1, 8)], node=node)
        assert await round_of(Totals(stores.database, await held_lease(stores))) == 7
        assert await shown(stores) == dict.fromkeys(range(1, 8), 3)

    with_stores(scenario)


def test_what_did_not_change_is_not_written(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await make_links(stores, 7, 9)
        steps: list[str] = []
        totals = Totals(stores.database, await held_lease(stores), trace=steps.append)
        await add_clicks(stores.database, [(7, NOON), (9, NOON)])
        for _ in range(3):
            await round_of(totals)
        assert steps.count("write totals") == 1

    with_stores(scenario)


def test_stale_holder_tells_nothing(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await make_links(stores, 7)
        lease = await held_lease(stores)
        await stores.database[LEASES].update_one({"_id": "rollup"}, [{"$set": {"until": "$$NOW"}}])
        await held_lease(stores, "b")
        await add_clicks(stores.database, [(7, NOON)])
        with pytest.raises(LeaseLostError):
            await Totals(stores.database, lease).step()
        assert await shown(stores) == {}

    with_stores(scenario)
