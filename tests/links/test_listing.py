"""Lists in a real MongoDB: each order and narrowing by an index, each link once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from app.links.listing import ORDERS, Listing, ListingError, Place
from app.links.model import Link
from app.links.storage import INDEXES, LINKS, LinkStore
from tests.conftest import Stores

With = Callable[[Callable[[Stores], Awaitable[None]]], None]
NARROWINGS: list[dict[str, Any]] = [
    {"tag": tag, "search": search, "domain": domain}
    for tag in ("", "red")
    for search in ("", "spring", "spring sale")
    for domain in (None, "", "go.example")
]


def offered() -> list[tuple[str, dict[str, Any]]]:
    """Every combination that is not refused."""
    found = []
    for sort in ORDERS:
        for narrowing in NARROWINGS:
            try:
                Listing(sort, **narrowing)
            except ListingError:
                continue
            found.append((sort, narrowing))
    return found


async def fill(stores: Stores) -> LinkStore:
    await stores.database[LINKS].create_indexes(INDEXES)
    store = LinkStore(stores.database)
    links = [
        Link(
            domain="go.example" if n % 3 == 0 else "",
            slug=f"s{n}",
            link=n,
            target="https://example.com/",
            version=n,
            created=1_000 + n // 4,
            clicks=n % 5,
            tags=["red"] if n % 2 else [],
            title="Spring Sale" if n % 5 else "Winter",
        )
        for n in range(1, 61)
    ]
    await asyncio.gather(*map(store.insert, links))
    await store.change("/s7", {"state": "deleted"}, now_ms=1, version=None)
    return store


def test_every_list_is_answered_by_an_index(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await fill(stores)
        links = stores.database[LINKS]
        for sort, narrowing in offered():
            listing = Listing(sort, **narrowing)
            for after in (None, Place(sort, 1_003, "/s9")):
                found = links.find(listing.query(after)).sort(listing.order).limit(9)
                plan = str((await found.explain())["queryPlanner"]["winningPlan"])
                assert "'IXSCAN'" in plan, (sort, narrowing)
                assert "'COLLSCAN'" not in plan, (sort, narrowing)
                assert "'SORT'" not in plan, (sort, narrowing)

    with_stores(scenario)


def test_pages_of_every_list_show_each_link_once_and_in_order(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        store = await fill(stores)
        for sort, narrowing in offered():
            listing = Listing(sort, **narrowing)
            seen: list[Link] = []
            after: Place | None = None
            while True:
                page = await store.page(listing, limit=7, after=after)
                seen += page.items
                after = page.following
                if after is None:
                    break
            wanted = [
                n
                for n in range(1, 61)
                if n != 7
                and (not narrowing["tag"] or n % 2)
                and (not narrowing["search"] or n % 5)
                and narrowing["domain"] in (None, "go.example" if n % 3 == 0 else "")
            ]
            assert sorted(link.link for link in seen) == wanted, (sort, narrowing)
            field, direction = ORDERS[sort]
            values = [link.key if field == "_id" else (getattr(link, field), link.key) for link in seen]
            assert values == sorted(values, reverse=direction < 0), (sort, narrowing)

    with_stores(scenario)


@pytest.mark.parametrize(
    ("sort", "narrowing", "field"),
    [
        ("random", {}, "sort"),
        ("clicks", {"search": "spring"}, "q"),
        ("-clicks", {"domain": "go.example"}, "domain"),
        ("slug", {"tag": "red"}, "tag"),
        ("created", {"search": "?!"}, "q"),
    ],
)
def test_what_no_index_answers_is_refused(sort: str, narrowing: dict[str, Any], field: str) -> None:
    with pytest.raises(ListingError) as refused:
        Listing(sort, **narrowing)
    assert refused.value.field == field


def test_a_place_of_another_order_is_refused() -> None:
    with pytest.raises(ListingError) as refused:
        Listing("clicks").query(Place("-clicks", 1, "/a"))
    assert refused.value.field == "cursor"
