"""The clients reach real engines over unix sockets."""

from __future__ import annotations

from collections.abc import Callable

from tests.conftest import Stores


def test_both_stores_answer(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        await stores.redis.set("a", b"1")
        assert await stores.redis.get("a") == b"1"
        await stores.database["x"].insert_one({"_id": 1})
        assert await stores.database["x"].find_one({}) == {"_id": 1}

    with_stores(scenario)
