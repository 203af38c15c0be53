"""A click is in each of its scopes exactly when it is in its link."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.analytics import ALL, CLICKS_SUM, Bucket, Delta, Ledger, estimate_visitors, scope_id
from app.analytics import scopes as scopes_module
from app.analytics.periods import is_link
from app.analytics.scopes import ScopeBook, add_delta
from app.links import LINKS
from tests.analytics.clicks import delta_of
from tests.conftest import Stores

With = Callable[..., None]
DAY = 20_000


async def make_link(stores: Stores, link: int, key: str, **fields: Any) -> None:
    await stores.database[LINKS].insert_one({"_id": key, "link": link, "version": 1, **fields})


def names(sums: dict[tuple[int, int], Delta], *wanted: str) -> dict[str, int]:
    """Clicks of the sums by the text that names them; every sum must be wanted."""
    ids = {scope_id(*name.split(":", 1)): name for name in wanted}
    return {ids[scope]: delta.clicks for (scope, _), delta in sums.items()}


def test_links_are_summed_by_domain_user_and_tag(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await make_link(stores, 1, "/a", owner="ann", tags=["x", "y"])
        await make_link(stores, 3, "go.example.com/a", owner="ann", tags=["y"], state="deleted")
        await make_link(stores, 5, "/b")
        deltas = {(1, DAY): delta_of([1]), (3, DAY): delta_of([2, 3]), (5, DAY): delta_of([4, 5, 6])}
        sums = await ScopeBook(stores.database).sums(deltas)
        assert names(sums, "all", "domain:", "domain:go.example.com", "user:ann", "user:", "tag:x", "tag:y") == {
            "all": 6,
            "domain:": 4,
            "domain:go.example.com": 2,
            "user:ann": 3,
            "user:": 3,
            "tag:x": 1,
            "tag:y": 3,
        }
        assert sums[ALL, DAY].minutes == dict.fromkeys(range(1, 7), 1)
        assert sums[ALL, DAY].dims == {"browser": {"Firefox": 6}}
        assert sums[ALL, DAY].bots == 3

    with_stores(scenario)


def test_what_is_remembered_of_links_is_what_was_read(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await make_link(stores, 1, "/a", owner="ann", tags=["x"])
        await make_link(stores, 3, "/b", owner="bob")
        await make_link(stores, 5, "/c", owner="bob")
        book = ScopeBook(stores.database)
        deltas = {(1, DAY): delta_of([1]), (3, DAY): delta_of([2, 3]), (5, DAY): delta_of([4, 5, 6]), (7, DAY): Delta()}
        read, remembered = [
            names(await book.sums(deltas), "all", "domain:", "user:ann", "user:bob", "tag:x") for _ in range(2)
        ]
        assert read == remembered == {"all": 6, "domain:": 6, "user:ann": 1, "user:bob": 5, "tag:x": 1}

    with_stores(scenario)


def test_days_are_summed_apart_and_parts_stay_as_they_were(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        deltas = {(1, DAY): delta_of([1]), (1, DAY + 1): delta_of([1, 2]), (3, DAY): delta_of([1])}
        deltas[1, DAY].dims["variant"] = {"2": 1}
        sums = await ScopeBook(stores.database).sums(deltas)
        assert {key: delta.clicks for key, delta in sums.items()} == {(ALL, DAY): 2, (ALL, DAY + 1): 2}
        assert "variant" not in sums[ALL, DAY].dims
        assert deltas[1, DAY].dims["variant"] == {"2": 1}
        assert [delta.clicks for delta in deltas.values()] == [1, 2, 1]

    with_stores(scenario)


def test_what_is_nobodys_is_in_no_scope(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        assert await ScopeBook(stores.database).sums({(0, DAY): delta_of([1])}) == {}

    with_stores(scenario)


def test_change_of_a_link_is_known_after_a_minute_and_changes_nothing_before(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        now_s = 100.0
        book = ScopeBook(stores.database, monotonic=lambda: now_s)
        await make_link(stores, 1, "/a", tags=["x"])
        tags = []
        for step_s in (0.0, 59.0, 2.0):
            now_s += step_s
            sums = await book.sums({(1, DAY): delta_of([1])})
            tags.append(names(sums, "all", "domain:", "user:", "tag:x", "tag:y").keys() & {"tag:x", "tag:y"})
            await stores.database[LINKS].update_one({}, {"$set": {"tags": ["y"]}})
        assert tags == [{"tag:x"}, {"tag:x"}, {"tag:y"}]

    with_stores(scenario)


def test_memory_is_bounded(with_stores: With, monkeypatch: Any) -> None:
    monkeypatch.setattr(scopes_module, "KNOWN_MAX", 10)

    async def scenario(stores: Stores) -> None:
        book = ScopeBook(stores.database)
        for link in range(1, 60, 2):
            await book.sums({(link, DAY): delta_of([1])})
            assert len(book._known) <= 10

    with_stores(scenario)


def test_batch_stores_its_sums_with_its_buckets(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        ledger = Ledger(stores.database, "n-0")
        await ledger.apply("source", 0, 64, {(1, DAY): delta_of([1])})
        await ledger.apply("source", 64, 128, {(1, DAY): delta_of([1, 2]), (3, DAY): delta_of([7])})
        rows = [row async for row in stores.database[CLICKS_SUM].find().sort("_id")]
        assert [row["_id"].rpartition("-")[2] for row in rows] == ["0", "40"]
        buckets = [Bucket.from_document(row) for row in rows]
        assert [(bucket.clicks, bucket.rev) for bucket in buckets] == [(1, 1), (3, 1)]
        assert estimate_visitors(buckets[1].visitors) == 3
        assert all(int(row["_id"][:16], 16) == ALL for row in rows)

    with_stores(scenario)


def test_scopes_are_no_links_and_have_ids_of_their_own() -> None:
    ids = [scope_id(kind, name) for kind in ("tag", "user", "domain") for name in ("", "a", "b")]
    assert len({ALL, *ids}) == 10
    assert not any(is_link(one) for one in ids)


def test_sum_holds_whatever_a_part_holds() -> None:
    part, total = delta_of([1, 1, 2]), Delta()
    for name in Delta.__slots__:
        if isinstance(getattr(part, name), int):
            setattr(part, name, 5)
    for _ in range(2):
        add_delta(total, part)
    assert total.minutes == {1: 4, 2: 2}
    assert total.dims == {"browser": {"Firefox": 6}}
    assert total.visitors == part.visitors * 2
    assert all(getattr(total, name) == 10 for name in Delta.__slots__ if isinstance(getattr(part, name), int))
