"""Lists in a real MongoDB: each order and narrowing by an index, each link once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from pymongo.errors import ExecutionTimeout

from app.links import storage
from app.links.listing import ORDERS, Listing, ListingError, Place, Wanted
from app.links.model import Broken, Link, LinkState
from app.links.rows import to_row
from app.links.storage import INDEXES, LINKS, LinkStore
from tests.conftest import Stores

With = Callable[[Callable[[Stores], Awaitable[None]]], None]
NARROWINGS: list[Wanted] = [
    Wanted(tag=tag, q=q, domain=domain, **more)
    for tag in ("", "red")
    for q in ("", "spring", "spring sale")
    for domain in (None, "", "go.example")
    for more in (
        {},
        {"owner": "ann"},
        {"state": LinkState.ACTIVE},
        {"state": LinkState.BANNED, "owner": "bob"},
        {"created_from": 1_003, "created_to": 1_009},
        {"expires_from": 2_010},
        {"expires_to": 2_030, "owner": "bob"},
        {"prefix": "s1"},
        {"state": LinkState.DELETED},
        {"broken": True},
        {"broken": True, "owner": "ann", "state": LinkState.BANNED},
    )
]
DELETED = 7
MANY = 15_000  # links: more than are walked over in a millisecond


def offered() -> list[tuple[str, Wanted]]:
    """Every combination that is not refused."""
    found = []
    for sort in ORDERS:
        for wanted in NARROWINGS:
            try:
                Listing(sort, wanted)
            except ListingError:
                continue
            found.append((sort, wanted))
    assert len(found) > 200
    return found


def link_of(n: int) -> Link:
    return Link(
        domain="go.example" if n % 3 == 0 else "",
        slug=f"s{n}",
        link=n,
        target="https://example.com/",
        version=n,
        created=1_000 + n // 4,
        clicks=n % 5,
        expires=2_000 + n if n % 4 else None,
        owner="ann" if n % 7 else "bob",
        state=LinkState.BANNED if n % 14 == 0 else LinkState.ACTIVE,
        tags=["red"] if n % 2 else [],
        title="Spring Sale" if n % 5 else "Winter",
        broken=Broken(n, "it answers 404") if n % 3 else None,
    )


def is_wanted(n: int, sort: str, wanted: Wanted) -> bool:
    """What each filter means, in plain words."""
    link = link_of(n)
    if (n == DELETED) is not (wanted.state is LinkState.DELETED):
        return False
    expires = link.expires
    if "expires" in sort and (expires is None or not (wanted.expires_from or 0) <= expires):
        return False
    facts = [
        not wanted.tag or wanted.tag in link.tags,
        not wanted.q or set(wanted.q.split()) <= set(link.title.lower().split()),
        wanted.domain in (None, link.domain),
        not wanted.prefix or (link.slug.startswith(wanted.prefix) and link.domain == (wanted.domain or "")),
        wanted.owner in ("", link.owner),
        not wanted.broken or link.broken is not None,
        wanted.state in (None, LinkState.DELETED, link.state),
        (wanted.created_from or 0) <= link.created < (wanted.created_to or 9_999),
        wanted.expires_to is None or expires is None or expires < wanted.expires_to,
    ]
    return all(facts)


async def fill(stores: Stores) -> LinkStore:
    await stores.database[LINKS].create_indexes(INDEXES)
    store = LinkStore(stores.database)
    await asyncio.gather(*(store.insert(link_of(n)) for n in range(1, 61)))
    assert await store.tombstones.bury(f"/s{DELETED}", now_ms=1, version=None) is not None
    return store


def test_every_list_is_answered_by_an_index(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await fill(stores)
        links = stores.database[LINKS]
        for sort, wanted in offered():
            listing = Listing(sort, wanted)
            for after in (None, Place(sort, 1_003, "/s9")):
                found = links.find(listing.query(after), hint=listing.hint).sort(listing.order).limit(9)
                plan = str((await found.explain())["queryPlanner"]["winningPlan"])
                assert "'IXSCAN'" in plan, (sort, wanted)
                assert "'COLLSCAN'" not in plan, (sort, wanted)
                assert "'SORT'" not in plan, (sort, wanted)

    with_stores(scenario)


def test_pages_of_every_list_show_each_link_once_and_in_order(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        store = await fill(stores)
        for sort, wanted in offered():
            listing = Listing(sort, wanted)
            seen: list[Link] = []
            after: Place | None = None
            while True:
                page = await store.page(listing, limit=7, after=after)
                seen += page.items
                after = page.following
                if after is None:
                    break
            expected = [n for n in range(1, 61) if is_wanted(n, sort, wanted)]
            assert sorted(link.link for link in seen) == expected, (sort, wanted)
            assert await store.count(listing) == len(expected)
            field, direction = ORDERS[sort]
            values = [link.key if field == "_id" else (getattr(link, field), link.key) for link in seen]
            assert values == sorted(values, reverse=direction < 0), (sort, wanted)

    with_stores(scenario)


def test_a_count_ends_at_its_limit(with_stores: With, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "COUNT_MAX", 20)

    async def scenario(stores: Stores) -> None:
        store = await fill(stores)
        assert await store.count(Listing()) == 21
        assert await store.count(Listing("slug")) == 21
        assert await store.count(Listing("", Wanted(owner="bob"))) == 7

    with_stores(scenario)


def test_a_list_that_takes_too_long_is_refused_if_filters_are_crossed(
    with_stores: With, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "LIST_MS", 1)

    async def scenario(stores: Stores) -> None:
        store = await fill(stores)
        likes = to_row(link_of(1)), to_row(link_of(28))  # ann's are red, bob's are not
        rows = [{**likes[n % 2], "_id": f"/x{n}", "link": n} for n in range(100, MANY)]
        await stores.database[LINKS].insert_many(rows, ordered=False)
        crossed = Listing("", Wanted(tag="red", owner="bob"))
        for asked in (store.page(crossed, limit=5), store.count(crossed)):
            with pytest.raises(ListingError) as refused:
                await asked
            assert refused.value.field == "tag"
        with pytest.raises(ExecutionTimeout):
            await store.page(Listing("", Wanted(tag="red")), limit=MANY)

    with_stores(scenario)


@pytest.mark.parametrize(
    ("sort", "wanted", "field"),
    [
        ("random", Wanted(), "sort"),
        ("clicks", Wanted(q="spring"), "q"),
        ("-clicks", Wanted(created_from=1), "created_from"),
        ("created", Wanted(expires_to=1), "expires_to"),
        ("expires", Wanted(created_to=1), "created_to"),
        ("slug", Wanted(tag="red"), "tag"),
        ("slug", Wanted(broken=True), "broken"),
        ("created", Wanted(prefix="s"), "prefix"),
        ("created", Wanted(q="?!"), "q"),
        ("created", Wanted(state=LinkState.DELETED), "sort"),
        ("-deleted", Wanted(), "sort"),
        ("", Wanted(state=LinkState.DELETED, owner="ann"), "owner"),
    ],
)
def test_what_no_index_answers_is_refused(sort: str, wanted: Wanted, field: str) -> None:
    with pytest.raises(ListingError) as refused:
        Listing(sort, wanted)
    assert refused.value.field == field


def test_a_place_of_another_order_is_refused() -> None:
    with pytest.raises(ListingError) as refused:
        Listing("clicks").query(Place("-clicks", 1, "/a"))
    assert refused.value.field == "cursor"
