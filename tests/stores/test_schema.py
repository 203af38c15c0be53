"""A database gets its indexes once, and one that needs a newer program is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pymongo import IndexModel

from app.links import INDEXES, LINKS
from app.stores.schema import (
    OLDEST_VERSION,
    SCHEMA,
    SCHEMA_VERSION,
    SchemaError,
    SchemaState,
    Shape,
    make_schema,
    missing_indexes,
    read_schema,
)
from tests.conftest import Stores

With = Callable[[Callable[[Stores], Awaitable[None]]], None]
SHAPE = Shape({LINKS: INDEXES})


async def stored(stores: Stores) -> dict[str, Any]:
    row = await stores.database[SCHEMA].find_one({"_id": "boltlink"})
    assert row is not None
    return dict(row)


async def put(stores: Stores, **fields: Any) -> None:
    await stores.database[SCHEMA].insert_one({"_id": "boltlink", **fields})


def test_new_database_gets_its_indexes_and_version_by_many_at_once(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        assert await read_schema(stores.database, SHAPE) is SchemaState.NEW
        await asyncio.gather(*(make_schema(stores.database, SHAPE) for _ in range(8)))
        assert len(await stores.database[LINKS].index_information()) == len(INDEXES) + 1
        row = await stored(stores)
        assert (row["version"], row["oldest"]) == (SCHEMA_VERSION, OLDEST_VERSION)
        assert await read_schema(stores.database, SHAPE) is SchemaState.CURRENT

    with_stores(scenario)


def test_other_indexes_at_the_same_version_are_made(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await make_schema(stores.database, SHAPE)
        more = Shape({LINKS: [*INDEXES, IndexModel([("title", 1)])]})
        assert await read_schema(stores.database, more) is SchemaState.OUTDATED
        await make_schema(stores.database, more)
        assert "title_1" in await stores.database[LINKS].index_information()
        assert await read_schema(stores.database, more) is SchemaState.CURRENT

    with_stores(scenario)


def test_an_index_that_somebody_dropped_is_made_again(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await make_schema(stores.database, SHAPE)
        name = str(INDEXES[1].document["name"])
        await stores.database[LINKS].drop_index(name)
        assert await missing_indexes(stores.database, SHAPE) == [f"{LINKS}.{name}"]
        assert await read_schema(stores.database, SHAPE) is SchemaState.OUTDATED
        await make_schema(stores.database, SHAPE)
        assert await read_schema(stores.database, SHAPE) is SchemaState.CURRENT
        assert await missing_indexes(stores.database, SHAPE) == []

    with_stores(scenario)


def test_older_version_is_raised_and_obsolete_indexes_are_dropped(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await stores.database[LINKS].create_index("notes")
        await put(stores, version=SCHEMA_VERSION - 1)
        shape = Shape({LINKS: INDEXES}, {LINKS: ["notes_1", "never_there_1"], "no_collection": ["a_1"]})
        await make_schema(stores.database, shape)
        assert (await stored(stores))["version"] == SCHEMA_VERSION
        assert "notes_1" not in await stores.database[LINKS].index_information()

    with_stores(scenario)


def test_newer_database_that_bears_this_program_is_not_changed(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await put(stores, version=SCHEMA_VERSION + 1, oldest=SCHEMA_VERSION, digest="its own")
        assert await read_schema(stores.database, SHAPE) is SchemaState.CURRENT
        await make_schema(stores.database, SHAPE)
        assert await stores.database.list_collection_names() == [SCHEMA]
        assert (await stored(stores))["digest"] == "its own"

    with_stores(scenario)


@pytest.mark.parametrize("row", [{"version": SCHEMA_VERSION + 1}, {"version": 99, "oldest": SCHEMA_VERSION + 1}])
def test_database_that_needs_a_newer_program_is_refused_and_not_changed(with_stores: With, row: dict[str, int]) -> None:
    async def scenario(stores: Stores) -> None:
        await put(stores, **row)
        with pytest.raises(SchemaError, match=f"version {SCHEMA_VERSION + 1} or later") as caught:
            await make_schema(stores.database, SHAPE)
        assert caught.value.oldest == SCHEMA_VERSION + 1
        assert await stores.database.list_collection_names() == [SCHEMA]

    with_stores(scenario)
