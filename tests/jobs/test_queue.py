"""A job is claimed by one, written under its claim alone, and never forgotten; real MongoDB."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from app.jobs import JOBS, Claimed, JobQueue, JobState, NewJob
from app.jobs.queue import DROPPED_MAX, ENQUEUED_MAX, SWEPT_MAX
from app.stores import transact
from tests.conftest import Stores
from tests.jobs.work import Number, job, queue_of

With = Callable[..., None]
ALL = {"test": 3}


async def claim(queue: JobQueue, run: str = "r1") -> Claimed:
    lane = await queue.next_lane("test", after="", is_included=True)
    assert lane is not None
    found = await queue.claim("test", lane, run)
    assert found is not None
    return found


async def state_of(stores: Stores, number: int = 1) -> tuple[str, int, int]:
    row = await stores.database[JOBS].find_one({"_id": job(number).id})
    assert row is not None
    return row["state"], row["claim"], row["attempts"]


async def expire(stores: Stores) -> None:
    """Every claim ran out a moment ago."""
    await stores.database[JOBS].update_many({"state": "running"}, [{"$set": {"due": {"$subtract": ["$$NOW", 1]}}}])


def test_a_job_asked_for_twice_is_one_and_stays_as_it_is(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        queue = await queue_of(stores)
        assert await queue.enqueue([job(1), job(2)]) == 2
        await queue.finish(await claim(queue), {"done": True})
        before = await stores.database[JOBS].find({}).to_list()
        assert await queue.enqueue([job(1), job(2, order=99)]) == 0
        assert await stores.database[JOBS].find({}).to_list() == before

    with_stores(scenario)


def test_a_job_of_a_transaction_that_fails_is_none(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        queue = await queue_of(stores)

        async def fails(session: Any) -> None:
            await queue.enqueue([job(1)], session)
            raise LookupError

        with pytest.raises(LookupError):
            await transact(stores.database, fails)
        assert await stores.database[JOBS].count_documents({}) == 0
        await transact(stores.database, lambda session: queue.enqueue([job(1)], session))
        assert await state_of(stores) == ("ready", 0, 0)

    with_stores(scenario)


def test_more_jobs_than_one_write_takes_are_all_written_and_forgotten(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        queue = await queue_of(stores)
        many = [job(number) for number in range(DROPPED_MAX + 1)]
        assert len(many) > ENQUEUED_MAX
        assert await queue.enqueue([*many, job(-1, lane="other/lane")]) == len(many) + 1
        assert await queue.drop_lane(many[0].lane)
        assert await stores.database[JOBS].count_documents({}) == 2
        assert not await queue.drop_lane(many[0].lane)
        rows = await stores.database[JOBS].find().to_list()
        assert [row["lane"] for row in rows] == ["other/lane"]

    with_stores(scenario)


def test_of_many_who_claim_one_gets_it(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        queue = await queue_of(stores)
        await queue.enqueue([job(1)])
        found = await asyncio.gather(*(queue.claim("test", "ann/a", f"r{n}") for n in range(20)))
        assert len([one for one in found if one is not None]) == 1
        assert await state_of(stores) == ("running", 1, 1)

    with_stores(scenario)


def test_a_lane_is_served_in_its_order(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        queue = await queue_of(stores)
        await queue.enqueue([job(1, order=3), job(2, order=1), job(3, order=2)])
        assert [(await claim(queue)).payload["number"] for _ in range(3)] == [2, 3, 1]

    with_stores(scenario)


@pytest.mark.parametrize("end", ["finish", "retry", "bury", "give_back"])
def test_who_lost_the_claim_writes_nothing(with_stores: With, end: str) -> None:
    """As a program does that stood still past its claim's end."""

    async def scenario(stores: Stores) -> None:
        queue = await queue_of(stores)
        await queue.enqueue([job(1)])
        stale = await claim(queue, "r1")
        await expire(stores)
        assert (await queue.sweep(ALL)).lost == {"test": 1}
        current = await claim(queue, "r2")
        ends: dict[str, Callable[[Claimed], Any]] = {
            "finish": lambda one: queue.finish(one, {}),
            "retry": lambda one: queue.retry(one, {}, "why", 1.0),
            "bury": lambda one: queue.bury(one, {}, "why"),
            "give_back": queue.give_back,
        }
        await queue.hold("r1", [stale.id])
        before = await stores.database[JOBS].find_one({})
        assert not await ends[end](stale)
        assert await stores.database[JOBS].find_one({}) == before
        assert await ends[end](current)
        assert not await ends[end](current)

    with_stores(scenario)


