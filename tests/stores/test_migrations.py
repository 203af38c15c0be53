"""Migrations: every document once, from where a killed one stopped, and again for what old programs wrote."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from app.stores.migrations import BATCH, REST_S, SETTLE_S, Migration, Migrations, mark_migrated
from app.stores.schema import SCHEMA
from tests.conftest import Stores

With = Callable[[Callable[[Stores], Awaitable[None]]], None]
THINGS = "things"


def double(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"$set": {"double": row["value"] * 2}}


MIGRATION = Migration(
    version=7,
    name="double",
    collection=THINGS,
    missing={"double": {"$exists": False}},
    change=double,
    same=("version",),
)


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 25, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def make(stores: Stores, clock: Clock, migration: Migration = MIGRATION, batch: int = 10) -> Migrations:
    return Migrations(stores.database, [migration], now=clock, tell=lambda *_, **__: None, batch=batch)


async def fill(stores: Stores, first: int, count: int) -> None:
    rows = [{"_id": f"{n:06d}", "value": n, "version": 1} for n in range(first, first + count)]
    await stores.database[THINGS].insert_many(rows)


async def missing(stores: Stores) -> int:
    return await stores.database[THINGS].count_documents({"double": {"$exists": False}})


async def row(stores: Stores) -> dict[str, Any]:
    found = await stores.database[SCHEMA].find_one({"_id": 7})
    assert found is not None
    return dict(found)


async def run_pass(migrations: Migrations) -> None:
    while await migrations.step():
        pass


def test_every_document_is_changed_and_passes_end_an_hour_later(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        clock = Clock()
        await fill(stores, 0, 35)
        migrations = make(stores, clock)
        await run_pass(migrations)
        assert await missing(stores) == 0
        assert (migrations.counts.changed, migrations.counts.pending, migrations.counts.progress) == (35, 1, 1.0)
        assert not await migrations.step()  # between two passes
        clock.advance(SETTLE_S)
        await run_pass(migrations)
        assert (await row(stores))["ended"] == clock.now
        assert not await migrations.step()
        assert migrations.counts.pending == 0

    with_stores(scenario)


def test_killed_migration_goes_on_behind_its_position(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        clock = Clock()
        await fill(stores, 0, 100)
        first = make(stores, clock)
        for _ in range(3):
            await first.step()
        assert (await row(stores))["position"] == "000029"
        second = make(stores, clock)
        await second.step()
        assert second.counts.progress == 0.4
        await run_pass(second)
        assert second.counts.changed == 70
        assert await missing(stores) == 0
        assert (await row(stores))["changed"] == 100

    with_stores(scenario)


def test_batch_whose_position_was_not_kept_changes_nothing_twice(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        clock = Clock()
        await fill(stores, 0, 30)
        first = make(stores, clock)
        await first.step()
        await first.step()
        await stores.database[SCHEMA].update_one({"_id": 7}, {"$set": {"position": "000009"}})
        second = make(stores, clock)
        await run_pass(second)
        assert second.counts.changed == 10
        assert await missing(stores) == 0

    with_stores(scenario)


def test_what_an_old_program_writes_behind_the_position_comes_with_the_next_pass(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        clock = Clock()
        await fill(stores, 100, 30)
        migrations = make(stores, clock)
        await run_pass(migrations)
        await fill(stores, 0, 5)
        clock.advance(REST_S)
        await run_pass(migrations)
        assert await missing(stores) == 0
        assert "ended" not in await row(stores)
        await fill(stores, 50, 5)
        clock.advance(SETTLE_S)
        await run_pass(migrations)  # settled, but it changed something: another pass must find nothing
        assert "ended" not in await row(stores)
        clock.advance(REST_S)
        await run_pass(migrations)
        assert "ended" in await row(stores)

    with_stores(scenario)


def test_document_that_another_changes_meanwhile_keeps_the_other_change(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        clock = Clock()
        await fill(stores, 0, 3)
        documents = await stores.database[THINGS].find().to_list()
        await stores.database[THINGS].update_one({"_id": "000001"}, {"$set": {"value": 50, "version": 2}})
        migrations = make(stores, clock)
        assert await migrations._change(MIGRATION, documents) == (2, 0)
        assert await stores.database[THINGS].find_one({"_id": "000001", "double": {"$exists": True}}) is None
        await run_pass(migrations)
        changed = await stores.database[THINGS].find_one({"_id": "000001"})
        assert changed is not None
        assert changed["double"] == 100

    with_stores(scenario)


def test_document_that_cannot_be_changed_stops_nothing(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        clock = Clock()
        await fill(stores, 0, 25)
        await stores.database[THINGS].update_one({"_id": "000003"}, {"$unset": {"value": ""}})
        migrations = make(stores, clock)
        await run_pass(migrations)
        assert (migrations.counts.changed, migrations.counts.failed) == (24, 1)
        clock.advance(SETTLE_S)
        await run_pass(migrations)
        assert "ended" in await row(stores)

    with_stores(scenario)


def test_new_database_has_nothing_to_migrate(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await mark_migrated(stores.database, [MIGRATION])
        migrations = make(stores, Clock())
        assert not await migrations.step()
        assert migrations.counts.pending == 0

    with_stores(scenario)


def test_documents_without_a_word_of_their_migration_are_looked_at(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await fill(stores, 0, 1)
        await mark_migrated(stores.database, [MIGRATION])
        assert await make(stores, Clock(), batch=BATCH).step()
        assert await missing(stores) == 0

    with_stores(scenario)
