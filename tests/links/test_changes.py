"""The feed brings every change of a version, once a batch, from any point that MongoDB still knows."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.links import LINKS, ChangeFeed, Link, LinkStore
from app.settings import Settings
from app.stores import Database, HistoryLostError, mongodb_socket, mongodb_url, open_mongodb, open_redis
from app.stores.embedded import prepare
from app.stores.replica_set import ensure_replica_set
from tests.conftest import Stores

With = Callable[[Callable[[Stores], Awaitable[None]]], None]


def link(slug: str, version: int = 5) -> Link:
    return Link(domain="", slug=slug, link=sum(slug.encode()), target="https://example.com/", version=version)


@asynccontextmanager
async def feed_of(stores: Stores, token: str | None = None) -> AsyncIterator[ChangeFeed]:
    feed = ChangeFeed(stores.database)
    await feed.open(token)
    try:
        yield feed
    finally:
        await feed.close()


async def taken(feed: ChangeFeed, count: int) -> list[str]:
    """So many keys, in however many batches."""
    keys: list[str] = []
    async with asyncio.timeout(30):
        while len(keys) < count:
            keys += await feed.next_batch(1.0)
    return keys


def test_changes_of_a_version_are_brought_and_others_are_not(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        store, rows = LinkStore(stores.database), stores.database[LINKS]
        async with feed_of(stores) as feed:
            await store.insert(link("a"))
            await store.insert(link("b"))
            await rows.update_one({"_id": "/a"}, {"$inc": {"clicks": 7}})  # as rollup does
            await store.change("/b", {"state": "banned"}, now_ms=9, version=None)
            await rows.delete_one({"_id": "/a"})
            assert await taken(feed, 2) == ["/a", "/b"]  # one batch, or else:
            rest = await feed.next_batch(0.0)
            assert set(rest) <= {"/a", "/b"}

    with_stores(scenario)


def test_counts_alone_bring_nothing(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        store, rows = LinkStore(stores.database), stores.database[LINKS]
        await store.insert(link("a"))
        async with feed_of(stores) as feed:
            await rows.update_one({"_id": "/a"}, {"$inc": {"clicks": 7}})
            await rows.update_one({"_id": "/a"}, [{"$set": {"clicks": {"$add": ["$clicks", 1]}}}])
            await store.insert(link("last"))
            assert await taken(feed, 1) == ["/last"]

    with_stores(scenario)


def test_it_goes_on_behind_a_token(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        store = LinkStore(stores.database)
        async with feed_of(stores) as feed:
            await store.insert(link("a"))
            assert await taken(feed, 1) == ["/a"]
            token = feed.token
            await store.insert(link("b"))
            await asyncio.sleep(0)
        assert token is not None
        await store.insert(link("c"))
        async with feed_of(stores, token) as again:
            assert await taken(again, 2) == ["/b", "/c"]
            assert again.token is not None
            assert again.token > token

    with_stores(scenario)


def test_a_token_never_runs_ahead_of_what_was_taken(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        store = LinkStore(stores.database)
        async with feed_of(stores) as feed:
            await feed.next_batch(0.0)  # from here on a getMore is under way
            before = feed.token
            await store.insert(link("a"))
            assert feed._stream._next is not None
            await asyncio.wait({feed._stream._next})  # it has come, and was not taken
            assert feed.token == before
            assert await feed.next_batch(0.0) == ["/a"]
            assert feed.token != before

    with_stores(scenario)


@pytest.mark.parametrize("token", ["8200", "no hexadecimal"])
def test_token_that_is_none_is_a_lost_one(with_stores: With, token: str) -> None:
    async def scenario(stores: Stores) -> None:
        await LinkStore(stores.database).insert(link("a"))
        feed = ChangeFeed(stores.database)
        with pytest.raises(HistoryLostError):
            await feed.open(token)
        await feed.close()

    with_stores(scenario)


@pytest.mark.parametrize("end", ["drop", "rename"])
def test_collection_that_was_replaced_is_a_lost_history(with_stores: With, end: str) -> None:
    async def scenario(stores: Stores) -> None:
        rows = stores.database[LINKS]
        await LinkStore(stores.database).insert(link("a"))
        async with feed_of(stores) as feed:
            await (rows.drop() if end == "drop" else rows.rename("others"))
            with pytest.raises(HistoryLostError):
                await taken(feed, 1)

    with_stores(scenario)


def test_oplog_that_no_longer_reaches_so_far_is_a_lost_history(short_oplog: Callable[[], Database]) -> None:
    async def scenario() -> None:
        database = short_oplog()
        stores = Stores(database, open_redis("unix:///nowhere"))
        await LinkStore(database).insert(link("a"))
        async with feed_of(stores) as feed:
            await LinkStore(database).insert(link("b"))
            assert await taken(feed, 1) == ["/b"]
            token = feed.token
        with pytest.raises(HistoryLostError):
            await fill_oplog(database, token)
        await database.client.close()

    asyncio.run(scenario())


async def fill_oplog(database: Database, token: str | None) -> None:
    """Writes until MongoDB has dropped what the token needs: in pieces, behind its checkpoints (--syncdelay)."""
    feed = ChangeFeed(database)
    row = {"text": b"x" * 8_000_000}
    for _ in range(100):
        await database["fill"].insert_many([dict(row) for _ in range(3)])
        await feed.open(token)
        await feed.next_batch(0.05)
        await feed.close()


@pytest.fixture
def short_oplog() -> Iterator[Callable[[], Database]]:
    """Makes a client of a mongod of its own that keeps little of its history."""
    folder = Path(tempfile.mkdtemp(prefix="bl-"))
    settings = Settings.from_environ({"BOLTLINK_STATE_DIR": str(folder / "s")})
    program, command = prepare("mongod", settings)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, *command[1:], "--oplogSize", "1", "--syncdelay", "1"], stdout=log)
    try:
        ensure_replica_set(mongodb_socket(settings))
        yield lambda: open_mongodb(mongodb_url(settings))
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def test_what_is_taken_at_once_is_bounded(with_stores: With, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(stores: Stores) -> None:
        monkeypatch.setattr("app.links.changes.BATCH_MAX", 10)
        store = LinkStore(stores.database)
        async with feed_of(stores) as feed:
            await asyncio.gather(*(store.insert(link(f"{number:02}")) for number in range(25)))
            sizes: list[int] = []
            async with asyncio.timeout(30):
                while sum(sizes) < 25:
                    sizes.append(len(await feed.next_batch(1.0)))
            assert max(sizes) <= 10

    with_stores(scenario)
