"""The real tree, started and stopped by the real command, on ports and in a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests import fetch
from tests.conftest import wait_for

COMMAND_S = 100.0
ROOT = Path(__file__).resolve().parents[2]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Tree:
    """One state folder and the command on it; nothing runs until `up`.

    `python` and `cwd` are what the command is started by, and where.
    """

    python = sys.executable
    cwd = ROOT

    def __init__(self, folder: Path, **settings: str) -> None:
        self.state = folder / "s"
        self.port, self.metrics_port = free_ports(2)
        self.url = f"http://127.0.0.1:{self.port}"
        self.metrics_url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("BOLTLINK_")},
            "BOLTLINK_STATE_DIR": str(self.state),
            "BOLTLINK_PORT": str(self.port),
            "BOLTLINK_METRICS_PORT": str(self.metrics_port),
            **settings,
        }

    def command(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Runs `boltlink WORDS` to its end."""
        return subprocess.run(
            [self.python, "-m", "app.cli", *words],
            env={**self.environ, **settings},
            cwd=self.cwd,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )

    def spawn(self, *words: str) -> subprocess.Popen[bytes]:
        """Starts `boltlink WORDS`, its output in `up.out`."""
        with (self.state.parent / "up.out").open("ab") as output:
            return subprocess.Popen(
                [self.python, "-m", "app.cli", *words], env=self.environ, cwd=self.cwd, stdout=output, stderr=output
            )

    def up(self) -> None:
        """Starts the tree in the background."""
        done = self.command("up", "--detach")
        assert done.returncode == 0, done.stderr + done.stdout

    def down(self) -> None:
        """Stops it."""
        done = self.command("down")
        assert done.returncode == 0, done.stderr

    def status(self) -> dict[str, Any]:
        """What `status --json` says."""
        done = self.command("status", "--json")
        assert done.returncode == 0, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def pids(self) -> dict[str, int]:
        """Each program's pid."""
        return {process["name"]: process["pid"] for process in self.status()["processes"]}

    def supervisor(self) -> int:
        """supervisord's pid."""
        return int((self.state / "run" / "supervisord.pid").read_text())

    @property
    def key(self) -> str:
        """The admin key that `up` made."""
        return (self.state / "admin-key").read_text().strip()

    def shorten(self, target: str) -> str:
        """Makes a link; its slug."""
        answer = fetch.post(
            f"{self.url}/api/v1/links", json={"target": target}, headers={"Authorization": f"Bearer {self.key}"}
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["slug"])

    def location(self, slug: str, host: str = "127.0.0.1") -> str | None:
        """Where a slug leads; None while nobody answers, or where it is unknown."""
        try:
            answer = fetch.get(f"{self.url}/{slug}", headers={"Host": host})
        except httpx.HTTPError:
            return None
        found: str | None = answer.headers.get("Location")
        return found

    def left(self) -> list[str]:
        """Command lines of all living processes that were given this state folder."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                is_ours = process.environ().get("BOLTLINK_STATE_DIR") == str(self.state)
                if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(" ".join(process.cmdline()))
        return found

    def end(self) -> None:
        """Stops what runs and proves that nothing is left."""
        self.command("down")
        wait_for(lambda: not self.left())


def make_tree(**settings: str) -> Iterator[Tree]:
    """A tree in a folder with a short name, gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="bl-"))
    tree = Tree(folder, **settings)
    try:
        yield tree
    finally:
        tree.end()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def tree() -> Iterator[Tree]:
    """A tree that does not run yet."""
    yield from make_tree()


@pytest.fixture(scope="module")
def running() -> Iterator[Tree]:
    """A tree that runs; tests of one module share it and leave it running."""
    for tree in make_tree():
        tree.up()
        yield tree
