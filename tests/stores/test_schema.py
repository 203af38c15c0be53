"""A database gets its indexes once, and a newer one is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from app.links import INDEXES, LINKS
from app.stores.schema import SCHEMA, SCHEMA_VERSION, SchemaError, prepare_schema
from tests.conftest import Stores

With = Callable[[Callable[[Stores], Awaitable[None]]], None]


def test_new_database_gets_its_indexes_and_version_by_many_at_once(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await asyncio.gather(*(prepare_schema(stores.database, {LINKS: INDEXES}) for _ in range(8)))
        await prepare_schema(stores.database, {LINKS: INDEXES})
        assert len(await stores.database[LINKS].index_information()) == len(INDEXES) + 1
        assert [row["version"] async for row in stores.database[SCHEMA].find()] == [SCHEMA_VERSION]

    with_stores(scenario)


def test_older_version_is_raised(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await stores.database[SCHEMA].insert_one({"_id": "boltlink", "version": SCHEMA_VERSION - 1})
        await prepare_schema(stores.database, {})
        assert [row["version"] async for row in stores.database[SCHEMA].find()] == [SCHEMA_VERSION]

    with_stores(scenario)


def test_newer_database_is_refused_and_not_changed(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await stores.database[SCHEMA].insert_one({"_id": "boltlink", "version": SCHEMA_VERSION + 1})
        with pytest.raises(SchemaError, match=f"version {SCHEMA_VERSION + 1}") as caught:
            await prepare_schema(stores.database, {LINKS: INDEXES})
        assert caught.value.stored == SCHEMA_VERSION + 1
        assert await stores.database.list_collection_names() == [SCHEMA]

    with_stores(scenario)
