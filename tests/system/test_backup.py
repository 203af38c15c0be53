"""The drill: a real tree is filled, backed up, destroyed and restored; every link, key and click is compared."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from app.backup import BlockReader
from app.stores import mongodb_socket, mongodb_url
from app.stores.connections import DATABASE_NAME
from tests import fetch
from tests.conftest import wait_for
from tests.system.conftest import ROOT, Tree
from tests.system.test_coherence import settings_of

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]

LINKS = 400
TARGET = "https://www.rfc-editor.org/rfc/rfc9110.html?link=%d"
LOADING_S = 2.5  # a restore begins to load two seconds after its mark
AGE = "boltlink_backup_age_seconds"


def make_links(tree: Tree) -> dict[str, str]:
    """Links of a batch, with tags and titles; their targets by slug."""
    wishes = [
        {"target": TARGET % n, "tags": [f"t{n % 7}"], "title": f"link {n}", "slug": f"s{n}"} for n in range(LINKS)
    ]
    answer = fetch.post(
        f"{tree.url}/api/v1/links/batch",
        json={"links": wishes},
        headers={"Authorization": f"Bearer {tree.key}"},
        timeout=30,
    )
    assert answer.is_success, answer.text
    return {f"s{n}": TARGET % n for n in range(LINKS)}


def visit(tree: Tree, slugs: list[str], clicks: dict[str, int]) -> None:
    """One click each."""
    with fetch.Client() as client:
        for slug in slugs:
            answer = client.get(f"{tree.url}/{slug}", headers={"User-Agent": "Mozilla/5.0 (X11) Firefox/125.0"})
            assert answer.status_code == 302
            clicks[slug] = clicks.get(slug, 0) + 1


def listing(tree: Tree) -> dict[str, dict[str, Any]]:
    """Every link as the API shows it, without what a restore raises."""
    found: dict[str, dict[str, Any]] = {}
    cursor = ""
    while True:
        answer = fetch.get(
            f"{tree.url}/api/v1/links",
            params={"limit": 100, **({"cursor": cursor} if cursor else {})},
            headers={"Authorization": f"Bearer {tree.key}"},
        ).json()
        for item in answer["items"]:
            found[item["slug"]] = {name: value for name, value in item.items() if name not in ("version", "clicks")}
        cursor = answer.get("next_cursor") or ""
        if not cursor:
            return found


def audit(tree: Tree, clicks: dict[str, int]) -> subprocess.CompletedProcess[str]:
    """`boltlink audit` of what visitors noted."""
    path = tree.state.parent / "expected.jsonl"
    at = time.time()
    path.write_text("".join(json.dumps({"slug": s, "received": n, "at": at}) + "\n" for s, n in clicks.items()))
    return tree.command("audit", "--expect", str(path))


def destroy(tree: Tree) -> None:
    """The machine dies at once, and MongoDB's disk with it; the journals are there."""
    os.kill(tree.supervisor(), signal.SIGKILL)
    wait_for(lambda: not tree.left())
    shutil.rmtree(tree.state / "mongodb")


def everything(tree: Tree, file: Path) -> dict[str, list[bytes]]:
    """What a backup says that the database holds, the links without their versions."""
    with file.open("rb") as source:
        reader = BlockReader(source)
        names = [collection.name for collection in reader.head.collections]
        found: dict[str, list[bytes]] = {name: [] for name in names}
        for block in reader.blocks():
            assert block.collection is not None
            found[names[block.collection]].append(bytes(block.content))
    return found


