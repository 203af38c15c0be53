"""`boltlink monit` on the real tree, in a terminal: keys are pressed, and what they do is seen to happen."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyte
import pytest

from tests import fetch
from tests.conftest import wait_for
from tests.system.conftest import ROOT, Tree

pytestmark = [pytest.mark.system, pytest.mark.timeout(200)]

TARGET = "https://www.rfc-editor.org/rfc/rfc9110.html"


class Terminal:
    """A terminal of a given size, and what is on its screen."""

    def __init__(self, columns: int, lines: int) -> None:
        self.ours, self.theirs = pty.openpty()
        self.screen = pyte.Screen(columns, lines)
        self.resize(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self._lock = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()

    def resize(self, columns: int, lines: int) -> None:
        self.screen.resize(lines, columns)
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, keys: str) -> None:
        os.write(self.ours, keys.encode())

    def lines(self) -> list[str]:
        with self._lock:
            return [line.rstrip() for line in self.screen.display]

    def shows(self, text: str) -> bool:
        return any(text in line for line in self.lines())

    def wait(self, text: str) -> None:
        try:
            wait_for(lambda: self.shows(text), limit_s=60)
        except AssertionError:
            raise AssertionError(f"{text!r} is not on the screen:\n" + "\n".join(self.lines())) from None

    def _read(self) -> None:
        try:
            while data := os.read(self.ours, 65_536):
                with self._lock:
                    self._stream.feed(data)
        except OSError:
            return  # closed


@contextmanager
def monit(tree: Tree, columns: int, lines: int) -> Iterator[tuple[Terminal, subprocess.Popen[bytes]]]:
    terminal = Terminal(columns, lines)
    environ = {name: value for name, value in tree.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "monit"],
        env={**environ, "TERM": "xterm-256color"},
        cwd=ROOT,
        stdin=terminal.theirs,
        stdout=terminal.theirs,
        stderr=terminal.theirs,
        start_new_session=True,
    )
    try:
        yield terminal, process
    finally:
        process.kill()
        process.wait()
        os.close(terminal.theirs)
        os.close(terminal.ours)


def test_keys_choose_restart_and_show_a_log(running: Tree) -> None:
    slug = running.shorten(TARGET)
    before = running.pids()
    with monit(running, 80, 24) as (terminal, process):
        shown = termios.tcgetattr(terminal.theirs)
        terminal.wait("q quit")
        assert terminal.lines()[0].startswith(f"BoltLink {running.url}  ready")
        for name in before:
            assert terminal.shows(f" {name} ")
        for _ in range(7):
            assert running.location(slug) == TARGET
        wait_for(lambda: any(line.split()[:2] == [slug, "7"] for line in terminal.lines()))
        for name in sorted(before):
            terminal.wait(f"> {name} ")
            if name == "web_1":
                break
            terminal.press("\x1b[B")
        terminal.press("r")
        terminal.wait("restart web_1? y/n")
        terminal.press("n")
        terminal.wait("q quit")
        terminal.press("r")
        terminal.wait("restart web_1? y/n")
        terminal.press("y")
        terminal.wait("web_1 serves again")
        after = running.pids()
        assert after["web_1"] != before["web_1"]
        assert {name for name in after if after[name] != before[name]} == {"web_1"}
        wait_for(lambda: any(line.split()[1:2] == ["web_1"] and line.split()[-2] == "1" for line in terminal.lines()))
        terminal.press("l")
        terminal.wait("log of web_1")
        terminal.wait("stopped")
        terminal.press("l")
        terminal.wait("> web_1")
        terminal.resize(120, 40)
        wait_for(lambda: "serves again" in terminal.lines()[39])
        terminal.press("q")
        assert process.wait(20) == 0
        assert termios.tcgetattr(terminal.theirs) == shown


def test_reload_of_all_leaves_engines_alone(running: Tree) -> None:
    before = running.pids()
    with monit(running, 100, 30) as (terminal, process):
        terminal.wait("q quit")
        terminal.press("R")
        terminal.wait("reload web_0, web_1,")
        terminal.press("y")
        terminal.wait("rollup serves again")
        after = running.pids()
        assert {name for name in after if after[name] == before[name]} == {"redis", "mongod"}
        terminal.press("q")
        assert process.wait(20) == 0


def test_ended_by_a_signal_it_leaves_the_terminal_as_it_was(running: Tree) -> None:
    with monit(running, 80, 24) as (terminal, process):
        shown = termios.tcgetattr(terminal.theirs)
        terminal.wait("q quit")
        process.terminate()
        assert process.wait(20) == 0
        assert termios.tcgetattr(terminal.theirs) == shown
        wait_for(lambda: pyte.modes.DECTCEM in terminal.screen.mode)  # the cursor is seen again


def test_one_page_for_people_and_for_machines(running: Tree, tmp_path: Path) -> None:
    slug = running.shorten(TARGET)
    assert running.location(slug) == TARGET
    for_people = running.command("monit", "--once", "--svg", str(tmp_path / "page.svg"))
    assert for_people.returncode == 0, for_people.stderr
    assert "\x1b" not in for_people.stdout
    assert "web_1" in for_people.stdout
    assert "web_1" in (tmp_path / "page.svg").read_text()
    wait_for(lambda: [slug, 1] in json.loads(running.command("monit", "--once", "--json").stdout)["hot"])
    found = json.loads(running.command("monit", "--once", "--json").stdout)
    webs = [row for row in found["processes"] if row["name"].startswith("web_")]
    assert all(row["is_ready"] and row["connections"] is not None for row in webs)
    assert found["stores"] == {"redis": True, "mongodb": True}
    assert "lag_s" in found["journal"]


def test_metrics_of_one_program_are_its_own(running: Tree) -> None:
    def redirects(**query: str) -> float:
        return sum_of("boltlink_redirects_total{", fetch.get(running.metrics_url, params=query).text)

    slug = running.shorten(TARGET)
    assert running.location(slug) == TARGET
    wait_for(lambda: redirects(program="web_0") + redirects(program="web_1") == redirects() >= 1)
    assert max(redirects(program="web_0"), redirects(program="web_1")) >= 1
    assert fetch.get(running.metrics_url, params={"program": "no_such"}).text == ""
    text = fetch.get(running.metrics_url).text  # what a process reads again by itself, once a second, nobody looked up
    assert sum_of('boltlink_cache_requests_total{layer="l1"', text) <= sum_of("boltlink_redirects_total{", text)


def sum_of(start: str, text: str) -> float:
    """The sum of the series that begin so."""
    return sum(float(line.split()[1]) for line in text.splitlines() if line.startswith(start))


def test_without_a_tree_or_a_terminal_it_says_so(tree: Tree) -> None:
    done = tree.command("monit", "--once")
    assert (done.returncode, done.stderr) == (
        1,
        f"boltlink: not running on {tree.state}; start it with: boltlink up\n",
    )
    assert tree.command("monit").returncode == 2
