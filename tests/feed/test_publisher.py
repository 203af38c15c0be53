"""The publisher tells what is watched, keeps nobody waiting, and forgets what Redis does not take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from bson.int64 import Int64

from app.feed import ALL_LINKS, Glimpse, Publisher, Tap
from app.feed.events import LIVE, WANTED, decode, encode
from app.feed.publisher import SEEN_MAX
from app.stores import open_redis
from tests.conftest import Stores, wait_until
from tests.feed.test_hub import seen, until_listening
from tests.feed.test_tap import describe

With = Callable[[Callable[[Stores], Awaitable[None]]], None]


@asynccontextmanager
async def running(stores: Stores, client: Any = None) -> AsyncIterator[tuple[Publisher, Tap]]:
    tap = Tap(describe, monotonic=time.monotonic)
    publisher = Publisher(client or stores.redis, stores.database, tap)
    work = asyncio.create_task(publisher.run())
    try:
        yield publisher, tap
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


def test_a_wish_opens_the_tap_and_what_is_none_does_not(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with running(stores) as (_, tap):
            await until_listening(stores, 1, WANTED)
            for data in (b"", b"\xc1", encode(["a"]), encode([-1, 1 << 63])):
                await stores.redis.publish(WANTED, data)
            assert not tap.is_wanted
            await stores.redis.publish(WANTED, encode([1]))
            await wait_until(lambda: tap.is_wanted)

    with_stores(scenario)


def test_visits_are_told_with_their_links_keys_and_not_those_of_a_link_that_is_gone(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await stores.database["links"].insert_one({"_id": "/one", "link": Int64(1)})
        async with running(stores) as (publisher, _), stores.redis.pubsub() as ear:
            await ear.subscribe(LIVE)
            for _ in range(2):  # from MongoDB, then from memory
                glimpse = Glimpse([seen(1), seen(3)])
                glimpse.left_out[1] = 5
                publisher.offer(glimpse)
                while (heard := await ear.get_message(timeout=10)) and heard["type"] != "message":
                    pass
                assert heard is not None
                told = decode(heard["data"])
                assert told is not None
                assert (told.seen, told.keys, told.left_out) == ([seen(1)], {1: "/one"}, {1: 5})
            await wait_until(lambda: publisher.published == 2)

    with_stores(scenario)


def test_what_is_offered_while_a_message_is_under_way_is_bounded(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        tap = Tap(describe, monotonic=time.monotonic)
        publisher = Publisher(stores.redis, stores.database, tap)
        for _ in range(3):
            publisher.offer(Glimpse([seen(1)] * SEEN_MAX))
        assert len(publisher._pending.seen) == SEEN_MAX
        assert publisher._pending.left_out == {1: 2 * SEEN_MAX, ALL_LINKS: 2 * SEEN_MAX}

    with_stores(scenario)


def test_a_redis_that_is_away_costs_the_visits_alone(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await stores.database["links"].insert_one({"_id": "/one", "link": Int64(1)})
        away = open_redis("redis://127.0.0.1:1")
        async with running(stores, away) as (publisher, _):
            publisher.offer(Glimpse([seen(1)]))
            await wait_until(lambda: publisher.dropped == 1)
            publisher.offer(Glimpse([seen(1)]))
            await wait_until(lambda: publisher.dropped == 2)
        await away.aclose()

    with_stores(scenario)
