"""What a process knows of domains: from MongoDB, or from the copy in Redis when it starts without it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from app.links import PLAIN_OPTIONS, Domain, DomainOptions, DomainStore, DomainWatch, LinkStore
from app.links.domains import REDIS_KEY, Known
from app.stores import Session, open_mongodb, open_redis
from tests.conftest import Stores

With = Callable[[Callable[[Stores], Awaitable[None]]], None]


NOTE = {"what": "noted"}
OPTIONS = DomainOptions(root_target="https://a.example/", slug_length=9)


def store_of(stores: Stores) -> DomainStore:
    async def write_notes(notes: Sequence[Mapping[str, Any]], session: Session) -> None:
        await stores.database["notes"].insert_many([dict(note) for note in notes], session=session)

    return DomainStore(stores.database, stores.redis, LinkStore(stores.database), write_notes)


def test_changes_are_followed_and_told_once(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        told: list[Known] = []
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
        assert told == [{}, {"a.example": PLAIN_OPTIONS}, {}]

    with_stores(scenario)


def test_without_mongodb_a_new_process_takes_the_copy_and_an_old_one_keeps_what_it_knows(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        store = store_of(stores)
        await store.add(Domain(name="a.example", created=1), NOTE)
        await store.change("", lambda before: OPTIONS, lambda before, after: NOTE)
        old = DomainWatch(store, lambda known: None)
        await old.refresh()
        away = Stores(open_mongodb("mongodb://%2Fnowhere%2Fmongod.sock/x?replicaSet=rs0"), stores.redis)
        new = DomainWatch(store_of(away), lambda known: None)
        await new.refresh()
        assert new.known == {"": OPTIONS, "a.example": PLAIN_OPTIONS}
        old.store = new.store
        await stores.redis.delete(REDIS_KEY)
        await old.refresh()
        assert old.known == new.known
        for rubbish in (b"\xc1", b"\x01"):
            await stores.redis.set(REDIS_KEY, rubbish)
            lost = DomainWatch(store_of(away), lambda known: None)
            await lost.refresh()
            assert lost.known is None
        await away.database.client.close()

    with_stores(scenario)


def test_without_any_store_nothing_is_known_and_nothing_is_claimed() -> None:
    async def scenario() -> None:
        stores = Stores(
            open_mongodb("mongodb://%2Fnowhere%2Fmongod.sock/x?replicaSet=rs0"), open_redis("unix:///nowhere/r.sock")
        )
        watch = DomainWatch(store_of(stores), lambda known: None)
        await watch.refresh()
        assert watch.known is None
        await stores.database.client.close()
        await stores.redis.aclose()

    asyncio.run(scenario())
