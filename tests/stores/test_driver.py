"""A call that is cancelled ends, and takes no lock of PyMongo's with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pymongo import lock as locks
from pymongo.asynchronous import topology

from app.stores import open_mongodb
from tests.conftest import Stores

TOPOLOGY: Any = topology  # what is looked at is nothing that it exports
TURNS = 40  # of the loop: either client has sent its command and has the reply before


async def turn_until(fact: Callable[[], bool]) -> None:
    for _ in range(100_000):
        if fact():
            return
        await asyncio.sleep(0)
    raise AssertionError("never")


async def cancel_while_the_lock_becomes_free() -> bool:
    """Whether the lock is free afterwards."""
    lock = locks._async_create_lock()
    condition = locks._async_create_condition(lock)

    async def wait() -> None:
        async with lock:
            await TOPOLOGY._async_cond_wait(condition, 0.001)

    call = asyncio.create_task(wait())
    await turn_until(lambda: bool(condition._waiters))
    await lock.acquire()
    await turn_until(lambda: not condition._waiters)  # its time is up, and it needs the lock to go on
    call.cancel()
    lock.release()
    assert isinstance((await asyncio.gather(call, return_exceptions=True))[0], asyncio.CancelledError)
    await asyncio.sleep(0)
    return not lock.locked()


def test_cancelled_wait_leaves_the_lock_free() -> None:
    open_mongodb("mongodb://127.0.0.1:1/?replicaSet=rs0")  # connects when first used
    assert asyncio.run(cancel_while_the_lock_becomes_free())


@pytest.mark.parametrize("store", ["redis", "mongodb"])
def test_call_that_is_cancelled_ends_there(with_stores: Callable[..., None], store: str) -> None:
    async def scenario(stores: Stores) -> None:
        async def ask() -> None:
            await (stores.redis.ping() if store == "redis" else stores.database.command("ping"))

        for turns in range(TURNS):
            await ask()  # connects
            call = asyncio.create_task(ask())
            for _ in range(turns):
                await asyncio.sleep(0)
            is_cancelled = call.cancel()  # else it had its reply
            await asyncio.wait([call])
            assert call.cancelled() == is_cancelled, turns

    with_stores(scenario)


def test_wait_ends_when_it_is_notified_and_when_its_time_is_up() -> None:
    async def scenario() -> None:
        condition = locks._async_create_condition(locks._async_create_lock())
        async with condition:
            assert not await TOPOLOGY._async_cond_wait(condition, 0.001)
            asyncio.get_running_loop().call_soon(condition._notify, 1)
            assert await TOPOLOGY._async_cond_wait(condition, None)

    asyncio.run(scenario())
