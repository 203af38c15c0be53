"""What a process knows of domains: from MongoDB, or from the copy in Redis when it starts without it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from app.links import Domain, DomainStore, DomainWatch, LinkStore
from app.links.domains import REDIS_KEY
from app.stores import Session, open_mongodb, open_redis
from tests.conftest import Stores

With = Callable[[Callable[[Stores], Awaitable[None]]], None]


NOTE = {"what": "noted"}


def store_of(stores: Stores) -> DomainStore:
    async def write_notes(notes: Sequence[Mapping[str, Any]], session: Session) -> None:
        await stores.database["notes"].insert_many([dict(note) for note in notes], session=session)

    return DomainStore(stores.database, stores.redis, LinkStore(stores.database), write_notes)


def test_changes_are_followed_and_told_once(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        told: list[frozenset[str]] = []
        store = store_of(stores)
        watch = DomainWatch(store, told.append)
        await watch.refresh()
        await watch.refresh()
        await store.add(Domain(name="a.example", created=1), NOTE)
        assert await watch.knows("a.example"), "by asking, before the next round"
        assert not await watch.knows("b.example")
        await watch.refresh()
        await store.remove("a.example", NOTE)
        await watch.refresh()
        assert told == [frozenset(), frozenset({"a.example"}), frozenset()]

    with_stores(scenario)


def test_without_mongodb_a_new_process_takes_the_copy_and_an_old_one_keeps_what_it_knows(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        store = store_of(stores)
        await store.add(Domain(name="a.example", created=1), NOTE)
        old = DomainWatch(store, lambda names: None)
        await old.refresh()
        away = Stores(open_mongodb("mongodb://%2Fnowhere%2Fmongod.sock/x?replicaSet=rs0"), stores.redis)
        new = DomainWatch(store_of(away), lambda names: None)
        await new.refresh()
        assert new.names == frozenset({"a.example"})
        old.store = new.store
        await stores.redis.delete(REDIS_KEY)
        await old.refresh()
        assert old.names == frozenset({"a.example"})
        for rubbish in (b"\xc1", b"\x01"):
            await stores.redis.set(REDIS_KEY, rubbish)
            lost = DomainWatch(store_of(away), lambda names: None)
            await lost.refresh()
            assert lost.names is None
        await away.database.client.close()

    with_stores(scenario)


def test_without_any_store_nothing_is_known_and_nothing_is_claimed() -> None:
    async def scenario() -> None:
        stores = Stores(
            open_mongodb("mongodb://%2Fnowhere%2Fmongod.sock/x?replicaSet=rs0"), open_redis("unix:///nowhere/r.sock")
        )
        watch = DomainWatch(store_of(stores), lambda names: None)
        await watch.refresh()
        assert watch.names is None
        await stores.database.client.close()
        await stores.redis.aclose()

    asyncio.run(scenario())