def test_every_click_and_link_is_there_after_mongodb_is_lost(tree: Tree) -> None:
    file = tree.state.parent / "drill.backup"
    tree.up()
    targets = make_links(tree)
    said = tree.command("keys", "create", "drill", "--json")
    key = json.loads(said.stdout)["key"]
    clicks: dict[str, int] = {}
    visit(tree, list(targets)[:200], clicks)
    done = audit(tree, clicks)
    assert done.returncode == 0, done.stdout + done.stderr
    before = listing(tree)
    assert len(before) == LINKS
    visit(tree, list(targets)[100:150], clicks)  # journaled before the backup, some of them applied after it
    done = tree.command("backup", str(file))
    assert done.returncode == 0, done.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    visit(tree, list(targets)[140:300], clicks)  # journaled and applied after the backup
    done = audit(tree, clicks)
    assert done.returncode == 0, done.stdout + done.stderr
    visit(tree, list(targets)[:20], clicks)
    destroy(tree)
    done = tree.command("restore", "-y", str(file))
    assert done.returncode == 0, done.stderr
    tree.up()
    assert listing(tree) == before
    assert all(tree.location(slug) == target for slug, target in list(targets.items())[300:320])
    for slug in list(targets)[300:320]:
        clicks[slug] = clicks.get(slug, 0) + 1
    done = audit(tree, clicks)
    assert done.returncode == 0, done.stdout + done.stderr
    answer = fetch.get(f"{tree.url}/api/v1/links?limit=1", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200
    query, admin = f"{tree.url}/api/v1/audit?what=database.restore", {"Authorization": f"Bearer {tree.key}"}
    (entry,) = fetch.get(query, headers=admin).json()["items"]
    assert (entry["who"]["kind"], entry["subject"]) == ("system", {"kind": "database", "id": "boltlink"})
    _damaged_files_change_nothing(tree, file)
    _a_killed_restore_goes_on(tree, file, before)


def _damaged_files_change_nothing(tree: Tree, file: Path) -> None:
    """Bit flips, cuts and a newer version, by file and by pipe, against a database that holds something."""
    tree.down()
    whole = file.read_bytes()
    rng = random.Random(7)
    bad = file.with_name("bad.backup")
    offset = rng.randrange(16, len(whole))
    cases = [
        whole[: rng.randrange(len(whole))],
        whole[:offset] + bytes([whole[offset] ^ 4]) + whole[offset + 1 :],
        whole[:15] + b"\x63" + whole[16:],
    ]
    before = tree.state.parent / "before.backup"
    assert tree.command("backup", str(before)).returncode == 0  # the tree is down: mongod is started for it
    for data in cases:
        bad.write_bytes(data)
        done = tree.command("restore", "-y", "--replace", str(bad))
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "damaged at byte" in done.stderr or "newer release" in done.stderr
    assert tree.command("backup", "--verify", str(bad)).returncode == 1
    piped = subprocess.run(
        [sys.executable, "-m", "app.cli", "restore", "-y", "--replace", "-"],
        env=tree.environ, cwd=ROOT, input=cases[0], capture_output=True, check=False,
    )  # fmt: skip
    assert piped.returncode == 1
    assert b"nothing was changed" in piped.stderr
    done = tree.command("restore", "-y", str(file))
    assert (done.returncode, "--replace" in done.stderr) == (1, True)
    after = tree.state.parent / "after.backup"
    assert tree.command("backup", str(after)).returncode == 0
    assert everything(tree, after) == everything(tree, before)


def _a_killed_restore_goes_on(tree: Tree, file: Path, before: dict[str, dict[str, Any]]) -> None:
    """kill -9 whenever, programs that refuse to start, and the end that was to be."""
    _kill_restore(tree, file, 0.0)
    done = tree.command("up", "--detach")
    assert done.returncode == 1
    assert f"the database is half restored: finish it with `boltlink restore {file}`" in done.stderr
    assert "half restored" in tree.command("backup", str(file.with_name("half.backup"))).stderr
    other = tree.command("restore", "-y", str(file.with_name("before.backup")))
    assert (other.returncode, "--replace" in other.stderr) == (1, True)
    _kill_restore(tree, file, LOADING_S)
    done = tree.command("restore", "-y", "--replace", str(file))
    assert done.returncode == 0, done.stderr
    tree.up()
    assert listing(tree) == before


def _kill_restore(tree: Tree, file: Path, after_s: float) -> None:
    """So long after the database is seen half restored; one that goes on may have ended before."""
    process = tree.spawn("restore", "-y", "--replace", str(file))
    wait_for(lambda: process.poll() is not None or _is_half(tree), limit_s=60)
    time.sleep(after_s)
    process.kill()
    process.wait()
    wait_for(lambda: not tree.left())  # its engines die with it


def _is_half(tree: Tree) -> bool:
    """Whether the running mongod says that a restore is under way."""
    if not mongodb_socket(settings_of(tree)).exists():
        return False
    client: MongoClient[dict[str, Any]] = MongoClient(mongodb_url(settings_of(tree)), serverSelectionTimeoutMS=300)
    with client:
        try:
            return client[DATABASE_NAME]["schema"].find_one({"_id": "restore"}) is not None
        except PyMongoError:
            return False


def test_a_killed_backup_leaves_no_file_and_the_schedule_makes_one(tree: Tree) -> None:
    folder = tree.state.parent / "backups"
    tree.environ["BOLTLINK_BACKUP_DIR"] = str(folder)
    tree.up()
    make_links(tree)
    (made,) = wait_for(lambda: list(folder.glob("*.backup")))
    assert tree.command("backup", "--verify", str(made)).returncode == 0
    assert _metric(tree, "boltlink_backup_failed") == 0
    wait_for(lambda: _metric(tree, "boltlink_backup_bytes") == made.stat().st_size)
    _restart_backup(tree)
    assert _metric(tree, "boltlink_backup_bytes") == made.stat().st_size
    assert _metric(tree, "boltlink_backup_seconds") > 0
    file = tree.state.parent / "killed.backup"
    process = tree.spawn("backup", str(file))
    part = file.with_name(f".{file.name}.part")
    wait_for(lambda: part.exists() or process.poll() is not None, step_s=0.001)
    process.kill()
    process.wait()
    assert not file.exists()
    assert tree.command("backup", str(file)).returncode == 0
    assert not part.exists()
    done = tree.command("restore", "-y", "--replace", str(file))
    assert (done.returncode, "boltlink down" in done.stderr) == (1, True)


def _metric(tree: Tree, name: str) -> float:
    """What the node's metrics say of one now; NaN where they say nothing."""
    lines = fetch.get(tree.metrics_url).text.splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), float("nan"))


def _restart_backup(tree: Tree) -> None:
    """Returns when the new program has published everything at least once."""
    start = 'boltlink_process_start_time_seconds{program="backup"}'
    before = _metric(tree, start)
    assert tree.command("reload", "backup").returncode == 0
    wait_for(lambda: _metric(tree, start) > before)
    for _ in range(2):  # an age is published before all else
        wait_for(partial(_has_other_age, tree, _metric(tree, AGE)))


def _has_other_age(tree: Tree, known_s: float) -> bool:
    return _metric(tree, AGE) != known_s
