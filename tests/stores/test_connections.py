"""The clients reach real engines over unix sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from pymongo.errors import PyMongoError

from app.stores import mongodb_url, open_mongodb
from tests.conftest import Engines, Stores


def test_both_stores_answer(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        await stores.redis.set("a", b"1")
        assert await stores.redis.get("a") == b"1"
        await stores.database["x"].insert_one({"_id": 1})
        assert await stores.database["x"].find_one({}) == {"_id": 1}

    with_stores(scenario)


def test_the_database_is_the_one_that_the_url_names_by_a_record_of_dns_too() -> None:
    async def scenario() -> None:
        for url, name in (
            ("mongodb://one,two/links?replicaSet=rs0", "links"),
            ("mongodb://%2Ftmp%2Fmongod.sock/a%2Db.c?replicaSet=rs0", "a-b"),
            ("mongodb+srv://u:p%40@db.example/links", "links"),
            ("mongodb+srv://db.example/?w=1", "boltlink"),
            ("mongodb://one", "boltlink"),
        ):
            database = open_mongodb(url)
            assert (url, database.name) == (url, name)
            await database.client.close()

    asyncio.run(scenario())


def test_a_mongodb_that_hangs_is_given_up_by_who_asks_often_whether_it_lives(engines: Engines) -> None:
    async def scenario() -> None:
        database = open_mongodb(mongodb_url(engines.settings), heartbeat_s=1.0)
        try:
            await database["x"].find_one({})
            with engines.frozen("mongod"):
                async with asyncio.timeout(9.0):  # with the driver's own heartbeat it is 10 to 14
                    with pytest.raises(PyMongoError):
                        await database["x"].find_one({})
            async with asyncio.timeout(30.0):
                while True:
                    try:
                        await database["x"].find_one({})
                        break
                    except PyMongoError:
                        continue
        finally:
            await database.client.close()

    asyncio.run(scenario())
