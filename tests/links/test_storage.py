"""Links in a real MongoDB: inserts that share a write, versions that never fall, pages, tombstones, indexes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from app.links.branches import Parameter, Rule, Variant, When
from app.links.listing import Listing, Place, Wanted
from app.links.model import Broken, Link, LinkState
from app.links.rows import from_row, to_row
from app.links.storage import BATCH_MAX, INDEXES, LINKS, LinkStore, SlugTakenError
from tests.conftest import Stores

With = Callable[[Callable[[Stores], Awaitable[None]]], None]
NOW_MS = 1_700_000_000_000
RULES = (Rule("https://a/", When(device=("mobile",), query=(Parameter("a.$b", ("c",)),), hours=(5, 6))),)
VARIANTS = (Variant("https://b/", 3), Variant("https://c/"))


def make_link(number: int, slug: str | None = None, **fields: Any) -> Link:
    defaults: dict[str, Any] = {"domain": "", "version": NOW_MS, "created": NOW_MS // 1000}
    return Link(
        slug=slug or f"s{number}",
        link=number,
        target=f"https://example.com/{number}",
        **defaults | fields,
    )


async def open_store(stores: Stores) -> LinkStore:
    await stores.database[LINKS].create_indexes(INDEXES)
    return LinkStore(stores.database)


def test_link_is_read_as_it_was_stored(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        store = await open_store(stores)
        link = make_link(
            2**63 - 1,
            tags=["a"],
            title="T",
            starts=5,
            expires=6,
            max_visits=7,
            rules=RULES,
            variants=VARIANTS,
            code=301,
        )
        assert await store.insert(link) == link
        assert await store.get("/s" + str(2**63 - 1)) == link
        assert await store.get("/none") is None
        raw = await stores.database[LINKS].find_one({"_id": link.key})
        assert raw is not None
        assert "password_hash" not in raw

    with_stores(scenario)


def test_redirects_read_many_links_at_once_tombstones_included(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        store = await open_store(stores)
        await asyncio.gather(*(store.insert(make_link(n, notes="not for redirects")) for n in range(1, 4)))
        await store.tombstones.bury("/s2", now_ms=NOW_MS, version=None)
        found = await store.find_many(["/s1", "/s2", "/none"])
        assert set(found) == {"/s1", "/s2"}
        assert found["/s1"].cached().entry is not None
        assert found["/s2"].cached().is_deleted
        assert found["/s1"].cached() == make_link(1).cached()

    with_stores(scenario)


def test_inserts_of_one_turn_share_a_write_and_fail_one_by_one(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        store = await open_store(stores)
        await store.insert(make_link(1, "taken"))
        before = (await stores.database.client.admin.command("serverStatus"))["opcounters"]["insert"]
        wishes = [make_link(n, "taken" if n == 5 else None) for n in range(2, BATCH_MAX + 10)]
        results = await asyncio.gather(*map(store.insert, wishes), return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        assert [type(failure) for failure in failures] == [SlugTakenError]
        assert results[3] is failures[0]
        assert await stores.database[LINKS].count_documents({}) == BATCH_MAX + 8
        after = (await stores.database.client.admin.command("serverStatus"))["opcounters"]["insert"]
        assert after - before >= BATCH_MAX

    with_stores(scenario)


def test_same_slug_wished_twice_in_one_turn_is_had_once(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        store = await open_store(stores)
        results = await asyncio.gather(
            store.insert(make_link(1, "one")), store.insert(make_link(2, "one")), return_exceptions=True
        )
        assert [type(result) for result in results] == [Link, SlugTakenError]

    with_stores(scenario)


def test_version_never_falls(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        store = await open_store(stores)
        await store.insert(make_link(1, "a"))
        later = await store.change("/a", {"title": "1"}, now_ms=NOW_MS + 50, version=None)
        assert later is not None
        assert later.version == NOW_MS + 50
        clock_set_back = await store.change("/a", {"title": "$2"}, now_ms=NOW_MS - 10_000, version=None)
        assert clock_set_back is not None
        assert (clock_set_back.version, clock_set_back.title) == (NOW_MS + 51, "$2")
        gone = await store.tombstones.bury("/a", now_ms=NOW_MS, version=None)
        assert gone is not None
        assert gone.version == NOW_MS + 52
        again = await store.insert(make_link(2, "a"))
        assert (again.version, again.link, again.title) == (NOW_MS + 53, 2, "")

    with_stores(scenario)


def test_change_at_another_version_or_of_a_deleted_link_changes_nothing(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        store = await open_store(stores)
        link = await store.insert(make_link(1, "a"))
        assert await store.change("/a", {"title": "x"}, now_ms=NOW_MS, version=link.version - 1) is None
        assert await store.get("/a") == link
        assert await store.tombstones.bury("/a", now_ms=NOW_MS, version=link.version - 1) is None
        assert await store.tombstones.bury("/a", now_ms=NOW_MS, version=link.version) is not None
        assert await store.tombstones.bury("/a", now_ms=NOW_MS, version=None) is None
        assert await store.get("/a") is None
        assert await store.change("/a", {"state": "active"}, now_ms=NOW_MS, version=None) is None

    with_stores(scenario)


def test_disabled_link_keeps_its_slug(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        store = await open_store(stores)
        await store.insert(make_link(1, "a", state=LinkState.BANNED))
        with pytest.raises(SlugTakenError):
            await store.insert(make_link(2, "a"))

    with_stores(scenario)


def test_pages_show_every_living_link_once_also_while_links_come(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        store = await open_store(stores)
        tagged = {n: ["red"] if n % 2 else [] for n in range(1, 24)}
        await asyncio.gather(
            *(store.insert(make_link(n, tags=tags, created=1000 + n // 5)) for n, tags in tagged.items())
        )
        await store.tombstones.bury("/s7", now_ms=NOW_MS, version=None)
        seen: list[str] = []
        after: Place | None = None
        while True:
            page = await store.page(Listing(), limit=4, after=after)
            seen += [link.slug for link in page.items]
            await store.insert(make_link(100 + len(seen), created=9999))
            after = page.following
            if after is None:
                break
        assert len(seen) == len(set(seen))
        assert set(seen) == {f"s{n}" for n in tagged if n != 7}
        red = await store.page(Listing("", Wanted(tag="red")), limit=100)
        assert {link.slug for link in red.items} == {f"s{n}" for n in tagged if n % 2 and n != 7}
        assert red.following is None

    with_stores(scenario)


def test_visits_are_counted_up_to_the_stored_limit(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        store = await open_store(stores)
        await store.insert(make_link(1, "a", max_visits=3))
        assert await store.has_visits("/a", 1)
        assert not await store.has_visits("/a", 2), "another link's id"
        granted = await asyncio.gather(*(store.spend_visit("/a", 1) for _ in range(10)))
        assert sum(granted) == 3
        assert not await store.has_visits("/a", 1)
        await store.change("/a", {"max_visits": 4}, now_ms=NOW_MS, version=None)
        assert [await store.spend_visit("/a", 1) for _ in range(2)] == [True, False]
        await store.change("/a", {"max_visits": None}, now_ms=NOW_MS, version=None)
        assert await store.spend_visit("/a", 1)
        await store.change("/a", {"state": "banned"}, now_ms=NOW_MS, version=None)
        assert not await store.spend_visit("/a", 1)
        link = await store.get("/a")
        assert link is not None
        assert link.visits == 5

    with_stores(scenario)


def test_a_document_has_every_field_of_a_link() -> None:
    given: dict[str, Any] = {
        "starts": 5,
        "expires": 6,
        "max_visits": 7,
        "password_hash": b"h",
        "deleted": 8,
        "code": 301,
    }
    given |= {"rules": RULES, "variants": VARIANTS, "forward_query": True, "forward_path": True, "owner": "o"}
    given |= {"tags": ["t"], "title": "T", "notes": "N", "visits": 2, "clicks": 3, "state": LinkState.BANNED}
    given["broken"] = Broken(9, "it answers 404")
    link = make_link(1, **given)
    unset = make_link(2, domain="go.example")
    own = {"domain", "slug", "link", "target", "version", "created", "is_only"}
    assert {field for field in Link.__struct_fields__ if getattr(link, field) != getattr(unset, field)} >= {
        *Link.__struct_fields__
    } - own
    assert from_row(to_row(link)) == link
    assert from_row(to_row(unset)) == unset
    assert next(iter(to_row(link))) == "_id", "where MongoDB wants it"


def test_who_has_a_tombstone_or_a_taken_slug_in_one_write_with_others_waits_alone(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        store = await open_store(stores)
        await store.insert_many([make_link(n) for n in range(1, 5)])
        await store.tombstones.bury("/s2", now_ms=NOW_MS + 7, version=None)
        mixed = [
            make_link(11, "new"),
            make_link(12, "s1"),
            make_link(13, "s2"),
            make_link(14, "new"),
            make_link(4, "s4"),
        ]
        fresh, found = await asyncio.gather(
            store.insert_many([make_link(n) for n in range(20, 25)]), store.insert_many(mixed)
        )
        assert fresh == [make_link(n) for n in range(20, 25)]
        assert [type(result) for result in found] == [Link, SlugTakenError, Link, SlugTakenError, Link]
        assert found[0] == mixed[0]
        assert isinstance(found[2], Link)
        assert (found[2].link, found[2].version) == (13, NOW_MS + 8)
        assert found[4] == make_link(4), "the same wish once more"

    with_stores(scenario)


def test_links_asked_for_in_one_turn_share_a_query_and_who_goes_away_takes_nothing_with_him(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        store = await open_store(stores)
        await store.insert_many([make_link(n) for n in range(1, 40)])
        await store.tombstones.bury("/s2", now_ms=NOW_MS, version=None)
        before = (await stores.database.client.admin.command("serverStatus"))["opcounters"]["query"]
        asked = [asyncio.create_task(store.get(f"/s{n}")) for n in (*range(1, 41), 1)]
        await asyncio.sleep(0)
        asked[3].cancel()
        found = await asyncio.gather(*asked, return_exceptions=True)
        wanted: list[Any] = [make_link(n) for n in (*range(1, 40), 1)]
        wanted[1], wanted[3] = None, found[3]
        wanted.insert(39, None)
        assert found == wanted
        assert isinstance(found[3], asyncio.CancelledError)
        after = (await stores.database.client.admin.command("serverStatus"))["opcounters"]["query"]
        assert after - before < 10

    with_stores(scenario)