def test_a_claim_that_is_held_does_not_run_out(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        queue = await queue_of(stores)
        await queue.enqueue([job(1)])
        held = await claim(queue)
        await expire(stores)
        await queue.hold("r1", [held.id])
        assert (await queue.sweep(ALL)).ready == 0
        assert await queue.finish(held, {})

    with_stores(scenario)


def test_a_job_whose_programs_all_die_is_dead_after_its_last_attempt(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        queue = await queue_of(stores)
        await queue.enqueue([job(1)])
        for attempt in range(1, 4):
            assert (await claim(queue)).attempts == attempt
            await expire(stores)
            swept = await queue.sweep(ALL)
            assert (swept.lost, swept.dead) == (({"test": 1}, {}) if attempt < 3 else ({}, {"test": 1}))
        assert (await state_of(stores))[0] == "dead"

    with_stores(scenario)


def test_a_delayed_job_waits_for_its_time(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        queue = await queue_of(stores)
        await queue.enqueue([job(1, delay_s=0.1)])
        assert await queue.next_lane("test", after="", is_included=True) is None

        found: list[int] = []

        async def sweep() -> None:
            while not found:
                found.extend([(await queue.sweep(ALL)).ready] if await is_due() else [])

        async def is_due() -> bool:
            due = {"$expr": {"$lte": ["$due", "$$NOW"]}}
            return await stores.database[JOBS].find_one(due) is not None

        await asyncio.wait_for(sweep(), 5)
        assert found == [1]
        assert (await claim(queue)).attempts == 1

    with_stores(scenario)


def test_a_sweep_takes_so_many_and_says_that_there_are_more(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        queue = await queue_of(stores)
        await queue.enqueue([job(number, delay_s=0.001) for number in range(SWEPT_MAX + 1)])
        await asyncio.sleep(0.01)
        first, second = await queue.sweep(ALL), await queue.sweep(ALL)
        assert (first.ready, first.is_more, second.ready, second.is_more) == (SWEPT_MAX, True, 1, False)

    with_stores(scenario)


def test_kinds_that_are_not_known_are_left_alone(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        queue = await queue_of(stores)
        await queue.enqueue([NewJob(id="x", kind="of.tomorrow", lane="a/b", payload=Number(1), order=1)])
        await stores.database[JOBS].update_one({}, [{"$set": {"state": "running", "due": "$$NOW"}}])
        before = await stores.database[JOBS].find_one({})
        await queue.sweep(ALL)
        assert await queue.next_lane("test", after="", is_included=True) is None
        assert await stores.database[JOBS].find_one({}) == before

    with_stores(scenario)


def test_dead_jobs_are_listed_page_by_page_and_done_again_by_hand(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        queue = await queue_of(stores)
        await queue.enqueue([job(number) for number in range(5)])
        for _ in range(5):
            await queue.bury(await claim(queue), {"status": 500}, "e" * 1000)
        seen, place = list[str](), None
        for _ in range(3):
            views, place = await queue.page(JobState.DEAD, ["test", "other"], limit=2, after=place)
            seen += [view.id for view in views]
        assert place is None
        assert seen == [job(number).id for number in (4, 3, 2, 1, 0)]
        assert (len(views[0].error), views[0].note) == (300, {"status": 500})
        view = await queue.again({"_id": job(3).id})
        assert view is not None
        assert (view.state, view.attempts) == (JobState.READY, 0)
        row = await stores.database[JOBS].find_one({"_id": job(3).id})
        assert row is not None
        assert "forget" not in row
        assert (await claim(queue)).id == job(3).id
        assert await queue.again({"_id": job(3).id}) is None  # it is just being done
        assert await queue.again({"_id": "none"}) is None

    with_stores(scenario)


def test_what_is_over_is_forgotten_by_mongodb_one_day(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        queue = await queue_of(stores, kept_s=3600)
        await queue.enqueue([job(1)])
        await queue.finish(await claim(queue), {})
        row = await stores.database[JOBS].find_one({})
        assert row is not None
        assert (row["forget"] - row["due"]).total_seconds() == 3600
        index = (await stores.database[JOBS].index_information())["forget_1"]
        assert index["expireAfterSeconds"] == 0

    with_stores(scenario)


def test_what_waits_is_counted_by_indexes(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        queue = await queue_of(stores)
        assert await queue.oldest_s(["test"]) == 0
        await queue.enqueue([*(job(number) for number in range(3)), job(9, delay_s=100)])
        assert await queue.count(JobState.READY, ["test"]) == 3
        assert await queue.count_waiting("test", "ann/a", 100) == 4
        assert await queue.count_waiting("test", "ann/a", 2) == 2
        assert await queue.count_lanes("test", ["ann/a", "none/a"]) == {"ann/a": 4}
        await stores.database[JOBS].update_one(
            {"_id": job(1).id}, [{"$set": {"due": {"$subtract": ["$$NOW", 60_000]}}}]
        )
        assert 60 <= await queue.oldest_s(["test", "other"]) < 90
        views, following = await queue.page_of_lane("ann/a", limit=3)
        assert ([view.id for view in views], following) == ([job(n).id for n in (9, 2, 1)], job(1).id)
        assert [view.id for view in (await queue.page_of_lane("ann/a", limit=3, after=following))[0]] == [job(0).id]

    with_stores(scenario)


def test_every_question_has_an_index(with_stores: With) -> None:
    """MongoDB looks at no more documents than it answers with, among many that nobody asked for."""

    async def scenario(stores: Stores) -> None:
        queue = await queue_of(stores)
        await queue.enqueue([job(n, f"o{n % 10}/w", delay_s=100 * (n % 2)) for n in range(2_000)])
        await stores.database.command("profile", 2)
        lane = await queue.next_lane("test", after="o3/", is_included=True)
        assert lane == "o4/w"
        held = await claim(queue)
        await queue.hold("r1", [held.id])
        await queue.retry(held, {}, "why", 0.0)
        await queue.sweep(ALL)
        await queue.bury(await claim(queue), {}, "why")
        await queue.page(JobState.DEAD, ["test", "other"], limit=5)
        await queue.page_of_lane("o4/w", limit=5)
        await queue.oldest_s(["test"])
        await queue.again({"_id": held.id})
        await stores.database.command("profile", 0)
        told = await stores.database["system.profile"].find({"ns": f"{stores.database.name}.jobs"}).to_list()
        looked = [(row["op"], row.get("docsExamined", 0), row.get("keysExamined", 0)) for row in told]
        assert len(told) > 10
        assert [row for row in looked if row[1] > 10 or row[2] > 20] == []

    with_stores(scenario)
