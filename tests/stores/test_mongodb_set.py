"""Primaries of a MongoDB of three step down, die and hang while links are made and asked for.

No link that was acknowledged is lost, hot links are redirected all the time, and what no cache knows soon is again.
Clicks meanwhile: `tests/chaos`, the scene of the replica set. The members are those of `etc/mongod`, with users.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from http import HTTPStatus
from pathlib import Path

import pytest
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.write_concern import WriteConcern

from app.backup import BACKUPS, BackupFile, Dump, MomentLostError, moment, verify
from app.cli.doctor.stores import _replica_set
from app.links import LINKS, Link, LinkStore
from app.stores import Database, Members, RedisClient, count_members, open_mongodb, transaction
from tests.chaos.replicas import ReplicaSet
from tests.conftest import Stores
from tests.stores.node import Process, make_catalog

HEARTBEAT_S = 2.0  # as web processes have it
MAKE_EVERY_S = 0.01
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def members() -> Iterator[ReplicaSet]:
    folder = Path(tempfile.mkdtemp(prefix="bl-"))
    found = ReplicaSet(folder)
    try:
        found.start()
        yield found
    finally:
        found.stop()
        shutil.rmtree(folder, ignore_errors=True)


class World:
    """Links that are made all the time, and one process that is asked for them."""

    def __init__(self, database: Database, client: RedisClient) -> None:
        self.stores = Stores(database, client)
        self.catalog = make_catalog(self.stores, client, [])
        self.process = Process(self.stores, client)
        self.made: list[str] = []
        self.refused = 0
        self.hot = 0
        self.away: list[tuple[float, float]] = []  # from when until when a slug that no cache knows could not be told
        self._is_over = False

    async def run(self, faults: Callable[[], None]) -> None:
        """Plays the faults, in a thread, while everything goes on."""
        channel = asyncio.create_task(self.process.channel.run())
        await self.catalog.create(target="https://a/hot", slug="hot")
        assert await self.process.location(b"hot") == b"https://a/hot"
        busy = [asyncio.create_task(work) for work in (self._make(), self._ask_hot(), self._ask_unknown())]
        await asyncio.to_thread(faults)
        self._is_over = True
        await asyncio.gather(*busy)
        channel.cancel()
        await asyncio.gather(channel, return_exceptions=True)
        await self.process.resolver.close()

    async def _make(self) -> None:
        while not self._is_over:
            try:
                self.made.append((await self.catalog.create(target="https://a/")).slug)
            except PyMongoError:
                self.refused += 1
            await asyncio.sleep(MAKE_EVERY_S)

    async def _ask_hot(self) -> None:
        while not self._is_over:
            assert await self.process.location(b"hot") == b"https://a/hot"
            self.hot += 1
            await asyncio.sleep(MAKE_EVERY_S)

    async def _ask_unknown(self) -> None:
        since_s: float | None = None
        for number in itertools.count():
            asked_s = time.monotonic()
            found = await self.process.location(b"unknown%d" % number)
            if found == HTTPStatus.NOT_FOUND:
                if since_s is not None:
                    self.away.append((since_s, time.monotonic()))
                since_s = None
                if self._is_over:
                    return
            else:
                assert found == HTTPStatus.SERVICE_UNAVAILABLE
                since_s = since_s or asked_s
            await asyncio.sleep(MAKE_EVERY_S)


def test_no_acknowledged_link_is_lost_and_hot_ones_are_always_there(
    members: ReplicaSet, with_stores: Callable[..., None]
) -> None:
    happened: list[tuple[str, float]] = []

    def faults() -> None:
        time.sleep(1.0)
        happened.append(("steps down", time.monotonic()))
        members.step_down()
        members.primary()
        time.sleep(1.0)
        happened.append(("killed", time.monotonic()))
        dead = members.primary()
        members.kill(dead)
        members.primary()
        time.sleep(1.0)
        members.run_again(dead)
        happened.append(("hangs", time.monotonic()))
        with members.stopped(members.primary()):
            time.sleep(6.0)
        members.primary()
        time.sleep(1.0)

    async def scenario(stores: Stores) -> None:
        database = open_mongodb(members.url, heartbeat_s=HEARTBEAT_S)
        try:
            world = World(database, stores.redis)
            await world.run(faults)
            kept = {row["_id"] async for row in database[LINKS].find({}, {"_id": 1})}
            lost = [slug for slug in world.made if f"/{slug}" not in kept]
            ends = [at_s for _, at_s in happened[1:]] + [time.monotonic()]
            pairs = zip(happened, ends, strict=True)
            gaps = [f"{name} {_away_s(world.away, at_s, end_s):.2f} s" for (name, at_s), end_s in pairs]
            sys.stderr.write(
                f"\n{len(world.made)} links made, {world.refused} refused, {len(lost)} lost; hot redirects "
                f"{world.hot}, all answered; unknown slugs could not be told: {', '.join(gaps)}\n"
            )
            assert not lost
            assert len(world.made) > 100
        finally:
            await database.client.close()

    with_stores(scenario)


def _away_s(away: list[tuple[float, float]], happened_s: float, next_s: float) -> float:
    """How long after a fault the last gap ended that began before the next one."""
    return max((until_s - happened_s for since_s, until_s in away if happened_s <= since_s < next_s), default=0.0)


def test_backup_over_a_change_of_the_primary_is_whole_or_fails_and_the_next_one_is_whole(
    members: ReplicaSet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(moment, "BATCH_DOCUMENTS", 50)
    outcomes: list[str] = []

    def kill() -> None:
        dead = members.primary()
        members.kill(dead)
        members.primary()
        members.run_again(dead)

    async def attempt(database: Database, path: Path, fault: Callable[[], object] | None) -> None:
        made = Dump(database, has_clicks=True, monotonic=time.monotonic, wall=time.time)
        with BackupFile(path) as target:
            try:
                await made.open(target.file)
                for _ in range(3):
                    assert await made.step()
                if fault is not None:
                    await asyncio.to_thread(fault)
                while await made.step():
                    pass
                target.commit()
            finally:
                await made.close()

    async def scenario() -> None:
        database = open_mongodb(members.url, heartbeat_s=HEARTBEAT_S)
        try:
            await database["backed_up"].insert_many([{"_id": number} for number in range(1_000)])
            for number, fault in enumerate((members.step_down, kill, None)):
                members.primary()
                path = tmp_path / f"{number}.backup"
                try:
                    await attempt(database, path, fault)
                except (MomentLostError, PyMongoError) as error:
                    outcomes.append(type(error).__name__)
                    whole = [f"{made}.backup" for made in range(number) if outcomes[made] == "whole"]
                    assert _listing(tmp_path) == whole
                else:
                    outcomes.append("whole")
                    with path.open("rb") as file:
                        contents = verify(file)
                    names = [row.name for row in contents.head.collections]
                    assert contents.documents[names.index("backed_up")] == 1_000
            assert outcomes[-1] == "whole"
            sys.stderr.write(f"\nbackups over a step-down, a kill, nothing: {outcomes}\n")
            assert await database[BACKUPS].count_documents({"since": {"$exists": True}}) == 0
        finally:
            await database.client.close()

    asyncio.run(scenario())


def _listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_redirects_read_nothing_that_a_failover_may_take_back(members: ReplicaSet) -> None:
    async def scenario() -> None:
        number = members.primary()
        database = open_mongodb(members.url)
        store = LinkStore(database)
        try:
            await store.insert(Link(domain="", slug="kept", link=8, target="https://a/1", version=1))
            with ExitStack() as still:
                for other in {0, 1, 2} - {number}:
                    still.enter_context(members.stopped(other))
                one = database[LINKS].with_options(write_concern=WriteConcern(w=1))
                await one.update_one({"_id": "/kept"}, {"$set": {"target": "https://a/2", "version": 2}})
                assert (await one.find_one({"_id": "/kept"}) or {})["version"] == 2
                assert (await store.find_many(["/kept"]))["/kept"].version == 1
            await wait_for_version(store, 2)
        finally:
            await database.client.close()

    asyncio.run(scenario())


async def wait_for_version(store: LinkStore, version: int) -> None:
    async with asyncio.timeout(30):
        while True:
            with suppress(PyMongoError):
                if (await store.find_many(["/kept"]))["/kept"].version == version:
                    return
            await asyncio.sleep(0.05)


def test_boltlinks_user_may_what_it_needs_and_no_more(members: ReplicaSet, with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        members.primary()
        database = open_mongodb(members.url)
        try:
            await LinkStore(database).insert(Link(domain="", slug="mine", link=9, target="https://a/", version=1))
            async with transaction(database) as session:
                await database["x"].insert_one({"_id": 1}, session=session)
            assert (await count_members(database, stores.redis))["mongodb"] == Members(3, 3)
            assert await database.client.list_database_names() == ["boltlink"]
            for command in (
                {"replSetStepDown": 1},
                {"shutdown": 1},
                {"createRole": "x", "privileges": [], "roles": []},
            ):
                with pytest.raises(OperationFailure, match="not authorized"):
                    await database.client.admin.command(command)
            with pytest.raises(OperationFailure, match="not authorized"):
                await database.client["other"]["x"].insert_one({})
        finally:
            await database.client.close()

    with_stores(scenario)


def test_doctor_names_a_url_that_follows_no_new_primary(members: ReplicaSet) -> None:
    async def finding_of(url: str) -> tuple[str, str]:
        database = open_mongodb(url)
        try:
            hello = await database.client.admin.command("hello")
            finding = await _replica_set(database, url, hello)
            return finding.state, finding.found
        finally:
            await database.client.close()

    def of_one(url: str, more: str) -> str:
        head, _, tail = url.partition("@")
        return f"{head}@{tail.split(',')[members.primary()].split('/')[0]}/?authSource=admin{more}"

    assert asyncio.run(finding_of(members.url)) == ("ok", "3 of 3 members of rs0 are up")
    assert "names one member" in asyncio.run(finding_of(of_one(members.url, "")))[1]
    assert "direct connection" in asyncio.run(finding_of(of_one(members.url, "&directConnection=true")))[1]
