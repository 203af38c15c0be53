"""The process tree, killed, refused, stopped and started by the real command."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from app.lifeline import take_lock
from app.settings import Settings
from app.tree import Tree as Control
from tests.conftest import wait_for
from tests.system.conftest import COMMAND_S, Tree, is_alive

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

TARGET = "https://www.rfc-editor.org/rfc/rfc9110.html"
STILL_S = 90.0
BACK_S = 5.0  # a bound on waiting, not on speed: a loaded machine may be slow


def test_status_names_every_program(running: Tree) -> None:
    report = running.status()
    assert report["url"] == running.url
    assert report["ready"] is True
    names = {process["name"] for process in report["processes"]}
    assert {"redis", "mongod", "aggregator", "announcer", "rollup", "jobs_0", "web_0", "web_1"} <= names
    for process in report["processes"]:
        assert set(process) == {
            *("name", "pid", "state", "uptime_s", "cpu_percent", "memory_bytes", "restarts"),
        }
        assert process["state"] == "RUNNING"
        assert process["memory_bytes"] > 0


@pytest.mark.parametrize("name", ["web_0", "aggregator", "announcer", "rollup", "jobs_0", "redis", "mongod"])
def test_killed_program_comes_back_and_slugs_still_answer(running: Tree, name: str) -> None:
    slug = running.shorten(TARGET)
    before = {process["name"]: process for process in running.status()["processes"]}
    os.kill(before[name]["pid"], signal.SIGKILL)
    wait_for(lambda: running.pids()[name] not in (None, before[name]["pid"]), limit_s=BACK_S)
    wait_for(lambda: running.location(slug) == TARGET, limit_s=BACK_S)
    wait_for(lambda: running.status()["ready"])
    after = {process["name"]: process for process in running.status()["processes"]}
    assert after[name]["restarts"] == before[name]["restarts"] + 1
    assert {n: p["pid"] for n, p in after.items() if n != name} == {n: p["pid"] for n, p in before.items() if n != name}


@pytest.mark.parametrize("name", ["web_0", "aggregator"])
def test_program_that_stands_still_is_ended_and_comes_back(running: Tree, name: str) -> None:
    before = running.pids()[name]
    os.kill(before, signal.SIGSTOP)
    wait_for(lambda: running.pids()[name] not in (None, before), limit_s=STILL_S)
    wait_for(lambda: running.status()["ready"])
    said = running.command("logs", "memmon", "--json").stdout
    assert [line["of"] for line in map(json.loads, said.splitlines()) if line.get("pid") == before] == [name]


def test_doctor_finds_a_running_tree_well_and_names_a_program_that_is_stopped(running: Tree) -> None:
    def states() -> dict[str, tuple[str, str]]:
        rows = json.loads(running.command("doctor", "--json").stdout)["checks"]
        return {row["check"]: (row["state"], row["found"]) for row in rows}

    well = states()
    for check in ("programs", "ports", "redis", "mongodb", "mongodb.indexes", "mongodb.schema", "journal", "engines"):
        assert well[check][0] == "ok", well[check]
    control = Control(Settings.from_environ(running.environ))
    assert control.ask("stopProcess", "aggregator")
    assert states()["programs"] == ("fail", "aggregator is STOPPED")
    assert control.ask("startProcess", "aggregator")
    wait_for(lambda: states()["programs"][0] == "ok")


def test_second_up_says_who_runs(running: Tree) -> None:
    done = running.command("up", "--detach")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert str(running.supervisor()) in done.stderr
    assert running.status()["ready"] is True


def test_a_folder_that_is_at_work_is_left_alone_whatever_its_pid_file_says(tree: Tree) -> None:
    """A supervisord was killed, its number is another process's by now, and a restore holds the folder."""
    (tree.state / "run").mkdir(parents=True, mode=0o700)
    tree.state.chmod(0o700)
    lock = take_lock(tree.state / "up.lock")
    assert lock is not None
    other = subprocess.Popen(["sleep", "60"], env=tree.environ)
    try:
        (tree.state / "run" / "supervisord.pid").write_text(f"{other.pid}\n")
        for command in (("down",), ("up", "--detach")):
            done = tree.command(*command)
            assert (done.returncode, done.stderr.count("\n")) == (1, 1)
            assert "at work" in done.stderr
        assert other.poll() is None
    finally:
        os.close(lock)
        other.kill()
        other.wait()
    assert tree.command("down").stdout == "not running\n"


