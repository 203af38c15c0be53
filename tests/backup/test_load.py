"""A restore makes the database what the backup says, whenever it is killed; caches cannot win against it."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from app.analytics import INDEXES as CLICK_INDEXES
from app.backup import (
    STAGING,
    LoadError,
    Stage,
    abandon,
    find_unfinished,
    is_empty,
    moment,
    working_programs,
)
from app.backup import (
    load as loading,
)
from app.jobs import INDEXES as JOB_INDEXES
from app.jobs import JobQueue, NewJob
from app.links import LINKS, Cached, CachedLink, LinkCache
from app.stores import LEASES, SCHEMA, HalfRestoredError, Lease, Session, Shape, check_data, make_schema
from app.webhooks import INDEXES as WEBHOOK_INDEXES
from app.webhooks import Delivery
from tests.backup.data import contents_of, dump, fill, load, make_load
from tests.conftest import Stores

With = Callable[[Callable[[Stores], Awaitable[None]]], None]
NOW_MS = 1_800_000_000_000


def test_what_waited_to_be_done_is_dead_after_a_restore_and_webhooks_are_back(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        queue = JobQueue(stores.database, kept_s=3600)
        await make_schema(stores.database, Shape({**JOB_INDEXES, **WEBHOOK_INDEXES}))
        await stores.database["webhooks"].insert_one({"_id": "0" * 16, "secrets": [{"key": b"k" * 32, "until": None}]})
        sent = Delivery("0" * 16, "0" * 24, "link.created")
        await queue.enqueue([NewJob(f"j{n}", "webhook", "o/w", sent, order=n) for n in range(4)])
        for end in ("finish", "running"):
            job = await queue.claim("webhook", "o/w", "r")
            assert job is not None
            if end == "finish":
                await queue.finish(job, {"status": 204})
        data = await dump(stores.database)
        await stores.database["webhooks"].delete_many({})
        await stores.database["jobs"].delete_many({})
        await load(stores, data)
        rows = await stores.database["jobs"].find({}).sort("_id").to_list()
        assert [row["state"] for row in rows] == ["done", "dead", "dead", "dead"]
        assert rows[0]["note"] == {"status": 204}
        assert {row["error"] for row in rows[1:]} == {"the database was restored"}
        (hook,) = await stores.database["webhooks"].find({}).to_list()
        assert hook["secrets"][0]["key"] == b"k" * 32

    with_stores(scenario)


class KilledError(BaseException):
    """Nothing happens after this."""


def kill_before(load_: loading.Load, number: int) -> list[int]:
    """Lets the `number`th write of a restore, and all after it, not happen; how many there were."""
    seen = [0]
    database = load_._database

    def guard(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def guarded(*arguments: Any, **options: Any) -> Any:
            seen[0] += 1
            if seen[0] >= number:
                raise KilledError
            return await method(*arguments, **options)

        return guarded

    load_._database = _Guarded(database, guard)  # type: ignore[assignment]
    return seen


WRITES = {
    "insert_many",
    "update_many",
    "replace_one",
    "delete_one",
    "delete_many",
    "drop",
    "create_indexes",
    "create_collection",
}


class _Guarded:
    """A database whose writes go through a guard; the lease and reads do not."""

    def __init__(self, inner: Any, guard: Callable[..., Any]) -> None:
        self._inner, self._guard = inner, guard

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name == "client":
            return found
        return self._guard(found) if name in WRITES else found

    def __getitem__(self, name: str) -> _Guarded:
        return _Guarded(self._inner[name], self._guard)


async def prepared(stores: Stores) -> bytes:
    """A backup of a database with everything, whose blocks are small; then other data in its place."""
    await make_schema(stores.database, Shape(CLICK_INDEXES))
    await fill(stores.database, 120)
    return await dump(stores.database)


async def change(stores: Stores) -> None:
    await stores.database[LINKS].delete_many({"link": {"$lt": 40}})
    await stores.database[LINKS].insert_one({"_id": "/new", "link": 10_000, "version": 5, "target": "https://x/"})
    await stores.database["later"].insert_one({"_id": 1})
    await stores.database["clicks_node"].update_many({}, {"$inc": {"rev": 1}})


def test_the_database_is_what_the_backup_says(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        data = await prepared(stores)
        before = await contents_of(stores.database)
        await change(stores)
        assert await contents_of(stores.database) != before
        await load(stores, data)
        assert await contents_of(stores.database) == before
        await check_data(stores.database)
        await load(stores, data)  # and again
        assert await contents_of(stores.database) == before

    with_stores(scenario)


def test_a_restore_that_is_killed_before_any_write_goes_on(with_stores: With, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moment, "BATCH_DOCUMENTS", 40)
    monkeypatch.setattr(loading, "GROUP_BLOCKS", 2)

    async def scenario(stores: Stores) -> None:
        await make_schema(stores.database, Shape({}))
        await fill(stores.database, 120)
        data = await dump(stores.database)
        before = await contents_of(stores.database)
        number, stages = 1, set()
        while True:
            await change_back_and_forth(stores, number)
            made = make_load(stores, data)
            assert await made.lease.acquire()
            kill_before(made, number)
            try:
                await made.begin(NOW_MS)
                await made.run()
            except KilledError:
                await asyncio.sleep(0)
            else:
                break
            unfinished = await find_unfinished(stores.database)
            if unfinished is not None:
                stages.add(unfinished.stage)
                with pytest.raises(HalfRestoredError):
                    await check_data(stores.database)
                if unfinished.stage is Stage.LOADING:  # nothing of what was there is gone
                    assert await stores.database["later"].count_documents({}) == 1
            await load(stores, data, now_ms=NOW_MS)
            assert await contents_of(stores.database) == before
            number += 1
        assert stages == set(Stage)
        assert number > 20

    with_stores(scenario)


async def change_back_and_forth(stores: Stores, number: int) -> None:
    await stores.database["later"].replace_one({"_id": 1}, {"n": number}, upsert=True)
    await stores.database[LINKS].update_many({}, {"$set": {"target": f"https://later/{number}"}})


def test_links_get_versions_above_any_that_a_cache_holds(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await fill(stores.database, 3)
        await stores.database[LINKS].update_one({"_id": "/s2"}, {"$set": {"version": NOW_MS * 2}})
        data = await dump(stores.database)
        cache = LinkCache(stores.redis)
        newer = Cached(NOW_MS + 1_000, CachedLink(1, "active", "https://newer/"))
        await cache.put_many([("/s0", newer), ("/made-later", newer)])
        assert await cache.mark_announced([""], "token 1 1")
        await load(stores, data, now_ms=NOW_MS)
        assert await cache.get_many(["/s0", "/made-later"]) == [None, None]
        assert await cache.announced() == [""]
        rows = await stores.database[LINKS].find().sort("_id").to_list()
        versions = [int(row["version"]) for row in rows]
        assert versions == [NOW_MS + loading.CLOCK_SLACK_MS] * 2 + [NOW_MS * 2 + 1]
        await cache.put_many([("/s0", Cached(versions[0], CachedLink(1, "active", "https://restored/")))])
        await cache.put_many([("/s0", newer)])  # a reader that was under way
        (held,) = await cache.get_many(["/s0"])
        assert held is not None
        assert held.version == versions[0]

    with_stores(scenario)


def test_everyone_is_told_that_any_link_may_have_changed(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        data = await prepared(stores)
        async with stores.redis.pubsub() as subscription:
            await subscription.subscribe("links")
            await load(stores, data)
            heard = [await subscription.get_message(timeout=1) for _ in range(2)]
        assert heard[1] is not None
        assert heard[1]["data"] == b"\x91\x92\xa0\x00"  # [["", 0]]

    with_stores(scenario)


def test_leases_are_forgotten_and_where_the_announcer_was(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        data = await prepared(stores)
        lease = Lease(stores.database, "announcer", holder="n/announcer", monotonic=time.monotonic)
        assert await lease.acquire()
        assert await working_programs(stores.database) == ["announcer of n/announcer"]
        await lease.renew({"token": "x"})
        await lease.release()
        assert await working_programs(stores.database) == []
        await load(stores, data)
        assert [row["_id"] async for row in stores.database[LEASES].find()] == ["restore"]

    with_stores(scenario)


def test_what_is_unfinished_may_be_given_up_until_it_replaced_something(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        data = await prepared(stores)
        await change(stores)
        before = await contents_of(stores.database)
        made = make_load(stores, data)
        assert await made.lease.acquire()
        await made.begin(NOW_MS)
        kill_before(made, 8)
        with pytest.raises(KilledError):
            await made.run()
        assert any(name.startswith(STAGING) for name in await stores.database.list_collection_names())
        await abandon(stores.database)
        assert await contents_of(stores.database) == before
        assert not any(name.startswith(STAGING) for name in await stores.database.list_collection_names())
        again = make_load(stores, data)
        await again.lease.acquire()
        await again.begin(NOW_MS)
        await stores.database[SCHEMA].update_one({"_id": "restore"}, {"$set": {"stage": "swapping"}})
        with pytest.raises(LoadError, match=r"finish it with `boltlink restore x\.backup`"):
            await abandon(stores.database)

    with_stores(scenario)


def test_another_backup_takes_the_place_of_one_that_replaced_nothing_yet(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        first = await prepared(stores)
        await change(stores)
        second, after = await dump(stores.database), await contents_of(stores.database)
        made = make_load(stores, first)
        assert await made.lease.acquire()
        await made.begin(NOW_MS)
        kill_before(made, 12)
        with pytest.raises(KilledError):
            await made.run()
        await load(stores, second)
        assert await contents_of(stores.database) == after
        again = make_load(stores, first)
        assert await again.lease.acquire()
        await again.begin(NOW_MS)
        await stores.database[SCHEMA].update_one({"_id": "restore"}, {"$set": {"stage": "swapping"}})
        with pytest.raises(LoadError, match="finish it first"):
            await load(stores, second)

    with_stores(scenario)


def test_a_file_that_changes_after_it_was_verified_replaces_nothing(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        first = await prepared(stores)
        await change(stores)
        second, after = await dump(stores.database), await contents_of(stores.database)
        made = make_load(stores, first)
        made._file = io.BytesIO(second)
        assert await made.lease.acquire()
        await made.begin(NOW_MS)
        with pytest.raises(LoadError, match="changed after it was verified"):
            await made.run()
        await abandon(stores.database)
        assert await contents_of(stores.database) == after

    with_stores(scenario)


def test_a_restore_is_noted_once_with_its_end_also_when_it_was_killed_before(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        await stores.database["audit"].insert_one({"_id": 0})
        data = await dump(stores.database)

        async def write_note(session: Session) -> None:
            await stores.database["audit"].insert_one({"_id": 1}, session=session)

        async def run(killed_before: int) -> int:
            made = make_load(stores, data, write_note=write_note)
            assert await made.lease.acquire()
            seen = kill_before(made, killed_before)
            await made.begin(NOW_MS)
            await made.run()
            return seen[0]

        writes = await run(10_000)
        assert await stores.database["audit"].count_documents({}) == 2
        await stores.database["audit"].delete_one({"_id": 1})
        with pytest.raises(KilledError):
            await run(writes)  # the last one is the mark's
        assert await find_unfinished(stores.database) is not None
        assert await stores.database["audit"].count_documents({}) == 1
        await run(10_000)
        assert await find_unfinished(stores.database) is None
        assert await stores.database["audit"].count_documents({}) == 2

    with_stores(scenario)


def test_documents_that_are_lost_meanwhile_are_missed(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        data = await prepared(stores)
        after = await contents_of(stores.database)
        made = make_load(stores, data)
        assert await made.lease.acquire()
        await made.begin(NOW_MS)
        await stores.database[SCHEMA].update_one({"_id": "restore"}, {"$set": {"blocks": 2}})  # so it was said
        await made.begin(NOW_MS)
        with pytest.raises(LoadError, match="documents where the backup has"):
            await made.run()
        await abandon(stores.database)
        assert await contents_of(stores.database) == after

    with_stores(scenario)


def test_an_empty_database_is_one_without_data(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        assert await is_empty(stores.database)
        await stores.database[LEASES].insert_one({"_id": "rollup"})
        assert await is_empty(stores.database)
        await stores.database["users"].insert_one({"_id": 1})
        assert not await is_empty(stores.database)

    with_stores(scenario)
