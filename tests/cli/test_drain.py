"""`boltlink journal drain`: applies what a volume holds, or says how much waits; with MongoDB and without."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.journal import REDIRECT_GET, Journal, create_source
from app.lifeline import take_lock
from app.stores import mongodb_url, redis_url
from tests.cli.command import Result, boltlink
from tests.conftest import Engines, Stores

HEAD = (
    b"GET /abc HTTP/1.1\r\nHost: sho.rt\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0\r\n\r\n"
)
LINK = bytes(7) + b"\x07"
NOWHERE = "mongodb://127.0.0.1:9/?replicaSet=none&serverSelectionTimeoutMS=500"


def leave_behind(state: Path, records: int) -> None:
    """The journal of a web process that is gone."""
    source, lock = create_source(state / "journal", "web_0", os.urandom(8))
    journal = Journal(source, lock)
    for _ in range(records):
        assert journal.append(HEAD, time.time_ns() // 1_000_000, LINK, 0, REDIRECT_GET, bytes(16))
    journal.close()


async def drain(state: Path, mongodb: str, limit_s: float, redis: str = "redis://127.0.0.1:9") -> Result:
    environ = {"BOLTLINK_STATE_DIR": str(state), "BOLTLINK_MONGODB_URL": mongodb, "BOLTLINK_REDIS_URL": redis}
    return await boltlink("journal", "drain", "--limit", str(limit_s), environ=environ)


def test_what_is_left_where_nothing_runs_is_applied(
    tmp_path: Path, engines: Engines, with_stores: Callable[..., None]
) -> None:
    async def scenario(stores: Stores) -> None:
        url = mongodb_url(engines.settings).replace("/?", f"/{stores.database.name}?")
        leave_behind(tmp_path, 3)
        leave_behind(tmp_path, 2)
        said = await drain(tmp_path, url, 30, redis_url(engines.settings))
        assert (said.status, said.out, said.err) == (0, "every click is in the statistics\n", "")
        buckets = await stores.database.clicks_node.find().to_list()
        assert sum(bucket["clicks"] for bucket in buckets) == 5
        node = (tmp_path / "node-id").read_text()
        assert all(node in str(bucket["_id"]) for bucket in buckets)
        assert list((tmp_path / "journal").iterdir()) == []
        again = await drain(tmp_path, url, 30, redis_url(engines.settings))
        assert again.status == 0

    with_stores(scenario)


def test_it_waits_for_the_tree_that_runs_and_starts_nothing_beside_it(
    tmp_path: Path, engines: Engines, with_stores: Callable[..., None]
) -> None:
    async def scenario(stores: Stores) -> None:
        url = mongodb_url(engines.settings).replace("/?", f"/{stores.database.name}?")
        leave_behind(tmp_path, 2)
        lock = take_lock(tmp_path / "up.lock")
        assert lock is not None
        said = await drain(tmp_path, url, 0.5)
        assert (said.status, said.out) == (1, "")
        assert said.err == f"boltlink: 2 clicks wait in {tmp_path}/journal after 0.5 s; they stay\n"
        assert await stores.database.clicks_node.find_one() is None
        os.close(lock)

    with_stores(scenario)


def test_without_mongodb_they_wait_and_with_the_embedded_one_the_tree_has_to_run(tmp_path: Path) -> None:
    leave_behind(tmp_path, 4)
    said = asyncio.run(drain(tmp_path, NOWHERE, 0.5))
    assert said.status == 1
    assert "4 clicks wait" in said.err
    said = asyncio.run(boltlink("journal", "drain", environ={"BOLTLINK_STATE_DIR": str(tmp_path)}))
    assert (said.status, said.out) == (1, "")
    assert "boltlink up applies what waits" in said.err
    assert len(list((tmp_path / "journal").iterdir())) == 1


@pytest.mark.parametrize("limit", ["nan", "inf", "-1", "1e3", "", "9999999999"])
def test_a_limit_that_is_none_is_refused(tmp_path: Path, limit: str) -> None:
    leave_behind(tmp_path, 1)
    environ = {"BOLTLINK_STATE_DIR": str(tmp_path), "BOLTLINK_MONGODB_URL": NOWHERE}
    said = asyncio.run(boltlink("journal", "drain", f"--limit={limit}", environ=environ))
    assert (said.status, said.out) == (2, "")
    assert f"Invalid value for '--limit': '{limit}' is no number of seconds such as 60" in said.err


def test_a_folder_that_holds_no_journal_is_no_journal_in_which_nothing_waits(tmp_path: Path) -> None:
    for state in (tmp_path, tmp_path / "mistyped"):
        said = asyncio.run(drain(state, NOWHERE, 0.5))
        assert (said.status, said.out) == (1, "")
        assert said.err == f"boltlink: no journal in {state}: is that BOLTLINK_STATE_DIR?\n"
        looked = asyncio.run(boltlink("journal", "inspect", environ={"BOLTLINK_STATE_DIR": str(state)}))
        assert looked == said


def test_where_no_journal_is_left_nothing_waits_and_no_store_is_asked(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    said = asyncio.run(asyncio.wait_for(drain(tmp_path, NOWHERE, 600), 60))
    assert (said.status, said.out) == (0, "every click is in the statistics\n")
