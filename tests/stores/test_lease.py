"""A lease has one holder, each under a higher number, and a stale one changes nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest
from pymongo.errors import OperationFailure

from app.stores import LEASES, Lease, LeaseLostError, mongodb_url
from tests.conftest import Engines, Stores

With = Callable[[Callable[[Stores], Awaitable[None]]], None]


def lease_of(stores: Stores, holder: str, *, life_s: float = 60.0) -> Lease:
    return Lease(stores.database, "work", holder=holder, monotonic=time.monotonic, life_s=life_s)


async def expire(stores: Stores) -> None:
    """The holder's time is over."""
    await stores.database[LEASES].update_one({"_id": "work"}, [{"$set": {"until": "$$NOW"}}])


async def write(stores: Stores, lease: Lease, text: str) -> None:
    """An effect that only the holder may have."""
    async with stores.database.client.start_session() as session, await session.start_transaction():
        await lease.check_in(session)
        await stores.database["effects"].insert_one({"text": text}, session=session)


async def effects(stores: Stores) -> list[str]:
    return [row["text"] async for row in stores.database["effects"].find().sort("_id")]


def test_one_of_many_holds_it(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        leases = [lease_of(stores, f"h{number}") for number in range(8)]
        taken = await asyncio.gather(*(lease.acquire() for lease in leases))
        assert sum(taken) == 1
        (holder,) = [lease for lease in leases if lease.is_held]
        assert holder.epoch == 1
        await holder.renew()
        assert not any([await lease.acquire() for lease in leases if lease is not holder])
        assert await holder.acquire()
        assert holder.epoch == 1

    with_stores(scenario)


def test_it_passes_on_when_given_back_or_expired_with_a_higher_number(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        first, second, third = (lease_of(stores, name) for name in "abc")
        assert await first.acquire()
        await first.renew({"token": "t1"})
        await first.release()
        assert not first.is_held
        assert await second.acquire()
        assert (second.epoch, second.kept) == (2, {"token": "t1"})
        await expire(stores)
        assert await third.acquire()
        assert (third.epoch, third.kept) == (3, {"token": "t1"})
        with pytest.raises(LeaseLostError) as caught:
            await second.renew({"token": "late"})
        assert (caught.value.name, caught.value.epoch, second.is_held) == ("work", 2, False)
        row = await stores.database[LEASES].find_one({"_id": "work"})
        assert row is not None
        assert (row["holder"], row["kept"]) == ("c", {"token": "t1"})

    with_stores(scenario)


def test_holder_whose_time_is_over_goes_on_if_nobody_came(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        lease = lease_of(stores, "a")
        assert await lease.acquire()
        await expire(stores)
        await lease.renew()
        assert not await lease_of(stores, "b").acquire()

    with_stores(scenario)


def test_next_run_of_a_holder_has_it_at_once_but_only_as_its_first_act(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        killed, restarted = lease_of(stores, "a"), lease_of(stores, "a")
        assert await killed.acquire()
        assert await restarted.acquire()
        assert restarted.epoch == 2
        with pytest.raises(LeaseLostError):
            await killed.renew()
        assert not await killed.acquire()  # two machines with one name don't take turns

    with_stores(scenario)


def test_renewal_is_due_after_a_third_of_its_life(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        now = 100.0
        lease = Lease(stores.database, "work", holder="a", monotonic=lambda: now, life_s=9.0)
        assert await lease.acquire()
        due = []
        for step_s in (2.9, 0.2):
            now += step_s
            due.append(lease.is_due)
        await lease.renew()
        assert [*due, lease.is_due] == [False, True, False]

    with_stores(scenario)


def test_transaction_of_a_stale_holder_is_refused(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        stale, fresh = lease_of(stores, "a"), lease_of(stores, "b")
        assert await stale.acquire()
        await write(stores, stale, "before")
        await expire(stores)
        assert await fresh.acquire()
        with pytest.raises(LeaseLostError):
            await write(stores, stale, "stale")
        await write(stores, fresh, "fresh")
        assert await effects(stores) == ["before", "fresh"]
        assert not stale.is_held

    with_stores(scenario)


def test_who_takes_over_waits_for_a_transaction_that_checked_in(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        first, second = lease_of(stores, "a", life_s=0.001), lease_of(stores, "b")
        assert await first.acquire()
        async with stores.database.client.start_session() as session, await session.start_transaction():
            await first.check_in(session)
            taking = asyncio.create_task(second.acquire())
            await stores.database["effects"].insert_one({"text": "first"}, session=session)
            assert not taking.done()
        assert await taking
        await write(stores, second, "second")
        assert await effects(stores) == ["first", "second"]

    with_stores(scenario)


@pytest.fixture
def short_transactions(with_stores: With) -> Iterator[None]:
    """MongoDB ends a transaction that is left open after a second, rather than 15."""

    async def limit(stores: Stores, seconds: int) -> int:
        admin = stores.database.client["admin"]
        answer = await admin.command({"setParameter": 1, "transactionLifetimeLimitSeconds": seconds})
        return int(answer["was"])

    before: list[int] = []

    async def shorten(stores: Stores) -> None:
        before.append(await limit(stores, 1))

    async def restore(stores: Stores) -> None:
        await limit(stores, before[0])

    with_stores(shorten)
    yield
    with_stores(restore)


@pytest.mark.usefixtures("short_transactions")
def test_transaction_that_is_left_open_holds_the_next_one_up_only_as_long_as_mongodb_bears_it(
    with_stores: With,
) -> None:
    async def scenario(stores: Stores) -> None:
        stopped, fresh = lease_of(stores, "a", life_s=0.001), lease_of(stores, "b")
        assert await stopped.acquire()
        async with stores.database.client.start_session() as session:
            await session.start_transaction()
            await stopped.check_in(session)
            await stores.database["effects"].insert_one({"text": "stopped"}, session=session)
            assert await fresh.acquire()
            with pytest.raises(OperationFailure):
                await session.commit_transaction()
        assert await effects(stores) == []

    with_stores(scenario)


def test_takeover_during_a_transaction_ends_it(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        stale, fresh = lease_of(stores, "a"), lease_of(stores, "b")
        assert await stale.acquire()
        tries = 0

        async def work(session: object) -> None:
            nonlocal tries
            tries += 1
            await stores.database["effects"].insert_one({"text": "stale"}, session=session)  # type: ignore[arg-type]
            if tries == 1:
                await expire(stores)
                assert await fresh.acquire()
            await stale.check_in(session)  # type: ignore[arg-type]

        async with stores.database.client.start_session() as session:
            with pytest.raises(LeaseLostError):
                await session.with_transaction(work)
        assert tries == 2  # a write conflict first, then no match
        assert await effects(stores) == []

    with_stores(scenario)


PROGRAM = """
import asyncio, sys, time
from pymongo.errors import PyMongoError
from app.stores import Lease, LeaseLostError, open_mongodb

async def main(url, holder):
    database = open_mongodb(url)
    lease = Lease(database, "work", holder=holder, monotonic=time.monotonic, life_s=1.0)
    number = 0
    while True:
        try:
            if not await lease.acquire():
                await asyncio.sleep(0.05)
                continue
            async with database.client.start_session() as session, await session.start_transaction():
                row = {"holder": holder, "epoch": lease.epoch}
                await database["effects"].insert_one(row, session=session)
                await lease.check_in(session)
        except PyMongoError:
            pass  # stopped for longer than MongoDB keeps a transaction
        except LeaseLostError as error:
            await database["lost"].insert_one({"holder": holder, "epoch": error.epoch})

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.usefixtures("short_transactions")
def test_stopped_and_killed_processes_are_replaced_and_change_nothing_afterwards(
    engines: Engines, with_stores: With
) -> None:
    async def scenario(stores: Stores) -> None:
        url = mongodb_url(engines.settings).replace("/?", f"/{stores.database.name}?")
        processes: dict[str, subprocess.Popen[bytes]] = {}

        async def wait(collection: str, holder: str, epoch: int) -> None:
            async with asyncio.timeout(30):
                while await stores.database[collection].find_one({"holder": holder, "epoch": epoch}) is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)  # another process's fact

        async def written(epoch: int) -> int:
            return await stores.database["effects"].count_documents({"epoch": epoch})

        def start(holder: str) -> None:
            processes[holder] = subprocess.Popen([sys.executable, "-c", PROGRAM, url, holder])

        try:
            start("a")
            await wait("effects", "a", 1)
            start("b")
            os.kill(processes["a"].pid, signal.SIGSTOP)
            await wait("effects", "b", 2)
            by_first = await written(1)
            os.kill(processes["a"].pid, signal.SIGCONT)
            await wait("lost", "a", 1)
            assert await written(1) == by_first
            os.kill(processes["b"].pid, signal.SIGKILL)
            await wait("effects", "a", 3)
            assert await written(1) == by_first
        finally:
            for process in processes.values():
                process.kill()
                process.wait()

    with_stores(scenario)
