"""The product as a user runs it, whole: `boltlink up` in a folder of its own, with two web processes.

In: a folder. Out: a running tree, asked over its port, its processes' own sockets, its API and its metrics.
May import: the program's settings and stores, machine.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from app.settings import Settings
from app.stores import run_dir
from bench.machine import ROOT, free_port

__all__ = ["GIVE_UP_S", "WEB", "Tree", "running_tree"]

WEB = ("web_0", "web_1")
GIVE_UP_S = 30.0


class Tree:
    """The product in a folder of its own, with two web processes."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        own = {
            "BOLTLINK_STATE_DIR": str(folder / "s"),
            "BOLTLINK_PORT": str(port),
            "BOLTLINK_METRICS_PORT": str(free_port()),
            "BOLTLINK_WEB_PROCESSES": str(len(WEB)),
        }
        others = {name: value for name, value in os.environ.items() if not name.startswith("BOLTLINK_")}
        self._environ = {**others, **own}
        self.settings = Settings.from_environ(own)
        self.port = port
        self.command("up", "--detach")
        key = (self.settings.state_dir / "admin-key").read_text().strip()
        headers = {"Authorization": f"Bearer {key}"}
        self.api = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30.0)

    def command(self, *words: str) -> str:
        """Runs `boltlink WORDS`; what it printed."""
        command = [sys.executable, "-m", "app.cli", *words]
        return subprocess.run(command, env=self._environ, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    def supervisorctl(self, *words: str) -> None:
        """Starts or stops a program."""
        command = [sys.executable, "-m", "supervisor.supervisorctl", "-s"]
        address = f"unix://{run_dir(self.settings) / 'supervisor.sock'}"
        subprocess.run([*command, address, *words], check=True, capture_output=True)

    def pid(self, name: str) -> int:
        """The pid of a program."""
        report = json.loads(self.command("status", "--json"))
        return int(next(process["pid"] for process in report["processes"] if process["name"] == name))

    def shorten(self) -> str:
        """A new link that every process has answered."""
        slug: str = self.api.post("/api/v1/links", json={"target": "https://example.com/"}).json()["slug"]
        for name in WEB:
            with self.connect(name) as ask:
                assert ask(slug).startswith(b"302 https://example.com/"), ask(slug)
        return slug

    @contextmanager
    def connect(self, name: str) -> Iterator[Callable[[str], bytes]]:
        """A connection to one process: asks for a slug, tells status and Location."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(GIVE_UP_S)
            connection.connect(str(run_dir(self.settings) / f"{name}.sock"))

            def ask(slug: str) -> bytes:
                connection.sendall(b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % slug.encode())
                answer = connection.recv(65_536)
                return answer[9:13] + answer.partition(b"\r\nLocation: ")[2].partition(b"\r\n")[0]

            yield ask

    def metric(self, name: str) -> float:
        """The sum of a metric over what it is told apart by; a second old at most."""
        address = f"http://127.0.0.1:{self.settings.metrics_port}/metrics"
        lines = httpx.get(address, timeout=30, trust_env=False).text.splitlines()
        rows = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
        return sum(float(value) for series, value in rows if series.partition("{")[0] == name)

    def wait_until_ready(self) -> None:
        """Until both stores answer every process and the channel is heard."""
        deadline = time.monotonic() + GIVE_UP_S
        while time.monotonic() < deadline:
            try:
                health = self.api.get("/health").json()
                ready = self.api.get("/ready").status_code == 200
            except httpx.HTTPError:
                continue
            if ready and "live" in json.dumps(health):
                return
            time.sleep(0.05)
        raise SystemExit("not ready")


@contextmanager
def running_tree() -> Iterator[Tree]:
    """A tree that is ready, and gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="bl-"))
    tree = Tree(folder)
    try:
        tree.wait_until_ready()
        yield tree
    finally:
        tree.api.close()
        tree.command("down")
        shutil.rmtree(folder, ignore_errors=True)
