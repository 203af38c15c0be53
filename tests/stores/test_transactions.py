"""Transactions of which many write the same row: each has its turn, and waiting ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count

import pytest
from pymongo.errors import OperationFailure

from app.stores import Database, Session, transact
from tests.conftest import Stores

With = Callable[..., None]
ROW = {"_id": "row"}


def overtaken(database: Database, times: int) -> Callable[[Session], Awaitable[int]]:
    """A work that another one's write comes before, so many times; it returns how often it began."""
    turns = count(1)

    async def work(session: Session) -> int:
        turn = next(turns)
        await database["rows"].find_one(ROW, session=session)
        if turn <= times:
            await database["rows"].update_one(ROW, {"$inc": {"others": 1}}, upsert=True)
        await database["rows"].update_one(ROW, {"$inc": {"mine": 1}}, session=session)
        return turn

    return work


def test_who_is_overtaken_again_and_again_has_a_turn(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        turn = await transact(stores.database, overtaken(stores.database, 30), chance=lambda: 0.0)
        assert turn == 31
        row = await stores.database["rows"].find_one(ROW)
        assert row == {**ROW, "others": 30, "mine": 1}

    with_stores(scenario)


def test_patience_ends_and_nothing_happened(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        clock = count()
        work = overtaken(stores.database, 1_000)
        with pytest.raises(OperationFailure, match=r"[Ww]rite ?[Cc]onflict"):
            await transact(stores.database, work, chance=lambda: 0.0, monotonic=lambda: float(next(clock)))
        row = await stores.database["rows"].find_one(ROW)
        assert row is not None
        assert (row["others"], row.get("mine")) == (5, None)

    with_stores(scenario)
