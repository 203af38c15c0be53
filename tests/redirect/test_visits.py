"""Visits are counted in a real MongoDB, and granted by nobody else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from app.links import LINKS, Link, LinkStore
from app.redirect import Visits
from app.redirect import visits as room
from app.redirect.rules import VisitWord
from app.stores import Breaker, BreakerState, Database, open_mongodb
from tests.conftest import LIMIT_S, Stores

With = Callable[[Callable[[Stores], Awaitable[None]]], None]


async def open_visits(database: Database, max_visits: int = 3) -> Visits:
    store = LinkStore(database)
    await store.insert(Link(domain="", slug="a", link=1, target="https://a/", version=1, max_visits=max_visits))
    return Visits(store, Breaker("visits", time.monotonic), limit_s=LIMIT_S)  # a busy machine is no outage


def test_many_at_once_are_granted_what_is_left_and_no_more(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        visits = await open_visits(stores.database, 20)
        words = await asyncio.gather(*(visits.spend("/a", 1) for _ in range(60)))
        assert words.count(VisitWord.GRANTED) == visits.spent == 20
        assert words.count(VisitWord.SPENT) == 40
        assert await visits.look("/a", 1) is VisitWord.SPENT

    with_stores(scenario)


def test_looking_spends_nothing_and_is_shared(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        visits = await open_visits(stores.database)
        before = (await stores.database.client.admin.command("serverStatus"))["opcounters"]["query"]
        words = await asyncio.gather(*(visits.look("/a", 1) for _ in range(50)))
        after = (await stores.database.client.admin.command("serverStatus"))["opcounters"]["query"]
        assert set(words) == {VisitWord.GRANTED}
        assert after - before < 10
        row = await stores.database[LINKS].find_one({"_id": "/a"})
        assert row is not None
        assert row["visits"] == 0

    with_stores(scenario)


def test_too_many_at_once_are_told_to_come_again(with_stores: With, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(stores: Stores) -> None:
        visits = await open_visits(stores.database, 100)
        monkeypatch.setattr(room, "WAITING_MAX", 5)
        words = await asyncio.gather(*(visits.spend("/a", 1) for _ in range(12)))
        assert (words.count(VisitWord.GRANTED), words.count(VisitWord.UNKNOWN)) == (5, 7)
        assert await visits.spend("/a", 1) is VisitWord.GRANTED

    with_stores(scenario)


def test_without_mongodb_nothing_is_granted_and_soon_nobody_waits() -> None:
    async def scenario() -> None:
        database = open_mongodb("mongodb://%2Fnowhere%2Fmongod.sock/x?replicaSet=rs0")
        breaker = Breaker("visits", time.monotonic)
        visits = Visits(LinkStore(database), breaker)
        words = await asyncio.gather(*(visits.spend("/a", 1) for _ in range(5)), visits.look("/a", 1))
        assert set(words) == {VisitWord.UNKNOWN}
        assert breaker.state is BreakerState.OPEN
        assert visits.unknown == 6
        await database.client.close()

    asyncio.run(scenario())
