"""The live endpoint: who may watch what, what keeps a stream alive, and what ends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from app.api import live
from app.feed.events import LIVE, Message, encode
from app.feed.hub import Hub
from tests.api.service import Service, make_services, serve
from tests.conftest import Stores, wait_until
from tests.feed.test_hub import message, seen, until_listening

With = Callable[[Callable[[Stores], Awaitable[None]]], None]
PATH = "/api/v1/live"


@asynccontextmanager
async def served(stores: Stores) -> AsyncIterator[Service]:
    """An API whose hub runs."""
    async with serve(stores) as api:
        work = asyncio.create_task(api.services.hub.run())
        try:
            yield api
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


async def read_until(lines: AsyncIterator[str], wanted: str) -> list[str]:
    """Lines up to the one that begins so."""
    found = []
    async with asyncio.timeout(10):
        async for line in lines:
            found.append(line)
            if line.startswith(wanted):
                return found
    raise AssertionError(f"ended after {found}")


def test_visits_of_one_link_come_as_an_event_stream(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with served(stores) as api:
            await api.make("one")
            row = await stores.database["links"].find_one({"_id": "/one"})
            assert row is not None
            async with api.client.stream("GET", PATH, params={"slug": "one"}) as answer:
                assert answer.status_code == 200
                assert answer.headers["Content-Type"] == "text/event-stream"
                assert answer.headers["X-Accel-Buffering"] == "no"
                lines = answer.aiter_lines()
                assert (await read_until(lines, ": "))[0] == "retry: 1000"
                await until_listening(stores, 1)
                link = int(row["link"])
                told = Message([seen(link + 1), seen(link, kind="bot")], {link: "/one"}, {})
                await stores.redis.publish(LIVE, encode(told))
                assert '"slug":"one"' in (await read_until(lines, "data: "))[-1]
            await wait_until(lambda: api.services.hub.count == 0)
            assert api.requests[-1] == ("live", 200)

    with_stores(scenario)


def test_who_may_not_or_asks_for_nothing_that_is_there_is_told(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with served(stores) as api:
            for query, headers, status in (
                ({}, {"Authorization": ""}, 401),
                ({"slug": "none"}, {}, 404),
                ({"slug": "one", "domain": "not a host"}, {}, 422),
                ({"domain": "go.example.com"}, {}, 422),
            ):
                answer = await api.client.get(PATH, params=query, headers=headers)
                assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
            head = await api.client.head(PATH)
            assert (head.status_code, head.headers["Content-Type"]) == (200, "text/event-stream")
            assert api.services.hub.count == 0

    with_stores(scenario)


def test_more_streams_than_a_process_serves_are_503(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        services = make_services(stores)
        object.__setattr__(services, "hub", Hub(stores.redis, streams_max=1))
        await services.keys.add("blk_admin-key-of-the-tests", "admin")
        async with serve(stores, services) as api, api.client.stream("GET", PATH) as first:
            await read_until(first.aiter_lines(), ": ")
            answer = await api.client.get(PATH)
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
            assert "no more streams" in answer.json()["detail"]

    with_stores(scenario)


def test_a_stream_beats_and_ends_with_its_process(with_stores: With, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "BEAT_S", 0.05)

    async def scenario(stores: Stores) -> None:
        async with served(stores) as api, api.client.stream("GET", PATH) as answer:
            lines = answer.aiter_lines()
            await read_until(lines, ": beat")
            await read_until(lines, ": beat")
            api.services.hub.end()
            async with asyncio.timeout(10):
                assert {line async for line in lines} <= {"", ": beat"}
            assert (await api.client.get(PATH)).status_code == 503

    with_stores(scenario)


def test_a_revoked_key_hears_nothing_more(with_stores: With, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "CHECK_S", -1.0)

    async def scenario(stores: Stores) -> None:
        async with served(stores) as api:
            made = (await api.client.post("/api/v1/keys", json={"name": "watcher"})).json()
            headers = {"Authorization": f"Bearer {made['key']}"}
            async with api.client.stream("GET", PATH, headers=headers) as answer:
                lines = answer.aiter_lines()
                await read_until(lines, ": ")
                await until_listening(stores, 1)
                await stores.redis.publish(LIVE, message(seen(1)))
                await read_until(lines, "data: ")
                assert (await api.client.delete(f"/api/v1/keys/{made['id']}")).status_code == 204
                await stores.redis.publish(LIVE, message(seen(1)))
                async with asyncio.timeout(10):
                    assert [line async for line in lines if line] == []

    with_stores(scenario)


def test_a_client_that_goes_leaves_nothing(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with served(stores) as api:
            for _ in range(3):
                async with api.client.stream("GET", PATH) as answer:  # left before its end, it closes the connection
                    await read_until(answer.aiter_lines(), ": ")
                    assert api.services.hub.count == 1
                await wait_until(lambda: api.services.hub.count == 0)

    with_stores(scenario)
