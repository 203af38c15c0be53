"""`boltlink live` shows visits as they come, and goes on when the stream ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from app.cli.live import line_of, parse_events
from app.feed import Seen
from app.feed.events import LIVE, Message, encode
from tests.api.test_live import served
from tests.cli.command import Result, boltlink
from tests.cli.test_stats import environ_of
from tests.conftest import Stores, wait_until
from tests.feed.test_hub import message, seen, until_listening

With = Callable[[Callable[[Stores], Awaitable[None]]], None]


def test_events_are_read_and_beats_are_not_shown() -> None:
    lines = ["retry: 1000", ": visits as they are counted", "", "event: visit", 'data: {"a": 1}', "", ": beat", ""]
    lines += [": Redis is away", "", "event: lost", 'data: {"events": 3}', ""]
    assert list(parse_events(lines)) == [
        ("beat", "visits as they are counted"),
        ("visit", {"a": 1}),
        ("beat", "beat"),
        ("comment", "Redis is away"),
        ("lost", {"events": 3}),
    ]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"browser": "Firefox", "country": "DE"}, "one  Firefox  DE"),
        ({"domain": "go.example", "variant": 2, "referrer": "a.b"}, "go.example/one  a.b  variant 2"),
        ({}, "one"),
        ({"referrer": "a\x1b]0;b\x07\x9b31m"}, "one  a\ufffd]0;b\ufffd\ufffd31m"),
        ({"kind": "bot", "device": "bot"}, "one  bot"),
    ],
)
def test_a_visit_is_a_line(fields: dict[str, object], line: str) -> None:
    nothing = dict.fromkeys(("variant", "country", "device", "browser", "os", "referrer"))
    visit = {"slug": "one", "domain": "", "time": "2026-11-25T20:00:00Z", "kind": "person", **nothing, **fields}
    from click import unstyle

    assert unstyle(line_of(visit))[10:] == line


def test_visits_are_shown_to_people_and_to_machines(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with served(stores) as api:
            environ = environ_of(api)

            async def watch(*arguments: str) -> Result:
                async with asyncio.timeout(30):
                    watching = asyncio.create_task(boltlink("live", *arguments, environ=environ))
                    await until_listening(stores, 1)
                    await stores.redis.publish(LIVE, message(seen(1, browser="Firefox"), left_out={0: 9}))
                    await asyncio.sleep(0)
                    await stores.redis.publish(LIVE, encode(Message([seen(2, kind="bot")], {2: "/two"}, {})))
                    return await watching

            people = await watch("-n", "2")
            assert people.status == 0
            assert [line[10:] for line in people.out.splitlines()] == ["one  Firefox", "two  bot"]
            assert people.err == "… and 9 more, too many to show\n"
            machines = await watch("-n", "2", "--json")
            assert [json.loads(line)["slug"] for line in machines.out.splitlines()] == ["one", "two"]
            wrong = await boltlink("live", "none", environ=environ)
            assert (wrong.status, wrong.err) == (1, "boltlink: There is no such link.\n")

    with_stores(scenario)


def test_a_stream_that_ended_is_begun_again(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with served(stores) as api:
            hub = api.services.hub
            async with asyncio.timeout(30):
                watching = asyncio.create_task(boltlink("live", "-n", "1", environ=environ_of(api)))
                await until_listening(stores, 1)
                hub._streams_max = 0  # others came first
                for stream in hub._all():
                    stream.end()
                await wait_until(lambda: api.requests[-1:] == [("live", 503)])
                hub._streams_max = 1
                await until_listening(stores, 1)
                await stores.redis.publish(LIVE, encode(Message([Seen(1, 0, "person", 0, *[""] * 5)], {1: "/one"}, {})))
                shown = await watching
                assert shown.out.endswith("  one\n")
                assert shown.err == "(This process serves no more streams: come again, another one may.)\n"

    with_stores(scenario)
