"""Jobs are done at least once and recorded once, whatever fails, stops or goes away; real MongoDB and Redis."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import pytest

from app.jobs import JOBS, Bell, DropError, GiveUpError, RetryError, Runner, Task, ring
from tests.conftest import Engines, Stores, wait_until
from tests.jobs.work import Number, Work, job, kind_of, queue_of, running

With = Callable[..., None]


async def states(stores: Stores) -> Counter[str]:
    return Counter([row["state"] async for row in stores.database[JOBS].find({}, {"state": 1})])


async def settled(stores: Stores, count: int, limit_s: float = 60.0) -> Counter[str]:
    """Waits until all jobs are over."""
    async with asyncio.timeout(limit_s):
        while True:
            found = await states(stores)
            if found["done"] + found["dead"] == count:
                return found
            await asyncio.sleep(0.02)


def test_a_thousand_jobs_of_which_many_fail_are_each_done_and_recorded_once(with_stores: With) -> None:
    """Three programs, two of which end in between; the work fails, hangs, gives up and raises what it likes."""

    async def scenario(stores: Stores) -> None:
        queue, work, rng = await queue_of(stores), Work(), random.Random(7)

        async def unsure(payload: Number, task: Task) -> Mapping[str, Any]:
            if payload.number % 50 == 0:
                raise GiveUpError("never")
            if payload.number % 50 == 1:
                raise DropError("nobody wants it")
            if rng.random() < 0.3:
                raise rng.choice([RetryError("later"), ValueError("x"), OSError("y"), TimeoutError("z")])
            if rng.random() < 0.01:
                await asyncio.sleep(60)
            return await work(payload, task)

        await queue.enqueue([job(n, f"o{n % 7}/w{n % 3}") for n in range(1_000)])
        about: dict[str, Any] = {"attempts_max": 40, "limit_s": 0.5, "group_max": 30, "lane_max": 10}
        async with AsyncExitStack() as stack:
            first = await stack.enter_async_context(running(queue, stores, unsure, **about))
            for _ in range(2):
                async with running(queue, stores, unsure, **about):
                    await wait_until(lambda: sum(work.done.values()) > 100)
            found = await settled(stores, 1_000)
        assert found == {"done": 980, "dead": 20}
        doable = {n for n in range(1_000) if n % 50 > 1}
        assert work.done == Counter(doable)  # no claim ran out, so none was done twice
        assert first.results["test", "done"] <= 960
        assert first.running == 0

    with_stores(scenario)


def test_a_slow_owner_holds_up_no_other(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        queue, work = await queue_of(stores), Work()
        never = asyncio.Event()
        slow: list[int] = []

        async def some_hang(payload: Number, task: Task) -> Mapping[str, Any]:
            if payload.number < 500:
                slow.append(payload.number)
                await never.wait()
            return await work(payload, task)

        await queue.enqueue([job(n, f"hog/w{n % 20:02}") for n in range(500)])
        await queue.enqueue([job(n, f"p{n}/w") for n in range(500, 600)])
        async with running(queue, stores, some_hang, at_once=12):
            await wait_until(lambda: len(work.done) == 100)
            assert len(slow) == 8  # of its group, however many lanes it has
            never.set()
            await settled(stores, 600)

    with_stores(scenario)


@pytest.mark.parametrize(("lanes", "bound"), [(1, {"lane_max": 3}), (8, {"group_max": 3}), (8, {"most": 3})])
def test_no_more_are_done_at_once_than_a_lane_a_group_or_a_kind_may(
    with_stores: With, lanes: int, bound: dict[str, int]
) -> None:
    async def scenario(stores: Stores) -> None:
        queue, work = await queue_of(stores), Work(takes_s=0.02)
        await queue.enqueue([job(n, f"ann/{n % lanes}") for n in range(100)])
        async with running(queue, stores, work, **{"lane_max": 50, "group_max": 50, **bound}):
            await settled(stores, 100)
        assert work.most == 3

    with_stores(scenario)


def test_jobs_of_one_key_are_done_one_after_another_in_their_order(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        queue, rng = await queue_of(stores), random.Random(3)
        order: list[int] = []

        async def uneven(payload: Number, _: Task) -> Mapping[str, Any]:
            await asyncio.sleep(rng.random() * 0.01)
            order.append(payload.number)
            return {}

        await queue.enqueue([job(n, key=f"k{n % 5}") for n in range(200)])
        async with running(queue, stores, uneven):
            await settled(stores, 200)
        assert order != sorted(order)
        for key in range(5):
            assert [n for n in order if n % 5 == key] == list(range(key, 200, 5))

    with_stores(scenario)


def test_a_program_that_stood_still_past_its_claim_doubles_nothing(with_stores: With) -> None:
    """The first one learns only at its own end that another one has had the job meanwhile."""

    async def scenario(stores: Stores) -> None:
        queue, go_on = await queue_of(stores), asyncio.Event()
        effects: list[str] = []

        async def stale(payload: Number, task: Task) -> Mapping[str, Any]:
            task.held_until_s = time.monotonic()  # its loop stood still: nobody held the claim
            await stores.database[JOBS].update_one({}, [{"$set": {"due": "$$NOW"}}])
            await go_on.wait()
            task.check()
            effects.append("stale")
            return {"by": "stale"}

        async def fresh(payload: Number, task: Task) -> Mapping[str, Any]:
            task.check()
            effects.append("fresh")
            return {"by": "fresh"}

        await queue.enqueue([job(1)])
        async with running(queue, stores, stale) as first:
            await wait_until(lambda: first.running == 1)
            async with running(queue, stores, fresh, at_once=1):
                await settled(stores, 1)
            go_on.set()
            await wait_until(lambda: first.results["test", "lost"] >= 1)
        row = await stores.database[JOBS].find_one({})
        assert row is not None
        assert (row["note"], row["claim"], effects) == ({"by": "fresh"}, 2, ["fresh"])

    with_stores(scenario)


def test_what_is_not_done_in_time_at_the_end_is_given_back_as_it_was(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        queue, begun = await queue_of(stores), asyncio.Event()

        async def hangs(payload: Number, _: Task) -> Mapping[str, Any]:
            begun.set()
            await asyncio.sleep(600)
            return {}

        await queue.enqueue([job(1)])
        async with running(queue, stores, hangs, limit_s=600, drain_s=0.2) as runner:
            await asyncio.wait_for(begun.wait(), 10)
        row = await stores.database[JOBS].find_one({})
        assert row is not None
        assert (row["state"], row["attempts"], row["claim"]) == ("ready", 0, 1)
        assert runner.results["test", "returned"] == 1

    with_stores(scenario)


def test_a_ring_is_heard_at_once_and_without_redis_they_look_by_themselves(with_stores: With, engines: Engines) -> None:
    async def scenario(stores: Stores) -> None:
        queue, work = await queue_of(stores), Work()
        bell = Bell(stores.redis)
        listening = asyncio.create_task(bell.listen())
        await bell.wait(10)  # of the subscription
        began_s = time.monotonic()
        await ring(stores.redis)
        await bell.wait(10)
        assert time.monotonic() - began_s < 5
        with engines.frozen("redis"):
            async with running(queue, stores, work):
                await ring(stores.redis)
                await queue.enqueue([job(1)])
                await settled(stores, 1)
        listening.cancel()

    with_stores(scenario)


def test_mongodb_goes_away_and_comes_back(with_stores: With, engines: Engines) -> None:
    async def scenario(stores: Stores) -> None:
        queue, work = await queue_of(stores, lease_s=4.0), Work()
        await queue.enqueue([job(n, f"o{n % 9}/w") for n in range(400)])
        async with running(queue, stores, work):
            await wait_until(lambda: len(work.done) > 50)
            engines.stop("mongod")
            await asyncio.sleep(0.5)
            await asyncio.to_thread(engines.run, "mongod")
            found = await settled(stores, 400)
        assert found == {"done": 400}
        assert set(work.done) == set(range(400))

    with_stores(scenario)


def test_a_payload_that_cannot_be_read_makes_a_job_dead(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        queue, work = await queue_of(stores), Work()
        await queue.enqueue([job(1)])
        await stores.database[JOBS].update_one({}, {"$set": {"payload": {"number": "one"}}})
        async with running(queue, stores, work):
            assert await settled(stores, 1) == {"dead": 1}
        row = await stores.database[JOBS].find_one({})
        assert row is not None
        assert "payload" in row["error"]

    with_stores(scenario)


def test_what_ends_holding_and_sweeping_ends_the_program(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        queue = await queue_of(stores)
        broken = {
            "_id": "broken",
            "state": "running",
            "kind": "test",
            "lane": "a/b",
            "due": datetime(2026, 1, 1, tzinfo=UTC),
        }
        await stores.database[JOBS].insert_one(broken)  # by hand: without `attempts`
        runner = Runner(queue, [kind_of(Work())], Bell(stores.redis), run="r", chance=random.random)
        with pytest.raises(KeyError, match="attempts"):
            async with asyncio.timeout(30):
                await runner.work(asyncio.Event())

    with_stores(scenario)


def test_waiting_grows_to_its_limit_and_is_half_chance() -> None:
    from tests.jobs.work import kind_of

    kind = kind_of(Work(), first_s=5.0, factor=3.0, most_s=100.0)
    assert [kind.wait_s(n, 0.999999) // 1 for n in (1, 2, 3, 4, 1000)] == [4, 14, 44, 99, 99]
    assert [kind.wait_s(n, 0.0) for n in (1, 2)] == [2.5, 7.5]
