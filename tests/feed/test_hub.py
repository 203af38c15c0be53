"""The hub hands on what Redis brings, to each at its pace, and says when Redis is away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.feed import ALL_LINKS, FullError, Hub, Seen, Stream
from app.feed.events import LIVE, WANTED, Message, encode
from app.feed.hub import HEARD, QUEUE_MAX, UNHEARD
from app.stores import open_redis, redis_url
from tests.conftest import Engines, Stores, wait_until

With = Callable[[Callable[[Stores], Awaitable[None]]], None]
KEYS = {1: "/one", 2: "go.example/two"}


def seen(link: int = 1, **fields: Any) -> Seen:
    known = {"kind": "person", "variant": 0, "country": "", "device": "", "browser": "", "os": "", "referrer": ""}
    return Seen(link=link, time_ms=1_700_000_000_000, **{**known, **fields})


def message(*visits: Seen, left_out: dict[int, int] | None = None) -> bytes:
    return encode(Message(list(visits), KEYS, left_out or {}))


@asynccontextmanager
async def running(client: Any, **options: int) -> AsyncIterator[Hub]:
    hub = Hub(client, **options)
    work = asyncio.create_task(hub.run())
    try:
        yield hub
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def listeners(stores: Stores, channel: str = LIVE) -> int:
    return int((await stores.redis.pubsub_numsub(channel))[0][1])


async def until_listening(stores: Stores, count: int, channel: str = LIVE) -> None:
    async with asyncio.timeout(10):
        while await listeners(stores, channel) != count:  # noqa: ASYNC110  Redis tells nobody when this changes
            await asyncio.sleep(0.005)


def events(data: bytes) -> list[tuple[str, Any]]:
    found = []
    for frame in data.decode().split("\n\n"):
        if frame.startswith("event: "):
            event, _, body = frame.removeprefix("event: ").partition("\ndata: ")
            found.append((event, json.loads(body)))
    return found


async def events_of(stream: Stream) -> list[tuple[str, Any]]:
    return events(await stream.next(10.0))


def test_whoever_leaves_at_once_takes_nothing_from_who_comes_next(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with running(stores.redis) as hub:
            for turns in range(20):  # of the loop: in one of them what is watched was just told
                stream = hub.open()
                for _ in range(turns):
                    await asyncio.sleep(0)
                hub.close(stream)
                stream = hub.open()
                await until_listening(stores, 1)
                hub.close(stream)
                await until_listening(stores, 0)

    with_stores(scenario)


def test_one_subscription_serves_all_and_none_is_left_when_nobody_watches(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with running(stores.redis) as hub:
            for _ in range(2):  # the second time after it had been let go of
                assert await listeners(stores) == 0
                streams = [hub.open(1), hub.open(2), hub.open(), hub.open(1)]
                await until_listening(stores, 1)
                await stores.redis.publish(LIVE, message(seen(1), seen(2)))
                told = [[event["slug"] for _, event in await events_of(stream)] for stream in streams]
                assert told == [["one"], ["two"], ["one", "two"], ["one"]]
                for stream in streams:
                    hub.close(stream)
                assert hub.count == 0
                await until_listening(stores, 0)

    with_stores(scenario)


def test_a_visit_is_told_without_anything_personal(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with running(stores.redis) as hub:
            stream = hub.open(2)
            await until_listening(stores, 1)
            visit = seen(2, variant=3, country="DE", device="mobile", browser="Firefox", os="Android", referrer="a.b")
            await stores.redis.publish(LIVE, message(visit, seen(2, kind="bot"), left_out={2: 40, 1: 9}))
            known = {"slug": "two", "domain": "go.example", "time": "2023-11-14T22:13:20Z"}
            nobody = dict.fromkeys(("variant", "country", "device", "browser", "os", "referrer"))
            full = {"variant": 3, "country": "DE", "device": "mobile", "browser": "Firefox", "os": "Android"}
            assert await events_of(stream) == [
                ("visit", {**known, "kind": "person", **full, "referrer": "a.b"}),
                ("visit", {**known, "kind": "bot", **nobody}),
                ("sampled", {"left_out": 40}),
            ]

    with_stores(scenario)


def test_what_is_watched_is_told_to_aggregators_at_once_and_every_second(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with running(stores.redis) as hub, stores.redis.pubsub() as ear:
            await ear.subscribe(WANTED)
            heard: list[list[int]] = []

            async def hear() -> None:
                async for each in ear.listen():
                    if each["type"] == "message":
                        heard.append([each["data"][0] & 15, *each["data"][1:]])

            hearing = asyncio.create_task(hear())
            hub.open(1)
            await wait_until(lambda: [1, 1] in heard)
            hub.open()
            await wait_until(lambda: [2, 1, ALL_LINKS] in heard)
            await wait_until(lambda: heard.count([2, 1, ALL_LINKS]) >= 2)
            hearing.cancel()

    with_stores(scenario)


def test_who_reads_too_slowly_loses_events_and_hears_how_many(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with running(stores.redis) as hub:
            slow, quick = hub.open(1), hub.open(1)
            await until_listening(stores, 1)
            for _ in range(2):
                await stores.redis.publish(LIVE, message(*[seen(1)] * QUEUE_MAX))
                assert len(await events_of(quick)) == QUEUE_MAX
            told = await events_of(slow)
            assert [event for event, _ in told] == ["visit"] * QUEUE_MAX + ["lost"]
            assert told[-1][1] == {"events": QUEUE_MAX}
            await stores.redis.publish(LIVE, message(seen(1)))
            assert len(await events_of(slow)) == 1

    with_stores(scenario)


def test_no_more_streams_than_are_served_and_none_while_it_ends() -> None:
    hub = Hub(open_redis("redis://127.0.0.1:1"), streams_max=2)
    first, _ = hub.open(1), hub.open()
    with pytest.raises(FullError):
        hub.open(1)
    hub.close(first)
    again = hub.open(2)
    hub.end()
    assert again.is_ended
    hub.close(again)
    with pytest.raises(FullError):
        hub.open(2)


def test_what_is_no_message_is_passed_over(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with running(stores.redis) as hub:
            stream = hub.open(1)
            await until_listening(stores, 1)
            for data in (b"", b"\xff", b"\x93\x01\x02\x03"):
                await stores.redis.publish(LIVE, data)
            await stores.redis.publish(LIVE, message(seen(1)))
            assert len(await events_of(stream)) == 1

    with_stores(scenario)


def test_streams_stay_while_redis_is_away_and_go_on_with_it(engines: Engines) -> None:
    async def scenario() -> None:
        client = open_redis(redis_url(engines.settings))
        async with running(client) as hub:
            stream = hub.open(1)
            stores = Stores(database=None, redis=client)  # type: ignore[arg-type]
            await until_listening(stores, 1)
            engines.stop("redis")
            try:
                assert await stream.next(10.0) == UNHEARD
                late = hub.open(1)
                assert await late.next(10.0) == UNHEARD
            finally:
                engines.run("redis")
            assert await stream.next(10.0) == HEARD
            await client.publish(LIVE, message(seen(1)))
            assert [event for event, _ in await events_of(stream)] == ["visit"]
        await client.aclose()

    asyncio.run(scenario())