def test_engines_listen_on_no_port_and_in_a_private_folder(running: Tree) -> None:
    pids = {pid for name, pid in running.pids().items() if name in ("redis", "mongod")}
    sockets = {
        link.rpartition("[")[2].rstrip("]")
        for pid in pids
        for descriptor in Path(f"/proc/{pid}/fd").iterdir()
        if (link := os.readlink(descriptor)).startswith("socket:")
    }
    for table in ("tcp", "tcp6"):
        rows = [row.split() for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
        assert not {row[9] for row in rows} & sockets
    assert running.state.stat().st_mode & 0o077 == 0


def test_run_folder_is_locked_against_those_who_tidy_up(running: Tree) -> None:
    """systemd-tmpfiles leaves a folder alone that is locked by flock."""
    folder = os.open(running.state / "run", os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(folder)


def test_nobody_else_may_read_what_programs_write(running: Tree) -> None:
    """Not even where somebody opens the folder, or copies it."""
    running.shorten(TARGET)
    found = {}
    for path in running.state.rglob("*"):
        with suppress(FileNotFoundError):
            found[str(path.relative_to(running.state))] = path.lstat().st_mode & 0o077
    assert {"admin-key", "log/web_0.log", "log/supervisord.log", "node-id", "run/supervisord.pid"} <= found.keys()
    assert not {path for path, mode in found.items() if mode}


def test_killed_supervisord_leaves_no_orphan_and_up_works_again(tree: Tree) -> None:
    tree.up()
    slug, pids = tree.shorten(TARGET), tree.pids()
    os.kill(tree.supervisor(), signal.SIGKILL)
    wait_for(lambda: not any(is_alive(pid) for pid in pids.values()))
    wait_for(lambda: not tree.left())
    tree.up()
    assert tree.location(slug) == TARGET


def test_down_and_up_keep_links_and_key(tree: Tree) -> None:
    tree.up()
    slug, key = tree.shorten(TARGET), tree.key
    tree.down()
    assert tree.left() == []
    tree.up()
    assert tree.location(slug) == TARGET
    assert tree.key == key
    tree.down()
    assert tree.command("down").returncode == 0


@pytest.mark.parametrize(("number", "words"), [(signal.SIGTERM, ["--json"]), (signal.SIGINT, [])])
def test_signal_to_up_stops_everything_in_order(tree: Tree, number: signal.Signals, words: list[str]) -> None:
    process = tree.spawn("up", *words)
    wait_for(lambda: tree.command("status").returncode == 0 and tree.status()["ready"])
    process.send_signal(number)
    assert process.wait(60) == 0
    assert tree.left() == []
    log = (tree.state / "log" / "supervisord.log").read_text()
    assert log.rindex("stopped: web_0") < log.rindex("stopped: aggregator") < log.rindex("stopped: mongod")
    if words:
        said = [json.loads(line) for line in (tree.state.parent / "up.out").read_text().splitlines()]
        assert {"up", "supervisord", "web_0", "aggregator", "mongod", "redis"} <= {line["program"] for line in said}
        assert next(line for line in said if line["program"] == "up")["event"] == "ready"
        return
    begin, _, advice = (tree.state.parent / "up.out").read_text().partition("BoltLink is ready at ")
    assert '"event": "started"' in begin, "what the start had to say stands before the advice, not behind it"
    commands = re.findall(r"^  (\S+) ", advice.partition("\ntry:\n")[2], re.MULTILINE)[:3]
    assert [Path(command).name for command in commands] == ["boltlink", "boltlink", "supervisorctl"]
    assert all(shutil.which(command) or (tree.cwd / command).exists() for command in commands)


@pytest.mark.parametrize("output", ["a full disk", "a pipe without a reader"])
def test_output_that_takes_nothing_ends_nothing(tree: Tree, output: str) -> None:
    reader, writer = os.pipe() if "pipe" in output else (None, os.open("/dev/full", os.O_WRONLY))
    if reader is not None:
        os.close(reader)
    process = subprocess.Popen(
        [tree.python, "-m", "app.cli", "up"], env=tree.environ, cwd=tree.cwd, stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    wait_for(lambda: process.poll() is not None or (tree.command("status").returncode == 0 and tree.status()["ready"]))
    tree.command("reload", "rollup")  # says something, and that is shown
    assert process.poll() is None
    assert tree.location(tree.shorten(TARGET)) == TARGET
    process.terminate()
    assert process.communicate(timeout=60)[1] == b""
    assert process.returncode == 0
    assert tree.left() == []


def test_killed_up_stops_everything(tree: Tree) -> None:
    process = tree.spawn("up")
    wait_for(lambda: tree.command("status").returncode == 0 and tree.status()["ready"])
    process.kill()
    process.wait()
    wait_for(lambda: not tree.left(), limit_s=60)


def test_foreground_up_ends_with_its_supervisord(tree: Tree) -> None:
    process = tree.spawn("up")
    wait_for(lambda: tree.command("status").returncode == 0 and tree.status()["ready"])
    os.kill(tree.supervisor(), signal.SIGKILL)
    assert process.wait(30) == 1
    wait_for(lambda: not tree.left())


@pytest.mark.parametrize("variable", ["BOLTLINK_PORT", "BOLTLINK_METRICS_PORT"])
def test_port_in_use_is_one_line_and_nothing_runs(tree: Tree, variable: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = tree.command("up", "--detach", **{variable: port})
    assert_refused(tree, done.returncode, done.stderr, variable, port)


def test_state_folder_that_cannot_be_made_is_one_line(tree: Tree) -> None:
    tree.state.write_text("a file, which root cannot write into either")
    done = tree.command("up", "--detach")
    assert_refused(tree, done.returncode, done.stderr, str(tree.state))


def test_engine_that_is_none_is_one_line(tree: Tree) -> None:
    done = tree.command("up", "--detach", BOLTLINK_MONGOD="/bin/false")
    assert_refused(tree, done.returncode, done.stderr, "/bin/false")


def test_engine_that_dies_at_start_is_one_line_with_its_last_words(tree: Tree) -> None:
    engine = tree.state.parent / "mongod"
    engine.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "db version v6.0.5" && exit\necho no disk here\nexit 1\n'
    )
    engine.chmod(0o700)
    done = tree.command("up", "--detach", BOLTLINK_MONGOD=str(engine))
    assert_refused(tree, done.returncode, done.stderr, "mongod", "no disk here")


def test_supervisord_that_does_not_start_is_one_line_with_its_reason(tree: Tree) -> None:
    limited = ["sh", "-c", 'ulimit -n 512; exec "$@"', "sh", tree.python, "-m", "app.cli", "up", "--detach"]
    done = subprocess.run(
        limited, env=tree.environ, cwd=tree.cwd, capture_output=True, text=True, timeout=COMMAND_S, check=False
    )
    assert_refused(tree, done.returncode, done.stderr, "supervisord", "file descriptors", "1024")


def test_wrong_setting_is_one_line_and_status_2(tree: Tree) -> None:
    done = tree.command("up", BOLTLINK_PORT="abc")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "BOLTLINK_PORT" in done.stderr
    assert "abc" in done.stderr
    assert not tree.state.exists()


def test_wrong_settings_keep_nobody_from_looking_at_what_runs_or_ending_it(tree: Tree) -> None:
    file = tree.state.parent / "settings"
    file.write_text("BOLTLINK_JOBS=1\n")
    tree.environ["BOLTLINK_SETTINGS_FILE"] = str(file)
    tree.up()
    file.write_text("BOLTLINK_JOBS=many\nBOLTLINK_WEB_PROCESSES=40\nBOLTLINK_JBOS=2\n")
    wrong = {"BOLTLINK_PORT": "abc"}
    refused = tree.command("reload", **wrong)
    assert refused.returncode == 2
    warned = f"boltlink: {file}, line 3: 'BOLTLINK_JBOS' is not a setting and its value, NAME=value; "
    for words in (["status", "--json"], ["status"], ["logs", "web_0", "--json"], ["down", "--json"]):
        done = tree.command(*words, **wrong)
        assert done.returncode == 0, done.stderr
        assert done.stderr.startswith(warned)
        assert "; BOLTLINK_JOBS: 'many' is not a whole number" in done.stderr
        assert "; BOLTLINK_PORT: 'abc' is not " in done.stderr
        assert done.stderr.count("\n") == 1
        if words == ["status", "--json"]:
            report = json.loads(done.stdout)
            assert (report["url"], report["ready"]) == (tree.url, True)
        elif "--json" in words:
            assert all(json.loads(line) for line in done.stdout.splitlines())
    assert tree.left() == []


def assert_refused(tree: Tree, status: int, line: str, *words: str) -> None:
    assert status == 1
    assert line.count("\n") == 1, line
    for word in words:
        assert word in line
    assert tree.left() == []
