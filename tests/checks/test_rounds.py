"""Rounds over real links: bounded, even, going on where they were whatever is killed, by an index."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from app.checks import KIND, Rounds
from app.checks.checking import mark_of
from app.checks.pace import BATCH_MAX
from app.checks.rounds import job_of
from app.jobs import INDEXES as JOB_INDEXES
from app.jobs import JOBS, JobQueue, JobState, NewJob
from app.links import INDEXES, LINKS, Link, LinkState, LinkStore, LinkWalk
from app.links.rows import to_row
from app.stores import Lease, LeaseLostError
from tests.checks.world import count_of, rounds_of
from tests.conftest import Stores

WEEK = 7 * 86_400
NOW = 1_800_000_000.0
HOSTS = 50


class Killed(BaseException):
    """What ends a program at once."""


class Clock:
    def __init__(self) -> None:
        self.now_s = NOW

    def __call__(self) -> float:
        return self.now_s


def link_of(n: int, **fields: Any) -> Link:
    wish = {"target": f"https://h{n % HOSTS}.example/{n}", "version": n, **fields}
    return Link(domain="", slug=f"s{n:06}", link=n, **wish)


async def fill(stores: Stores, count: int) -> JobQueue:
    await stores.database[LINKS].create_indexes(INDEXES)
    await stores.database[JOBS].create_indexes(JOB_INDEXES[JOBS])
    if count:
        await stores.database[LINKS].insert_many([to_row(link_of(n)) for n in range(1, count + 1)])
    return JobQueue(stores.database, kept_s=3_600)


def test_every_link_is_asked_about_once_in_a_period_and_again_in_the_next(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        queue, clock = await fill(stores, 100), Clock()
        rounds, lease = rounds_of(stores, clock, queue, every_s=1_000)
        assert await lease.acquire()
        await rounds.open()
        seen: dict[int, float] = {}
        while clock.now_s < NOW + 1_000:
            await rounds.loop()
            for row in await stores.database[JOBS].find({"kind": KIND}).to_list():
                seen.setdefault(row["payload"]["link"], clock.now_s - NOW)
            clock.now_s += 10
        assert sorted(seen) == list(range(1, 101))
        for n, at_s in seen.items():
            assert abs(at_s - (n - 1) * 10) <= 15, "spread over the period, in the order of keys"
        assert await count_of(stores) == 100
        clock.now_s = NOW + 1_015
        await rounds.loop()
        await rounds.loop()
        assert await count_of(stores) == 101, "the next round begins when the period is over, and not before"

    with_stores(scenario)


def test_links_that_lead_nowhere_are_passed_over(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        queue, clock = await fill(stores, 0), Clock()
        odd: list[dict[str, Any]] = [
            {},
            *({"state": state} for state in (LinkState.DISABLED, LinkState.BANNED)),
            {"expires": int(NOW) - 1},
            {"expires": int(NOW) + 2 * WEEK},
            {"starts": int(NOW) + WEEK},
            {"max_visits": 3, "visits": 3},
            {"target": "ftp://a.example/"},
            {"target": ""},
        ]
        rows = [to_row(link_of(n, **fields)) for n, fields in enumerate(odd, 1)]
        await stores.database[LINKS].insert_many([*rows, to_row(link_of(99))])
        assert await LinkStore(stores.database).tombstones.bury("/s000099", now_ms=1, version=None) is not None
        await all_of(stores, queue, clock)
        found = await stores.database[JOBS].find().sort("payload.link").to_list()
        assert [row["payload"]["link"] for row in found] == [1, 5]
        assert found[0]["lane"] == "h1.example/check"
        assert found[0]["payload"] == {"key": "/s000001", "link": 1, "target": mark_of("https://h1.example/1")}

    with_stores(scenario)


async def all_of(stores: Stores, queue: JobQueue, clock: Clock, **given: Any) -> None:
    """A whole round at once."""
    rounds, lease = rounds_of(stores, clock, queue, **given)
    assert await lease.acquire()
    await rounds.open()
    while not lease.kept.get("is_over"):
        await rounds.loop()
        clock.now_s += WEEK / 100
    await lease.release()


def test_no_more_than_a_bounded_number_waits_and_the_round_goes_on_when_there_is_room(
    with_stores: Callable[..., None],
) -> None:
    async def scenario(stores: Stores) -> None:
        queue, clock = await fill(stores, 200), Clock()
        rounds, lease = rounds_of(stores, clock, queue, waiting_max=25, every_s=200)
        assert await lease.acquire()
        await rounds.open()
        jobs = stores.database[JOBS]
        while await count_of(stores, state=JobState.DONE.value) < 200:
            for _ in range(5):
                clock.now_s += 20
                await rounds.loop()
                waiting = await count_of(stores, state={"$ne": JobState.DONE.value})
                assert waiting <= 25
            some = await jobs.find({"state": JobState.READY.value}).limit(10).to_list()
            assert some
            ids = [row["_id"] for row in some]
            await jobs.update_many({"_id": {"$in": ids[:5]}}, {"$set": {"state": JobState.DELAYED.value}})
            assert await count_of(stores, state={"$in": ["ready", "delayed"]}) <= 25
            await jobs.update_many({"_id": {"$in": ids}}, {"$set": {"state": JobState.DONE.value}})
        first = f"check-{int(NOW) + 20:x}-"
        found = await jobs.find({"_id": {"$regex": f"^{first}"}}).to_list()
        assert sorted(row["payload"]["link"] for row in found) == list(range(1, 201)), "none was left out"

    with_stores(scenario)


def test_a_host_of_which_many_wait_holds_up_no_other(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        queue, clock = await fill(stores, 0), Clock()
        slow = [link_of(n, target=f"https://slow.example/{n}") for n in range(1, 101)]
        await stores.database[LINKS].insert_many([to_row(link) for link in (*slow, link_of(101), link_of(102))])
        await all_of(stores, queue, clock, host_waiting_max=7, waiting_max=20)
        lanes = Counter([row["lane"] for row in await stores.database[JOBS].find().to_list()])
        assert lanes == {"slow.example/check": 7, "h1.example/check": 1, "h2.example/check": 1}
        some = [row["_id"] for row in await stores.database[JOBS].find({"lane": "slow.example/check"}).to_list()]
        await stores.database[JOBS].update_many({"_id": {"$in": some[:5]}}, {"$set": {"state": "done"}})
        await stores.database[JOBS].update_many({"_id": {"$in": some[5:]}}, {"$set": {"state": "delayed"}})
        clock.now_s = NOW + 2 * WEEK
        await stores.database["leases"].update_one({"_id": "checks"}, {"$unset": {"kept": ""}})
        await all_of(stores, queue, clock, host_waiting_max=7, waiting_max=20)
        assert await count_of(stores, lane="slow.example/check", state="ready") == 5, "the next round has room for them"

    with_stores(scenario)


@pytest.mark.parametrize("point", ["before the links", "before the jobs", "behind the jobs", "behind the place"])
def test_a_kill_loses_nothing_and_repeats_some(with_stores: Callable[..., None], point: str) -> None:
    """Every few batches the program ends at `point`; another one goes on with what is kept."""

    async def scenario(stores: Stores) -> None:
        await fill(stores, 120)
        clock = Clock()
        chances = iter(range(10_000))

        def maybe(here: str) -> None:
            if here == point and next(chances) % 3 == 1:
                raise Killed

        class Walk(LinkWalk):
            async def step(self, behind: str, limit: int) -> list[Link]:
                maybe("before the links")
                return await super().step(behind, limit)

        class Queue(JobQueue):
            async def enqueue(self, jobs: Any, session: Any = None) -> int:
                maybe("before the jobs")
                written = await super().enqueue(jobs, session)
                maybe("behind the jobs")
                return written

        class Kept(Lease):
            async def renew(self, kept: Any = None) -> None:
                await super().renew(kept)
                maybe("behind the place")

        kills = 0
        is_over = False
        while not is_over:
            lease = Kept(stores.database, "checks", holder="a", monotonic=time.monotonic)
            rounds = Rounds(
                Walk(stores.database),
                lease,
                Queue(stores.database, kept_s=3_600),
                every_s=WEEK,
                on_jobs=nothing,
                now_s=clock,
            )
            assert await lease.acquire(), "what a former run of the same program had is free at once"
            await rounds.open()
            try:
                while not is_over:
                    clock.now_s += WEEK / 40
                    await rounds.loop()
                    is_over = bool(lease.kept.get("is_over"))
            except Killed:
                kills += 1
        assert kills > 3
        found = await stores.database[JOBS].find().to_list()
        assert sorted(row["payload"]["link"] for row in found) == list(range(1, 121)), "each once, none left out"
        assert len({row["_id"].split("-")[1] for row in found}) == 1, "one round"

    with_stores(scenario)


async def nothing() -> None:
    """Nobody is rung for."""


def test_one_of_two_programs_goes_on_and_who_stood_still_adds_nothing(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        queue, clock = await fill(stores, 100), Clock()
        first, lease = rounds_of(stores, clock, queue, holder="a", every_s=1_000)
        second, other = rounds_of(stores, clock, queue, holder="b", every_s=1_000)
        assert await lease.acquire()
        assert not await other.acquire()
        await first.open()
        for _ in range(5):
            await first.loop()
            clock.now_s += 20
        await stores.database["leases"].update_one(
            {"_id": "checks"}, {"$set": {"until": datetime(1970, 1, 1, tzinfo=UTC)}}
        )
        assert await other.acquire(), "it ran out while the first one stood still"
        await second.open()
        for _ in range(3):
            await second.loop()
            clock.now_s += 20
        kept = dict(other.kept)
        with pytest.raises(LeaseLostError):
            await first.loop()
        row = await stores.database["leases"].find_one({"_id": "checks"})
        assert row is not None
        assert row["kept"] == kept
        while not other.kept.get("is_over"):
            await second.loop()
            clock.now_s += 20
        found = [row["payload"]["link"] for row in await stores.database[JOBS].find().to_list()]
        assert sorted(found) == list(range(1, 101)), "what it wrote another one would have written"

    with_stores(scenario)


def test_a_place_that_cannot_be_read_is_a_new_round(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        queue, clock = await fill(stores, 3), Clock()
        rounds, lease = rounds_of(stores, clock, queue)
        assert await lease.acquire()
        await lease.renew({"began": "long ago"})
        await rounds.open()
        await rounds.loop()
        assert lease.kept["behind"] == "/s000001"

    with_stores(scenario)


def test_a_step_costs_the_same_however_many_links_there_are(with_stores: Callable[..., None]) -> None:
    """By the index of keys, and by that of jobs; so many documents are looked at as are asked for."""

    async def scenario(stores: Stores) -> None:
        queue, clock = await fill(stores, 3_000), Clock()
        links = stores.database[LINKS]
        plan = await links.find({"_id": {"$gt": "/s001500"}}, hint="_id_").sort("_id", 1).limit(BATCH_MAX).explain()
        assert plan["executionStats"]["totalDocsExamined"] == BATCH_MAX
        await stores.database.command("profile", 2)
        rounds, lease = rounds_of(stores, clock, queue, every_s=3_000)
        assert await lease.acquire()
        await rounds.open()
        for _ in range(4):
            await rounds.loop()
            clock.now_s += 50
        await stores.database.command("profile", 0)
        spans = (
            await stores.database["system.profile"]
            .find({"ns": {"$ne": f"{stores.database.name}.system.profile"}})
            .to_list()
        )
        asked = [span for span in spans if span["ns"].endswith((".links", ".jobs"))]
        assert {span["ns"].rpartition(".")[2] for span in asked} == {"links", "jobs"}
        for span in asked:
            assert "COLLSCAN" not in span.get("planSummary", ""), span
            assert span.get("docsExamined", 0) <= BATCH_MAX, span
            assert span.get("keysExamined", 0) <= 2 * BATCH_MAX, span

    with_stores(scenario)


def test_the_job_of_a_link_is_named_after_round_and_link() -> None:
    job: NewJob = job_of(link_of(255), 4096, NOW)
    assert (job.id, job.kind, job.lane) == ("check-1000-ff", KIND, "h5.example/check")
    assert job_of(link_of(255), 4096, NOW + 9).id == job.id
    assert job_of(link_of(255), 4097, NOW).id != job.id
