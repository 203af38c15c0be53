"""Links in a real Redis: newer beats older, absence beats nothing, and rubbish is as good as nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from app.links.branches import Parameter, Rule, Variant, When
from app.links.cache import (
    ABSENCE_LIFE_S,
    CHANNEL,
    LIFE_JITTER_S,
    LIFE_S,
    LinkCache,
    decode_cached,
    decode_message,
    encode_cached,
    encode_message,
)
from app.links.model import Cached, CachedLink
from tests.conftest import Stores

With = Callable[[Callable[[Stores], Awaitable[None]]], None]

OLD = Cached(1_700_000_000_000, CachedLink(7, "active", "https://example.com/old"))
NEW = Cached(
    1_700_000_000_001,
    CachedLink(
        2**63 - 1,
        "active",
        "https://example.com/new",
        301,
        1,
        2,
        3,
        b"$2b$\xff",
        True,
        True,
        (Rule("https://a/", When(os=("iOS",), query=(Parameter("a", ("b",)),), hours=(540, 1020))),),
        (Variant("https://b/", 3),),
    ),
)
GONE = Cached(1_700_000_000_002, None, is_deleted=True)
ABSENT = Cached(0)


@pytest.mark.parametrize("cached", [OLD, NEW, GONE, ABSENT])
def test_value_is_read_as_it_was_written(cached: Cached) -> None:
    assert decode_cached(encode_cached(cached)) == cached


@pytest.mark.parametrize("value", [b"", b"\xc1", b"\x93\x01\x02", msgspec.msgpack.encode((1, (2, 3)))])
def test_value_that_cannot_be_read_counts_as_nothing(value: bytes) -> None:
    assert decode_cached(value) is None


def test_message_is_read_as_it_was_written_and_others_are_not() -> None:
    assert decode_message(encode_message([("/abc", 5), ("/d", 0)])) == [("/abc", 5), ("/d", 0)]
    assert decode_message(encode_message([])) == []
    assert decode_message(b"hello") is None


def test_many_keys_are_read_in_the_order_asked(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        cache = LinkCache(stores.redis)
        await cache.put_many([("/a", OLD), ("/b", GONE), ("/c", ABSENT)])
        await cache.put_many([])
        assert await cache.get_many(["/c", "/none", "/a", "/b"]) == [ABSENT, None, OLD, GONE]

    with_stores(scenario)


@pytest.mark.parametrize(
    ("first", "then", "kept"),
    [
        (OLD, NEW, NEW),
        (NEW, OLD, NEW),
        (NEW, GONE, GONE),
        (GONE, NEW, GONE),
        (ABSENT, OLD, OLD),
        (OLD, ABSENT, OLD),
        (GONE, ABSENT, GONE),
    ],
)
def test_only_what_is_newer_is_put(with_stores: With, first: Cached, then: Cached, kept: Cached) -> None:
    async def scenario(stores: Stores) -> None:
        cache = LinkCache(stores.redis)
        await cache.put_many([("/a", first)])
        await cache.put_many([("/a", then)])
        assert await cache.get_many(["/a"]) == [kept]

    with_stores(scenario)


@pytest.mark.parametrize(
    "rubbish", [b"rubbish", b"", msgspec.msgpack.encode((OLD.version, ("of", "another", "release")))]
)
def test_unreadable_value_is_overwritten(with_stores: With, rubbish: bytes) -> None:
    async def scenario(stores: Stores) -> None:
        await stores.redis.set("l:/a", rubbish)
        cache = LinkCache(stores.redis)
        assert await cache.get_many(["/a"]) == [None]
        await cache.put_many([("/a", OLD)])
        assert await cache.get_many(["/a"]) == [OLD]

    with_stores(scenario)


def test_a_redis_that_forgot_the_script_is_told_it_again(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        cache = LinkCache(stores.redis)
        await cache.put_many([("/a", OLD)])
        await stores.redis.script_flush()
        await cache.put_many([("/a", NEW), ("/b", OLD)])
        assert await cache.get_many(["/a", "/b"]) == [NEW, OLD]

    with_stores(scenario)


def test_links_live_an_hour_and_absences_a_minute(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await LinkCache(stores.redis).put_many([("/a", OLD), ("/b", ABSENT)])
        assert LIFE_S - 60 <= await stores.redis.ttl("l:/a") <= LIFE_S + LIFE_JITTER_S
        assert 0 < await stores.redis.ttl("l:/b") <= ABSENCE_LIFE_S

    with_stores(scenario)


def test_whoever_hears_of_a_change_finds_it(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with stores.redis.pubsub(ignore_subscribe_messages=True) as subscription:
            await subscription.subscribe(CHANNEL)
            await stores.redis.script_flush()  # also by a Redis that forgot the script
            await LinkCache(stores.redis).announce([("/a", NEW)])
            async with asyncio.timeout(10):
                message: dict[str, Any] | None = None
                while message is None:
                    message = await subscription.get_message(timeout=1)
            assert decode_message(message["data"]) == [("/a", NEW.version)]
            assert await LinkCache(stores.redis).get_many(["/a"]) == [NEW]

    with_stores(scenario)
