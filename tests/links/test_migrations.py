"""Links of earlier releases are brought up to date by what MIGRATIONS say of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from bson.int64 import Int64

from app.links import LINKS, MIGRATIONS, LinkStore, Listing, Wanted
from app.stores import Migrations
from app.stores.schema import SCHEMA_VERSION
from tests.conftest import Stores

With = Callable[[Callable[[Stores], Awaitable[None]]], None]
OLD = {"link": Int64(1), "version": Int64(5), "created": 1, "tags": ["old"], "target": "https://example.com/a"}


def test_old_links_are_found_and_keep_their_version_and_deleted_ones_are_left(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        rows: list[dict[str, Any]] = [
            {"_id": "/a", "state": "active", "title": "Spring sale", **OLD},
            {"_id": "go.example/b", "state": "banned", **OLD, "link": Int64(2)},
            {"_id": "/c", "state": "deleted", "terms": ["spring"], **OLD, "link": Int64(3)},
        ]
        await stores.database[LINKS].insert_many(rows)
        migrations = Migrations(stores.database, MIGRATIONS, now=lambda: datetime.now(UTC), tell=lambda *_, **__: None)
        while await migrations.step():
            pass
        store = LinkStore(stores.database)
        page = await store.page(Listing(wanted=Wanted(q="spring")), limit=10)
        assert [(link.slug, link.version) for link in page.items] == [("a", 5)]
        page = await store.page(Listing(wanted=Wanted(tag="old")), limit=10)
        assert [link.slug for link in page.items] == ["b", "a"]
        page = await store.page(Listing(wanted=Wanted(domain="go.example")), limit=10)
        assert [link.slug for link in page.items] == ["b"]
        assert await stores.database[LINKS].find_one({"_id": "/c", "terms": {"$exists": True}}) is None

    with_stores(scenario)


def test_each_migration_has_a_version_of_its_own() -> None:
    versions = [migration.version for migration in MIGRATIONS]
    assert versions == sorted(set(versions))
    assert versions[-1] <= SCHEMA_VERSION
