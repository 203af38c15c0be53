"""Making, changing and ending links: judged, stored, announced; in this order, also when Redis is away."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence

import pytest
from redis.exceptions import RedisError

from app.links import (
    CHANNEL,
    Cached,
    Catalog,
    LinkCache,
    LinkStore,
    Listing,
    Rule,
    SlugError,
    SlugTakenError,
    TargetError,
    Wanted,
    When,
)
from app.links.slugs import SLUG_LENGTH
from app.stores import open_redis
from tests.conftest import Stores
from tests.links.spelling import number_of_slug

With = Callable[[Callable[[Stores], Awaitable[None]]], None]
NOW_MS = 1_700_000_000_000
TARGET = "https://example.com/"


def make_catalog(
    stores: Stores,
    *,
    randbelow: Callable[[int], int] = secrets.randbelow,
    cache: LinkCache | None = None,
    unannounced: list[Exception] | None = None,
) -> Catalog:
    ticks = itertools.count(NOW_MS)
    return Catalog(
        store=LinkStore(stores.database),
        cache=cache or LinkCache(stores.redis),
        now_ms=lambda: next(ticks),
        randbits=secrets.randbits,
        randbelow=randbelow,
        ours={("sho.rt", 443)},
        on_unannounced=(unannounced if unannounced is not None else []).append,
    )


def spell(words: list[str]) -> Callable[[int], int]:
    """A random source that makes these slugs."""
    numbers: Iterator[int] = iter([number_of_slug(word) for word in words])
    return lambda _: next(numbers)


def test_made_link_is_in_mongodb_and_redis_when_it_is_reported(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        catalog = make_catalog(stores)
        link = await catalog.create(target="HTTPS://Example.com", title="T")
        assert link.target == "https://Example.com".lower()
        assert len(link.slug) == SLUG_LENGTH
        assert (link.version, link.created) == (NOW_MS, NOW_MS // 1000)
        assert await catalog.store.get(link.key) == link
        assert await LinkCache(stores.redis).get_many([link.key]) == [link.cached()]

    with_stores(scenario)


def test_collision_of_a_made_slug_is_tried_again(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await make_catalog(stores).create(target=TARGET, slug="aaaaaaa")
        catalog = make_catalog(stores, randbelow=spell(["aaaaaaa", "aaaaaaa", "bbbbbbb"]))
        assert (await catalog.create(target=TARGET)).slug == "bbbbbbb"

    with_stores(scenario)


def test_random_source_that_is_stuck_ends_in_an_error(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        catalog = make_catalog(stores, randbelow=lambda _: 0)
        await catalog.create(target=TARGET)
        with pytest.raises(SlugTakenError):
            await catalog.create(target=TARGET)

    with_stores(scenario)


def test_wish_that_cannot_be_granted_stores_nothing(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        catalog = make_catalog(stores)
        with pytest.raises(TargetError):
            await catalog.create(target="https://sho.rt/x", slug="a")
        with pytest.raises(SlugError):
            await catalog.create(target=TARGET, slug="api")
        await catalog.create(target=TARGET, slug="a")
        with pytest.raises(SlugTakenError):
            await catalog.create(target=TARGET, slug="a")
        assert [link.slug for link in (await catalog.store.page(Listing(), limit=9)).items] == ["a"]

    with_stores(scenario)


def test_deleted_link_is_a_tombstone_and_its_slug_may_be_taken_again(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        catalog, cache = make_catalog(stores), LinkCache(stores.redis)
        first = await catalog.create(target=TARGET, slug="a")
        assert await catalog.delete("/a", version=first.version - 1) is None
        assert await catalog.delete("/a", version=first.version) is not None
        (tombstone,) = await cache.get_many(["/a"])
        assert tombstone is not None
        assert tombstone.is_deleted
        assert await catalog.delete("/a") is None
        again = await catalog.create(target=TARGET + "2", slug="a")
        assert again.version > tombstone.version > first.version
        assert again.link != first.link
        assert await cache.get_many(["/a"]) == [again.cached()]

    with_stores(scenario)


def test_every_change_is_published(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        catalog = make_catalog(stores)
        async with stores.redis.pubsub() as subscription:
            await subscription.subscribe(CHANNEL)
            link = await catalog.create(target=TARGET, slug="a")
            assert await catalog.change(link, {"title": "new"}) is not None
            assert await catalog.change(link, {"title": "of an old version"}) is None
            await catalog.delete("/a")
            kinds = [(await subscription.get_message(timeout=10) or {"type": None})["type"] for _ in range(4)]
            assert kinds == ["subscribe", "message", "message", "message"]

    with_stores(scenario)


def test_changed_target_is_judged_too(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        catalog = make_catalog(stores)
        link = await catalog.create(target=TARGET, slug="a")
        with pytest.raises(TargetError):
            await catalog.change(link, {"target": "javascript:alert(1)"})
        assert await catalog.store.get("/a") == link

    with_stores(scenario)


def test_change_is_found_by_its_new_words(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        catalog = make_catalog(stores)
        link = await catalog.create(target=TARGET, slug="a", title="Spring")
        link = await catalog.change(link, {"title": "Winter"}) or link
        link = await catalog.change(link, {"target": "https://other.example/"}) or link
        rules = (Rule("https://m.example/", When(device=("mobile",))),)
        link = await catalog.change(link, {"rules": rules}) or link
        assert (await catalog.store.get("/a")) == link
        assert (link.rules, link.target) == (rules, "https://other.example/")
        for search, count in {"winter": 1, "spring": 0, "other.example": 1, "example.com": 0, "a": 1}.items():
            assert len((await catalog.store.page(Listing("", Wanted(q=search)), limit=9)).items) == count, search

    with_stores(scenario)


def test_announcements_of_one_turn_share_a_pipeline_and_each_waits_for_its_own(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        sent: list[int] = []

        class CountingCache(LinkCache):
            async def announce(self, items: Sequence[tuple[str, Cached]]) -> None:
                sent.append(len(items))
                await super().announce(items)

        cache = CountingCache(stores.redis)
        catalog = make_catalog(stores, cache=cache)
        links = await asyncio.gather(*(catalog.create(target=TARGET) for _ in range(50)))
        assert sent == [50]
        assert await cache.get_many([link.key for link in links]) == [link.cached() for link in links]

    with_stores(scenario)


def test_rows_of_one_batch_have_each_their_own_result(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        made = spell(["AAAAAAA", "BBBBBBB", "AAAAAAA", "CCCCCCC"])
        catalog = make_catalog(stores, randbelow=made)
        taken = await catalog.create(target=TARGET, slug="taken")
        drafts = [
            catalog.draft(target=TARGET),
            catalog.draft(target=TARGET, slug="taken"),
            catalog.draft(target=TARGET),
        ]
        drafts.append(catalog.draft(target=TARGET))  # as the first one: another slug is made
        results = await catalog.create_many(drafts, [True, False, True, True])
        assert [getattr(result, "slug", type(result)) for result in results] == [
            "AAAAAAA",
            SlugTakenError,
            "BBBBBBB",
            "CCCCCCC",
        ]
        assert await catalog.store.get(taken.key) == taken

    with_stores(scenario)


def test_change_stands_when_redis_is_away(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        nowhere = open_redis("unix:///nowhere.sock")
        unannounced: list[Exception] = []
        catalog = make_catalog(stores, cache=LinkCache(nowhere), unannounced=unannounced)
        link = await catalog.create(target=TARGET, slug="a")
        assert await catalog.store.get("/a") == link
        assert await catalog.delete("/a") is not None
        assert len(unannounced) == 2
        assert all(isinstance(error, RedisError | OSError) for error in unannounced)
        await nowhere.aclose()

    with_stores(scenario)
