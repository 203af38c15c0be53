"""Slugs that become lower case: what clashes, and how links are renamed, in a real MongoDB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from app.links import Link, LinkStore
from app.links.folding import CAPITALS_MAX, CLASHES_MAX, Folding, FoldingError
from app.links.noting import LINKS
from app.links.rows import from_row, to_row
from app.links.storage import INDEXES
from app.stores import Session
from tests.conftest import Stores
from tests.links.test_storage import NOW_MS, With, make_link

LATER_MS = NOW_MS + 5_000
GO = "go.example"


async def open_store(stores: Stores) -> LinkStore:
    async def write_notes(notes: Sequence[Mapping[str, Any]], session: Session) -> None:
        await stores.database["notes"].insert_many([dict(note) for note in notes], session=session)

    await stores.database[LINKS].create_indexes(INDEXES)
    return LinkStore(stores.database, kept_s=3600, write_notes=write_notes)


def tell(old_key: str, link: Link) -> Mapping[str, Any]:
    return {"old": old_key, "new": link.key}


async def rows_of(stores: Stores) -> dict[str, Link]:
    return {row["_id"]: from_row(row) async for row in stores.database[LINKS].find()}


def test_keys_with_capitals_are_found_within_their_domain_and_clashes_of_the_living(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        store = await open_store(stores)
        slugs = ["Sale", "sale", "SALE", "One", "two", "Gone", "gone"]
        links = [make_link(n, slug, domain=GO) for n, slug in enumerate(slugs, 1)]
        await store.insert_many([*links, make_link(20, "Sale", domain="goXexample"), make_link(21, "Default")])
        await store.tombstones.bury(f"{GO}/Gone", now_ms=NOW_MS, version=None)
        found = await store.folding.look(GO)
        assert sorted(found.keys) == [f"{GO}/{slug}" for slug in ("Gone", "One", "SALE", "Sale")]
        assert found.clashes == [("SALE", "Sale", "sale")]
        assert (await store.folding.look("")).keys == ["/Default"]

    with_stores(scenario)


def test_links_are_renamed_with_their_notes_and_without_losing_anything(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        store = await open_store(stores)
        made = make_link(1, "Sale", domain=GO, title="T", tags=["t"], clicks=7, max_visits=5, visits=2)
        await store.insert_many([made, make_link(2, "plain", domain=GO)])
        renamed = await store.folding.rename([f"{GO}/Sale", f"{GO}/none"], now_ms=LATER_MS, tell=tell)
        [(old, link)] = renamed
        assert old == f"{GO}/Sale"
        row = await stores.database[LINKS].find_one({"_id": f"{GO}/sale"})
        assert row == {**to_row(made), "_id": f"{GO}/sale", "version": LATER_MS}
        assert link == from_row(row)
        assert set(await rows_of(stores)) == {f"{GO}/sale", f"{GO}/plain"}
        notes = await stores.database["notes"].find({}, {"_id": 0}).to_list()
        assert notes == [{"old": f"{GO}/Sale", "new": f"{GO}/sale"}]
        assert await store.folding.rename([f"{GO}/Sale"], now_ms=LATER_MS, tell=tell) == [], "once more"

    with_stores(scenario)


def test_a_renamed_link_takes_a_tombstone_s_place_with_a_higher_version_and_never_a_living_one_s(
    with_stores: With,
) -> None:
    async def scenario(stores: Stores) -> None:
        store = await open_store(stores)
        slugs = ["Old", "old", "Kept", "kept", "Dead", "dead", "Twice", "TWICE"]
        await store.insert_many([make_link(n, slug, domain=GO) for n, slug in enumerate(slugs, 1)])
        for slug, version_ms in (("old", LATER_MS + 50), ("Dead", NOW_MS), ("TWICE", NOW_MS)):
            await store.tombstones.bury(f"{GO}/{slug}", now_ms=version_ms, version=None)
        keys = (await store.folding.look(GO)).keys
        renamed = await store.folding.rename(keys, now_ms=LATER_MS, tell=tell)
        assert {old for old, _ in renamed} == {f"{GO}/Old", f"{GO}/Twice"}
        after = await rows_of(stores)
        assert (after[f"{GO}/old"].link, after[f"{GO}/old"].version) == (1, LATER_MS + 51)
        assert (after[f"{GO}/twice"].link, after[f"{GO}/twice"].version) == (7, LATER_MS)
        assert {key.partition("/")[2] for key in after} == {"old", "twice", "Kept", "kept", "Dead", "dead", "TWICE"}

    with_stores(scenario)


def test_what_is_looked_through_and_told_is_bounded(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        folding = Folding(stores.database, None)
        pairs = [{"_id": f"/{c}lash{n}", "state": "active"} for n in range(CLASHES_MAX + 5) for c in "Cc"]
        await stores.database[LINKS].insert_many(pairs)
        assert len((await folding.look("")).clashes) == CLASHES_MAX
        many = [{"_id": f"{GO}/A{n}", "state": "active"} for n in range(CAPITALS_MAX)]
        await stores.database[LINKS].insert_many(many)
        assert len((await folding.look(GO)).keys) == CAPITALS_MAX
        await stores.database[LINKS].insert_one({"_id": f"{GO}/B", "state": "active"})
        with pytest.raises(FoldingError, match="more than 10000 links"):
            await folding.look(GO)

    with_stores(scenario)
