"""The schema in the real tree: an older program says one line, and links are migrated while all goes on."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from bson.int64 import Int64

from app.links import LINKS, MIGRATIONS
from app.stores import Database, mongodb_url, open_mongodb, redis_url
from app.stores.schema import SCHEMA, SCHEMA_VERSION
from tests import fetch
from tests.conftest import Engines, wait_for
from tests.system.conftest import Tree
from tests.system.test_coherence import settings_of

T = TypeVar("T")
TARGET = "https://www.rfc-editor.org/rfc/rfc9110.html"
NEEDED = SCHEMA_VERSION + 7
LINE = f"the database needs programs of schema version {NEEDED} or later, this one has {SCHEMA_VERSION}"
STILL_S = 1.5  # in which a program that is tried again would be tried several times
KILLS = 3
CHUNK = 20_000
PROGRAMS = ("web_0", "web_1", "aggregator", "announcer", "rollup", "jobs_0")
LINKS_COUNT = int(os.environ.get("MIGRATED_LINKS", "12000"))  # more by hand
LIMIT_S = 300 + LINKS_COUNT // 500

pytestmark = [pytest.mark.system, pytest.mark.timeout(3 * LIMIT_S)]


def with_database(url: str, work: Callable[[Database], Awaitable[T]]) -> T:
    async def whole() -> T:
        database = open_mongodb(url)
        try:
            return await work(database)
        finally:
            await database.client.close()

    return asyncio.run(whole())


def refusals(tree: Tree) -> dict[str, int]:
    """How often each program has refused to work."""
    return {name: (tree.state / "log" / f"{name}.log").read_text().count('"not started"') for name in PROGRAMS}


def states(tree: Tree) -> dict[str, str]:
    report = json.loads(tree.command("status", "--json").stdout)
    return {process["name"]: process["state"] for process in report["processes"]}


def test_older_program_says_one_line_and_is_not_tried_again(engines: Engines, tmp_path: Path) -> None:
    url = mongodb_url(engines.settings).replace("/?", f"/t{secrets.token_hex(6)}?")
    tree = Tree(
        tmp_path,
        BOLTLINK_MONGODB_URL=url,
        BOLTLINK_REDIS_URL=redis_url(engines.settings),
        BOLTLINK_WEB_PROCESSES="2",
    )
    tree.up()
    try:
        pids = tree.pids()
        of_newer = {"$set": {"oldest": NEEDED}}
        with_database(url, lambda database: database[SCHEMA].update_one({"_id": "boltlink"}, of_newer))
        for name in PROGRAMS:
            os.kill(pids[name], signal.SIGKILL)
        wait_for(lambda: set(refusals(tree).values()) == {1})
        time.sleep(STILL_S)  # nothing must happen
        assert set(refusals(tree).values()) == {1}
        assert set(states(tree).values()) - {"RUNNING"} == {"EXITED"}
        for name in PROGRAMS:
            last = (tree.state / "log" / f"{name}.log").read_text().splitlines()[-1]
            assert LINE in last
            assert "Traceback" not in last
        reload = tree.command("reload", "--force")
        assert (reload.returncode, LINE in reload.stderr) == (1, True), reload.stderr
        tree.down()
        up = tree.command("up", "--detach")
        assert (up.returncode, up.stderr.count("\n"), LINE in up.stderr) == (1, 1, True), up.stderr
        assert not tree.left()
    finally:
        if tree.left():
            tree.down()
        with_database(url, lambda database: database.client.drop_database(database.name))


def make_old_links(database: Database, count: int) -> Awaitable[None]:
    """Links as they were stored before there were labels and words to search by."""

    async def make() -> None:
        for start in range(0, count, CHUNK):
            numbers = range(start, min(count, start + CHUNK))
            await database[LINKS].insert_many([old_link(number) for number in numbers], ordered=False)
        await database[SCHEMA].delete_one({"_id": MIGRATIONS[0].version})

    return make()


async def remove_links(database: Database, count: int) -> None:
    """Old ones by the chunk: one command for a million would take longer than a client waits."""
    for start in range(0, count, CHUNK):
        await database[LINKS].delete_many({"_id": {"$gte": f"/old-{start:07d}", "$lt": f"/old-{start + CHUNK:07d}"}})
    await database[LINKS].delete_many({"_id": {"$regex": "^/new-"}})


def old_link(number: int) -> dict[str, Any]:
    link, version = Int64(secrets.randbits(62) | 1), Int64(1_700_000_000_000)
    row = {"_id": f"/old-{number:07d}", "link": link, "version": version, "state": "active", "created": 1_600_000_000}
    return row | {"target": f"https://example.com/{number}", "title": f"Zyx{number}", "tags": [], "clicks": 0}


class Traffic(threading.Thread):
    """Follows old links that no cache knows, and makes new ones, until told to end; every answer must be right."""

    def __init__(self, tree: Tree, count: int) -> None:
        super().__init__(daemon=True)
        self.made = 0
        self.wrong: list[str] = []
        self._tree, self._count = tree, count
        self._ends = threading.Event()

    def run(self) -> None:
        headers = {"Authorization": f"Bearer {self._tree.key}"}
        with fetch.Client(base_url=self._tree.url, headers=headers) as client:
            while not self._ends.is_set():
                number = secrets.randbelow(self._count)
                answer = client.get(f"/old-{number:07d}")
                made = client.post("/api/v1/links", json={"target": TARGET, "slug": f"new-{self.made}", "title": "Wvu"})
                self.made += 1
                if answer.headers.get("Location") != f"https://example.com/{number}" or made.status_code != 201:
                    self.wrong.append(f"{answer.status_code} {made.status_code} {made.text}")

    def end(self) -> None:
        self._ends.set()
        self.join()


def migrate_while_killed(tree: Tree, count: int) -> None:
    url = mongodb_url(settings_of(tree))
    lacking = {"_id": {"$regex": "^/old-"}, "labels": {"$exists": False}}

    def left() -> int:
        return with_database(url, lambda database: database[LINKS].count_documents(lacking))

    def row() -> dict[str, Any]:
        found = with_database(url, lambda database: database[SCHEMA].find_one({"_id": MIGRATIONS[0].version}))
        return dict(found or {})

    traffic = Traffic(tree, count)
    try:
        with_database(url, lambda database: make_old_links(database, count))
        traffic.start()
        for kill in range(KILLS):
            wait_for(lambda: row().get("changed", 0) >= count * (kill + 1) // (KILLS + 2), limit_s=LIMIT_S)  # noqa: B023
            assert left() > 0, "the migration was over before it was killed"
            os.kill(tree.pids()["rollup"], signal.SIGKILL)
        wait_for(lambda: "position" not in row(), limit_s=LIMIT_S)
        assert left() == 0
    finally:
        if traffic.is_alive():
            traffic.end()
    assert traffic.wrong == []
    assert traffic.made > 0
    headers = {"Authorization": f"Bearer {tree.key}"}
    found = fetch.get(f"{tree.url}/api/v1/links", params={"q": f"zyx{count // 2}"}, headers=headers).json()
    assert [item["slug"] for item in found["items"]] == [f"old-{count // 2:07d}"]
    kept = with_database(url, lambda database: database[LINKS].find_one({"_id": "/old-0000001"}))
    assert kept is not None
    assert kept["version"] == 1_700_000_000_000  # nobody was told: redirects are what they were
    with_database(url, lambda database: remove_links(database, count))


def test_links_are_migrated_while_rollup_dies_and_redirects_and_creates_go_on(running: Tree) -> None:
    migrate_while_killed(running, LINKS_COUNT)
