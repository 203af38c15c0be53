"""Every click is in one place once, whatever dies between any two effects of ledgers and rollup side by side."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from app.accounts import AUDIT, SYSTEM, AuditLog
from app.analytics import ALL, CLICKS_NODE, CLICKS_SUM, Bucket, Ledger, scope_id
from app.analytics.periods import CLICKS_DAY, CLICKS_MONTH, DAY_MINUTES, first_day, is_link, months_of
from app.links import LINKS
from app.stores import LEASES, Lease, LeaseLostError, LostRaceError
from tests.analytics.clicks import (
    Clicks,
    add_clicks,
    delta_of,
    everything_stored,
    minute_of,
    stored_clicks,
    stored_months,
)
from tests.conftest import Stores
from workers.rollup import Rollup

With = Callable[..., None]
SEEDS = range(int(os.environ.get("SIMULATIONS", "12")))
START = minute_of("2026-03-29T12:00Z")  # the days go over the end of a month
#: Links, and what they belong to.
OWNERS = {1: "ann", 2: "ann", 3: "bob", 4: "bob"}
TAGS = {1: ["spring"], 2: ["spring", "sale"], 3: [], 4: ["sale"]}
DOMAINS = {1: "", 2: "go.example.com", 3: "", 4: ""}
SCOPES = {
    link: [
        scope_id("all"),
        scope_id("user", OWNERS[link]),
        scope_id("domain", DOMAINS[link]),
        *(scope_id("tag", tag) for tag in TAGS[link]),
    ]
    for link in OWNERS
}
EVERYWHERE = (CLICKS_NODE, CLICKS_SUM, CLICKS_DAY)


class Crash(BaseException):
    """The process is gone: nothing after this effect happens."""


class World:
    """Two aggregators' ledgers and one rollup on one MongoDB; any of them may die at any effect."""

    def __init__(self, stores: Stores, rng: random.Random) -> None:
        self.rng = rng
        self.expected: Clicks = Counter()
        self.now = START
        self._stores = stores
        self._ledgers = [self._new_ledger(number) for number in range(2)]
        self._positions = [0, 0]
        self._rollup = self._new_rollup()

    def _tracer(self) -> Callable[[str], None]:
        """Dies at one of the next effects, or never."""
        countdown = self.rng.choice([0, 0, *range(1, 9)])

        def trace(step: str) -> None:
            nonlocal countdown
            countdown -= 1
            if countdown == 0:
                raise Crash(step)

        return trace

    def _new_ledger(self, number: int) -> Ledger:
        return Ledger(self._stores.database, f"n-{number}", trace=self._tracer())

    def _new_rollup(self, *, may_crash: bool = True) -> Rollup:
        return rollup_of(
            self._stores,
            wall=lambda: self.now * 60.0,
            trace=self._tracer() if may_crash else lambda step: None,
        )

    async def fold(self, number: int) -> None:
        """A batch of clicks, mostly of now, some late; applied again until it is known to be."""
        minutes: dict[tuple[int, int], list[int]] = {}
        for _ in range(self.rng.randint(1, 12)):
            link = self.rng.choice(list(OWNERS))
            minute = self.now - self.rng.choice([0, 0, 1, DAY_MINUTES, 3 * DAY_MINUTES])
            minutes.setdefault((link, minute // DAY_MINUTES), []).append(minute % DAY_MINUTES)
            for counted in (link, *SCOPES[link]):
                self.expected[counted, minute] += 1
        deltas = {key: delta_of(found) for key, found in minutes.items()}
        source, begin = f"source-{number}", self._positions[number]
        while True:
            try:
                await self._ledgers[number].apply(source, begin, begin + 1, deltas)
            except LostRaceError:
                await asyncio.sleep(0)
            except Crash:
                self._ledgers[number] = self._new_ledger(number)
            if await self._ledgers[number].position(source) > begin:
                break
        self._positions[number] += 1

    async def roll(self) -> None:
        """Some loops of rollup; a crash makes a new one."""
        for _ in range(self.rng.randint(1, 4)):
            try:
                await self._rollup.loop()
            except Crash:
                self._rollup = self._new_rollup()

    async def settle(self) -> None:
        """All days are over and moved."""
        self.now += 10 * DAY_MINUTES
        rollup = self._new_rollup(may_crash=False)
        while any([await self._stores.database[name].count_documents({}) for name in (CLICKS_NODE, CLICKS_SUM)]):
            await rollup.loop()


def rollup_of(
    stores: Stores,
    *,
    wall: Callable[[], float],
    trace: Callable[[str], None] = lambda step: None,
    holder: str = "a",
    days_kept: int = 400,
) -> Rollup:
    """A rollup that acquires the lease by itself; every chore is due at each loop."""
    lease = Lease(stores.database, "rollup", holder=holder, monotonic=lambda: 0.0)
    loops = 0
    rollup = Rollup(
        database=stores.database,
        lease=lease,
        days_kept=days_kept,
        months_kept=None,
        audit_days_kept=10,
        deleted_kept=86_400,
        wall=wall,
        monotonic=lambda: loops * 1_000.0,
        trace=trace,
    )
    rollup_loop = rollup.loop

    async def loop() -> bool:
        nonlocal loops
        loops += 1
        if not lease.is_held:
            assert await lease.acquire()
        return await rollup_loop()

    rollup.loop = loop  # type: ignore[method-assign]
    return rollup


async def make_links(stores: Stores) -> None:
    """The links of the simulation."""
    rows = [
        {"_id": f"{DOMAINS[link]}/{link}", "link": link, "version": 1, "clicks": 0, "owner": owner, "tags": TAGS[link]}
        for link, owner in OWNERS.items()
    ]
    await stores.database[LINKS].insert_many(rows)


async def months_by_link(stores: Stores) -> Counter[tuple[int, int]]:
    """Clicks by link and quarter of an hour since 1970, as months have them."""
    found: Counter[tuple[int, int]] = Counter()
    async for row in stores.database[CLICKS_MONTH].find():
        link = int(row["_id"][:16], 16)
        begin = first_day(months_of(row["month"])) * 96
        bucket = Bucket.from_document(row)
        assert bucket.clicks == sum(bucket.minutes.values()) == sum(bucket.dims["browser"].values())
        for quarter, count in bucket.minutes.items():
            found[link, begin + quarter] += count
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_clicks_are_in_one_place_once_whatever_dies(seed: int, with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        world = World(stores, random.Random(seed))
        await make_links(stores)
        for _ in range(8):
            work: list[Awaitable[None]] = [world.fold(0), world.fold(1), world.roll()]
            await asyncio.gather(*work)
            assert await everything_stored(stores.database, *EVERYWHERE) == world.expected, f"seed {seed}"
            world.now += world.rng.choice([0, 7, DAY_MINUTES // 2, DAY_MINUTES])
        await world.settle()
        assert await everything_stored(stores.database, CLICKS_DAY) == world.expected, f"seed {seed}"
        quarters: Counter[tuple[int, int]] = Counter()
        links: Counter[int] = Counter()
        for (link, minute), count in world.expected.items():
            quarters[link, minute // 15] += count
            if is_link(link):
                links[link] += count
        assert await months_by_link(stores) == quarters, f"seed {seed}"
        told = {row["link"]: row["clicks"] async for row in stores.database[LINKS].find() if row["clicks"]}
        assert told == links, f"seed {seed}"

    with_stores(scenario)


def test_today_is_left_to_its_aggregators_and_sums_are_not(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        yesterday, today = minute_of("2026-03-30T23:59Z"), minute_of("2026-03-31T00:00Z")
        await add_clicks(stores.database, [(7, yesterday), (7, today)])
        await rollup_of(stores, wall=lambda: (today + 60) * 60.0).loop()
        assert await everything_stored(stores.database, CLICKS_SUM) == {}
        days = await everything_stored(stores.database, CLICKS_DAY)
        assert days == {(7, yesterday): 1, (ALL, yesterday): 1, (ALL, today): 1}
        assert await stored_clicks(stores.database, CLICKS_NODE) == {(7, today): 1}

    with_stores(scenario)


def test_day_is_moved_when_every_node_has_counted_it(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        evening, midnight = minute_of("2026-03-30T22:00Z"), minute_of("2026-03-31T00:00Z")
        rollup = rollup_of(stores, wall=lambda: (midnight + 60) * 60.0)
        await add_clicks(stores.database, [(7, evening)])
        for behind, moved in ((120, 0), (51, 0), (49, 1)):
            as_of = datetime.fromtimestamp((midnight + 60 - behind) * 60, UTC)
            await Ledger(stores.database, "n-0").note_progress(as_of)
            await Ledger(stores.database, "n-1").note_progress(datetime.fromtimestamp((midnight + 60) * 60, UTC))
            await rollup.loop()
            assert len(await stored_clicks(stores.database, CLICKS_DAY)) == moved, behind

    with_stores(scenario)


def test_node_that_is_long_away_is_not_waited_for_and_its_clicks_come_late(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        noon = minute_of("2026-03-30T12:00Z")
        now = noon + 3 * DAY_MINUTES
        rollup = rollup_of(stores, wall=lambda: now * 60.0)
        await Ledger(stores.database, "n-1").note_progress(datetime.fromtimestamp(noon * 60, UTC))
        for _ in range(2):
            await add_clicks(stores.database, [(7, noon)])
            await rollup.loop()
        assert await stored_clicks(stores.database, CLICKS_DAY) == {(7, noon): 2}

    with_stores(scenario)


def test_more_than_one_transaction_holds_is_moved_in_the_same_turn(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        noon = minute_of("2026-03-30T12:00Z")
        await add_clicks(stores.database, [(link, noon) for link in range(1, 1_202)])
        rollup = rollup_of(stores, wall=lambda: (noon + 2 * DAY_MINUTES) * 60.0)
        for _ in range(3):
            await rollup.loop()
        assert rollup.counts.moved == 1_202  # and the sum
        assert await stores.database["clicks_node"].count_documents({}) == 0

    with_stores(scenario)


def test_stopped_rollup_that_was_replaced_changes_nothing(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        noon = minute_of("2026-03-30T12:00Z")
        wall = lambda: (noon + 2 * DAY_MINUTES) * 60.0  # noqa: E731
        stopped = rollup_of(stores, wall=wall)
        await stopped.loop()
        await add_clicks(stores.database, [(7, noon)])
        await stores.database[LEASES].update_one({"_id": "rollup"}, [{"$set": {"until": "$$NOW"}}])
        await rollup_of(stores, wall=wall, holder="b").loop()
        await add_clicks(stores.database, [(7, noon + 1)])
        with pytest.raises(LeaseLostError):
            await stopped.loop()
        assert await stored_clicks(stores.database, CLICKS_DAY) == {(7, noon): 1}
        assert await stored_clicks(stores.database, "clicks_node") == {(7, noon + 1): 1}

    with_stores(scenario)


def test_days_behind_the_horizon_go_with_their_turn(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        noon = minute_of("2026-03-20T12:00Z")
        await add_clicks(stores.database, [(7, noon), (7, noon + 9 * DAY_MINUTES)])
        rollup = rollup_of(stores, wall=lambda: (noon + 10 * DAY_MINUTES) * 60.0, days_kept=5)
        await rollup.loop()
        assert await stored_clicks(stores.database) == {(7, noon + 9 * DAY_MINUTES): 1}
        assert (await stored_months(stores.database))[7, 202603].clicks == 2

    with_stores(scenario)


def test_old_entries_of_the_audit_log_go_by_a_clock_that_is_not_believed_at_once(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        now = START * 60.0
        written = AuditLog(stores.database, now_s=lambda: now, token_bytes=secrets.token_bytes)
        await written.add(written.note(SYSTEM, "key.create", "key:old"))
        rollup = rollup_of(stores, wall=lambda: now)
        rows = stores.database[AUDIT]
        now += 9 * 86_400
        await rollup.loop()
        assert await rows.count_documents({}) == 1
        now += 365 * 86_400
        await rollup.loop()
        assert await rows.count_documents({}) == 1, "a clock a year ahead takes a day at a time"
        await rollup.loop()
        await rollup.loop()
        assert await rows.count_documents({}) == 0

    with_stores(scenario)
