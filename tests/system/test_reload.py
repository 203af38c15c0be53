"""Reloads of the real tree, and what watches over its memory."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import psutil
import pytest

from app.settings import Settings
from app.sockets import queue_moves
from app.tree import Tree as Control
from tests.conftest import wait_for
from tests.system.conftest import Tree, make_tree

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

ENGINES = {"redis", "mongod"}
TARGET = "https://www.rfc-editor.org/rfc/rfc9110.html"


def test_reload_renews_all_but_engines_with_new_settings(tree: Tree, tmp_path: Path) -> None:
    settings = tmp_path / "settings"
    settings.write_text("BOLTLINK_LOG_LEVEL=info\n")
    tree.environ["BOLTLINK_SETTINGS_FILE"] = str(settings)
    tree.up()
    slug, before = tree.shorten(TARGET), tree.pids()

    settings.write_text("BOLTLINK_LOG_LEVEL=loud\n")
    done = tree.command("reload")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "loud" in done.stderr
    for line, program in (("BOLTLINK_WEB_PROCESSES=3\n", "web_2"), ("BOLTLINK_AGGREGATORS=2\n", "aggregator_1")):
        settings.write_text(line)
        done = tree.command("reload")
        assert done.returncode == 1
        assert program in done.stderr
    assert tree.command("reload", "web_9").returncode == 1
    settings.write_text("BOLTLINK_LOG_LEVEL=debug\nBOLTLINK_UNKNOWN_HOSTS=404\n")
    assert tree.pids() == before

    done = tree.command("reload", "--json")
    assert done.returncode == 0, done.stderr
    after = tree.pids()
    assert {name for name, pid in after.items() if pid == before[name]} == ENGINES
    assert [json.loads(line)["name"] for line in done.stdout.splitlines()] == [
        *("web_0", "web_1"),
        *sorted(after.keys() - ENGINES - {"web_0", "web_1"}),
    ]
    if not queue_moves():  # who is turned away at the end of one comes again a second later, and finds the other
        began_s = [psutil.Process(after[name]).create_time() for name in ("web_0", "web_1")]
        assert began_s[1] - began_s[0] > 1.3
    assert tree.status()["ready"] is True
    assert tree.location(slug) == TARGET
    assert tree.location(slug, host="elsewhere.example") is None

    settings.write_text("BOLTLINK_WEB_PROCESSES=3\n")  # or a release that has one program more
    assert tree.command("reload", "web_2", "--running").returncode == 1
    assert tree.command("reload", "web_1", "announcer", "--running").returncode == 0
    assert {name for name, pid in tree.pids().items() if pid != after[name]} == {"web_1", "announcer"}


def test_reload_stops_at_a_program_that_does_not_come_up(running: Tree) -> None:
    before = running.pids()
    lock = (running.state / "run" / "web_0.lock").rename(running.state / "run" / "kept")
    (running.state / "run" / "web_0.lock").mkdir()  # what a new process cannot open, whoever it runs as
    try:
        done = running.command("reload")
    finally:
        (running.state / "run" / "web_0.lock").rmdir()
        lock.rename(running.state / "run" / "web_0.lock")
    assert done.returncode == 1
    assert done.stderr.startswith("boltlink: web_0 ")
    assert "left as they were" in done.stderr
    after = running.pids()
    assert {name: pid for name, pid in after.items() if name != "web_0"} == {
        name: pid for name, pid in before.items() if name != "web_0"
    }
    wait_for(lambda: running.status()["ready"])  # supervisord tries it again by itself


def test_interrupted_reload_brings_back_what_it_has_stopped(running: Tree) -> None:
    before, control = running.pids(), Control(Settings.from_environ(running.environ))
    process = running.spawn("reload")
    wait_for(lambda: control.ask("getProcessInfo", "web:web_0")["pid"] != before["web_0"])
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == 1
    assert "left as they were" in (running.state.parent / "up.out").read_text()
    after = running.status()
    assert after["ready"] is True
    pids = {entry["name"]: entry["pid"] for entry in after["processes"]}
    assert {name for name, pid in pids.items() if pid != before[name]} == {"web_0"}


def test_killed_reload_leaves_nothing_stopped(running: Tree) -> None:
    before = running.pids()
    os.kill(before["web_0"], signal.SIGSTOP)  # so that it does not end before its reload does
    try:
        process = running.spawn("reload", "web_0", "--force")
        wait_for(lambda: _is_asked_to_end(before["web_0"]))
        process.kill()
        process.wait()
    finally:
        os.kill(before["web_0"], signal.SIGCONT)
    wait_for(lambda: running.pids().get("web_0", before["web_0"]) != before["web_0"] and running.status()["ready"])


def test_what_does_not_end_is_killed_and_renewed(running: Tree) -> None:
    before = running.pids()
    os.kill(before["announcer"], signal.SIGSTOP)
    done = running.command("reload", "announcer")
    assert done.returncode == 0, done.stderr
    assert {name for name, pid in running.pids().items() if pid != before[name]} == {"announcer"}


@pytest.mark.parametrize(("group", "name"), [("announcer", "announcer"), ("web", "web_1")])
def test_reload_starts_what_was_stopped(running: Tree, group: str, name: str) -> None:
    control = Control(Settings.from_environ(running.environ))
    control.ask("stopProcess", f"{group}:{name}", True)
    if group == "web":
        done = running.command("reload", "web_0", "web_1")
        assert (done.returncode, "web_1 is not ready" in done.stderr) == (1, True), "its sibling alone serves"
    assert running.command("reload", name).returncode == 0
    assert control.ask("getProcessInfo", f"{group}:{name}")["statename"] == "RUNNING"


def test_reload_asks_for_ready_processes_unless_forced(running: Tree) -> None:
    mongod = running.pids()["mongod"]
    before = running.pids()
    os.kill(mongod, signal.SIGSTOP)
    try:
        done = running.command("reload", "web_1")
        assert done.returncode == 1
        assert "--force" in done.stderr
        assert running.pids() == before
    finally:
        os.kill(mongod, signal.SIGCONT)
    wait_for(lambda: running.status()["ready"])
    done = running.command("reload", "web_1", "--force")
    assert done.returncode == 0, done.stderr
    assert {name for name, pid in running.pids().items() if pid != before[name]} == {"web_1"}


def test_hang_up_of_a_foreground_up_reloads(tree: Tree) -> None:
    process = tree.spawn("up")
    wait_for(lambda: tree.command("status").returncode == 0 and tree.status()["ready"])
    before = tree.pids()
    count = len(before.keys() - ENGINES)
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: f"[{count}/{count}]" in (tree.state.parent / "up.out").read_text())
    after = tree.pids()
    assert {name for name, pid in after.items() if pid == before[name]} == ENGINES
    process.terminate()
    assert process.wait(60) == 0


def test_above_the_memory_limit_programs_are_restarted_one_after_another() -> None:
    """Every process is above so small a limit, so all are restarted; between two restarts the first serves again."""
    for tree in make_tree(BOLTLINK_MEMORY_LIMIT="20MB"):
        tree.up()
        before = tree.pids()
        told = wait_for(lambda tree=tree: _said(tree, "above the memory limit right after its start"))  # type: ignore[misc]
        assert told is not None
        assert told["memory_bytes"] > 20_000_000
        assert tree.pids() == before
        wait_for(lambda tree=tree, before=before: not _kept(tree, before) - ENGINES - {"memmon"}, limit_s=120)  # type: ignore[misc]
        assert _kept(tree, before) == {*ENGINES, "memmon"}
        log = (tree.state / "log" / "supervisord.log").read_text()
        assert "restarted" in (tree.state / "log" / "memmon.log").read_text()
        assert log.index("spawned: 'web_0'", log.index("exited: web_0")) < log.index("exited: web_1")
        assert all(psutil.pid_exists(pid) for pid in tree.pids().values())


def _said(tree: Tree, event: str) -> dict[str, int] | None:
    lines = (tree.state / "log" / "memmon.log").read_text().splitlines()
    return next((line for line in map(json.loads, lines) if line["event"] == event), None)


def _kept(tree: Tree, before: dict[str, int]) -> set[str]:
    """Programs that have not been restarted."""
    return {name for name, pid in tree.pids().items() if pid == before[name]}


def _is_asked_to_end(pid: int) -> bool:
    """Whether a SIGTERM waits for a process that stands still."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    waiting = int(next(line.split()[1] for line in lines if line.startswith("ShdPnd:")), 16)
    return bool(waiting >> (signal.SIGTERM - 1) & 1)
