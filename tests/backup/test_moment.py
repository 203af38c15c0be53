"""A backup is one point in time, however long it takes and whatever is written; where it cannot be, it says so."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Awaitable, Callable

import bson
import pytest

from app.backup import BACKUPS, BlockReader, Dump, Moment, MomentLostError, moment, verify
from app.backup.format import split_documents
from app.stores import RESTORE_ID, SCHEMA, SCHEMA_VERSION, Database, HalfRestoredError, SchemaError
from tests.backup.data import dump, fill
from tests.conftest import Stores

With = Callable[[Callable[[Stores], Awaitable[None]]], None]
WINDOW = "minSnapshotHistoryWindowInSeconds"
ACCOUNTS = 60
TOTAL = ACCOUNTS * 100


async def window_s(database: Database) -> int:
    return int((await database.client.admin.command({"getParameter": 1, WINDOW: 1}))[WINDOW])


async def set_window(database: Database, seconds: int) -> None:
    await database.client.admin.command({"setParameter": 1, WINDOW: seconds})


def documents(data: bytes, collection: str) -> list[dict[str, object]]:
    reader = BlockReader(io.BytesIO(data))
    names = [row.name for row in reader.head.collections]
    found: list[dict[str, object]] = []
    for block in reader.blocks():
        assert block.collection is not None
        if names[block.collection] == collection:
            found += [bson.decode(part) for part in split_documents(block.content)]
    return found


async def move_money(database: Database, stop: asyncio.Event) -> int:
    """Transactions over two collections: their sum is always the same."""
    moves = 0
    while not stop.is_set():
        async with database.client.start_session() as session, await session.start_transaction():
            place = {"_id": moves % ACCOUNTS}
            await database["a"].update_one(place, {"$inc": {"n": -1}}, session=session)
            await database["z"].update_one(place, {"$inc": {"n": 1}}, session=session)
        moves += 1
    return moves


def test_all_collections_are_of_one_moment_while_transactions_go_on(
    with_stores: With, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moment, "BATCH_DOCUMENTS", 7)

    async def scenario(stores: Stores) -> None:
        for name in ("a", "z"):
            await stores.database[name].insert_many([{"_id": number, "n": 50} for number in range(ACCOUNTS)])
        stop = asyncio.Event()
        moving = asyncio.create_task(move_money(stores.database, stop))
        for _ in range(3):
            data = await dump(stores.database)
            rows = [*documents(data, "a"), *documents(data, "z")]
            assert len(rows) == 2 * ACCOUNTS
            assert sum(int(str(row["n"])) for row in rows) == TOTAL
        stop.set()
        assert await moving > 10

    with_stores(scenario)


def test_the_window_follows_a_long_backup_and_is_put_back(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await fill(stores.database, 10)
        await set_window(stores.database, 100)
        now_s = 0.0
        view = Moment(stores.database, monotonic=lambda: now_s)
        await view.open(["links"])
        assert await window_s(stores.database) == moment.MARGIN_S
        await stores.database[BACKUPS].update_many(
            {"since": {"$exists": True}}, [{"$set": {"since": {"$subtract": ["$since", 5_000_000]}}}]
        )
        view._since = (await stores.database[BACKUPS].find_one({"since": {"$exists": True}}) or {})["since"]
        now_s = 31.0
        await view.tend()
        assert 5_000 + moment.MARGIN_S <= await window_s(stores.database) < 5_100 + moment.MARGIN_S
        other = Moment(stores.database, monotonic=time.monotonic)
        await other.open(["links"])
        await view.close()
        assert await window_s(stores.database) == moment.MARGIN_S  # the other one's need
        await other.close()
        assert await window_s(stores.database) == 100
        assert await stores.database[BACKUPS].count_documents({}) == 0
        await set_window(stores.database, 300)

    with_stores(scenario)


def test_what_a_killed_backup_left_is_put_back_by_the_next(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await fill(stores.database, 10)
        await set_window(stores.database, 200)
        killed = Moment(stores.database, monotonic=time.monotonic)
        await killed.open(["links"])
        assert await window_s(stores.database) == moment.MARGIN_S
        await stores.database[BACKUPS].update_many(
            {"seen": {"$exists": True}}, [{"$set": {"seen": {"$subtract": ["$$NOW", 1_000 * moment.FORGOTTEN_S + 1]}}}]
        )
        await dump(stores.database)
        assert await window_s(stores.database) == 200
        await set_window(stores.database, 300)

    with_stores(scenario)


def test_a_moment_whose_history_is_gone_is_said(with_stores: With, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moment, "BATCH_DOCUMENTS", 5)

    async def scenario(stores: Stores) -> None:
        await fill(stores.database, 2_000)
        made = Dump(stores.database, has_clicks=True, monotonic=time.monotonic, wall=time.time)
        await made.open(io.BytesIO())
        assert await made.step()
        await set_window(stores.database, 0)  # as where another hand, or no right, keeps it short

        async def read_on() -> None:
            while await made.step():
                await stores.database["checkpoints"].update_one({}, {"$inc": {"applied": 1}})

        with pytest.raises(MomentLostError, match="no longer one point in time after"):
            await read_on()
        await made.close()
        await set_window(stores.database, 300)

    with_stores(scenario)


def test_without_clicks_nothing_that_counts_is_in_it(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await fill(stores.database, 20)
        head = verify(io.BytesIO(await dump(stores.database, has_clicks=False))).head
        assert not head.has_clicks
        assert [row.name for row in head.collections] == ["checkpoints", "links"]
        assert [row.indexes for row in head.collections][1] == [{"key": {"link": 1}, "name": "link_1", "unique": True}]

    with_stores(scenario)


def test_data_that_is_not_whole_or_newer_is_not_kept(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await stores.database[SCHEMA].insert_one({"_id": RESTORE_ID, "file": "x.backup"})
        with pytest.raises(HalfRestoredError, match=r"boltlink restore x\.backup"):
            await dump(stores.database)
        await stores.database[SCHEMA].replace_one({}, {"_id": RESTORE_ID})
        await stores.database[SCHEMA].delete_many({})
        await stores.database[SCHEMA].insert_one({"_id": "boltlink", "version": SCHEMA_VERSION + 1})
        with pytest.raises(SchemaError):
            await dump(stores.database)

    with_stores(scenario)
