"""The ledger applies a batch once or says that it did not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.analytics import Bucket, Delta, Ledger
from app.stores import LostRaceError
from tests.conftest import Stores

KEY = (7, 19_700)


def one_click(minute: int = 5) -> dict[tuple[int, int], Delta]:
    delta = Delta()
    delta.clicks = 1
    delta.minutes[minute] = 1
    delta.dims["browser"] = {"Firefox": 1}
    return {KEY: delta}


async def stored(stores: Stores) -> Bucket:
    document = await stores.database["clicks_node"].find_one({"link": KEY[0]})
    assert document is not None
    return Bucket.from_document(document)


def test_a_bucket_that_another_changed_is_not_overwritten(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        one, other = Ledger(stores.database, "n-0"), Ledger(stores.database, "n-0")
        await one.apply("source-a", 0, 100, one_click())
        await other.apply("source-b", 0, 100, one_click(6))
        with pytest.raises(LostRaceError):
            await one.apply("source-a", 100, 200, one_click())
        assert await one.position("source-a") == 100
        before = (await stored(stores)).rev
        await one.apply("source-a", 100, 200, one_click())
        bucket = await stored(stores)
        assert (bucket.clicks, bucket.minutes, bucket.rev) == (3, {5: 2, 6: 1}, before + 1)

    with_stores(scenario)


def test_bucket_that_was_moved_away_begins_at_zero_again(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        ledger = Ledger(stores.database, "n-0")
        await ledger.apply("source-a", 0, 100, one_click())
        await stores.database["clicks_node"].delete_many({})
        with pytest.raises(LostRaceError):
            await ledger.apply("source-a", 100, 200, one_click(6))
        assert await stores.database["clicks_node"].count_documents({}) == 0
        await ledger.apply("source-a", 100, 200, one_click(6))
        bucket = await stored(stores)
        assert (bucket.clicks, bucket.minutes) == (1, {6: 1})

    with_stores(scenario)


def test_memory_of_a_moved_bucket_never_fits_the_next_one(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        paused, other = Ledger(stores.database, "n-0"), Ledger(stores.database, "n-0")
        await paused.apply("source-a", 0, 100, one_click())
        await stores.database["clicks_node"].delete_many({})
        await other.apply("source-b", 0, 100, one_click(6))  # the same `_id`, replaced as often
        with pytest.raises(LostRaceError):
            await paused.apply("source-a", 100, 200, one_click())
        assert (await stored(stores)).minutes == {6: 1}

    with_stores(scenario)


def test_a_checkpoint_that_moved_refuses_the_batch_and_changes_nothing(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        ledger = Ledger(stores.database, "n-0")
        await ledger.apply("source-a", 0, 100, one_click())
        for begin in (0, 50, 200):
            with pytest.raises(LostRaceError):
                await ledger.apply("source-a", begin, 300, one_click())
        assert await ledger.position("source-a") == 100
        assert (await stored(stores)).clicks == 1

    with_stores(scenario)


def test_a_batch_without_clicks_moves_the_checkpoint(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        ledger = Ledger(stores.database, "n-0")
        await ledger.apply("source-a", 0, 64, {})
        assert await ledger.position("source-a") == 64
        assert await ledger.position("source-b") == 0

    with_stores(scenario)
