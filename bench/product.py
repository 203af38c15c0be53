"""BoltLink as it is installed: engines of its own, web processes, journals; with as many links as a case wants.

In: how many links, and which source to run. Out: ports to ask, and how many clicks the journals got.
Engines run on the load's CPU, web processes on the server's.
The aggregator rests while the load runs (it would share the load's CPU); between runs `take_clicks` reads the journals
to their end and gives the segments back, as it would, so that writers go on in used segments.
May import: the whole program, machine.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
from redis import Redis

from app.journal import Reader, list_sources
from app.schema import bring_up
from app.settings import Settings
from app.stores import mongodb_socket, mongodb_url, open_mongodb, open_redis, redis_socket, redis_url
from app.stores.replica_set import ensure_replica_set
from bench.heads import HOST
from bench.links import fill_mongodb, fill_redis
from bench.machine import LOAD_CPU, ROOT, SERVER_CPU, free_port, pinned, wait_for_port

__all__ = ["COUNTS_OLD_S", "KEY", "Product", "compile_hot_path", "start"]

KEY = "blk_bench_only_bench_only_bench_only"
IN_REDIS_MAX = 1_000_000  # about what an embedded Redis holds
REDIS_MEMORY = "4gb"  # that it keeps what it was given; the embedded one's own limit is 256 MB
READ_STEP = 50_000  # records at once
READY_S = 60.0
APPLIED_S = 600.0
COUNTS_OLD_S = 1.2  # programs publish their counts once a second


def start(stack: ExitStack, command: list[str], folder: Path, **options: Any) -> subprocess.Popen[bytes]:
    """Starts a program that ends with `stack`, or with this program however that ends."""
    log = stack.enter_context((folder / "log").open("ab"))
    process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *command], stdout=log, stderr=log, **options)
    stack.callback(_end, process)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def compile_hot_path() -> None:
    """Builds what is older than its source, so that no edit is measured by yesterday's build."""
    subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], cwd=ROOT, check=True)


class Product:
    """One node in a folder of its own; ends with `stack`."""

    def __init__(
        self,
        stack: ExitStack,
        folder: Path,
        links: int,
        in_redis: int = IN_REDIS_MAX,
        *,
        is_described: bool = False,
        **settings: str,
    ) -> None:
        self._stack = stack
        self._folder = folder
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("BOLTLINK_")},
            "BOLTLINK_STATE_DIR": str(folder / "s"),
            "BOLTLINK_METRICS_PORT": str(free_port()),
            "BOLTLINK_BASE_URL": f"http://{HOST}",
            "BOLTLINK_ADMIN_KEY": KEY,
            **settings,
        }
        self._settings = Settings.from_environ(self._environ)
        self._readers: dict[str, Reader] = {}
        shutil.rmtree(self._settings.state_dir / "journal", ignore_errors=True)  # of an earlier run in this folder
        self._webs = 0
        self._is_aggregated = False
        self._applied = 0
        for engine in ("redis", "mongod"):
            command = pinned(LOAD_CPU, sys.executable, "-m", "app.stores.embedded", engine)
            start(stack, command, folder, env=self._environ, cwd=ROOT)
        ensure_replica_set(mongodb_socket(self._settings))
        _wait(redis_socket(self._settings).exists, "redis")
        asyncio.run(self._fill(links, in_redis, is_described))

    def start_web(self, *, compiled: bool, hot_links: int | None = None, module: str = "app.main") -> tuple[int, int]:
        """One more web process, ready: (port, pid). Interpreted, it runs a copy without compiled modules."""
        port = free_port()
        environ = {
            **self._environ,
            "BOLTLINK_PORT": str(port),
            "SUPERVISOR_PROCESS_NAME": f"web_{self._webs}",
        }
        if hot_links is not None:
            environ["BOLTLINK_HOT_LINKS"] = str(hot_links)
        source = ROOT if compiled else self._interpreted()
        environ["PYTHONPATH"] = str(source)
        self._webs += 1
        command = pinned(SERVER_CPU, sys.executable, "-m", module)
        process = start(self._stack, command, self._folder, env=environ, cwd=source)
        wait_for_port(port)
        _wait_until_ready(port, "compiled" if compiled else "interpreted")
        return port, process.pid

    def empty_redis(self) -> None:
        """Redis forgets everything."""
        with Redis.from_url(redis_url(self._settings)) as client:
            client.flushall()

    def start_aggregator(self) -> None:
        """From now on it runs beside the load, on the load's CPU."""
        command = pinned(LOAD_CPU, sys.executable, "-m", "workers.aggregator")
        start(self._stack, command, self._folder, env=self._environ, cwd=ROOT)
        self._is_aggregated = True
        self._applied = self._wait_until_applied()

    def take_clicks(self) -> int:
        """Records since the last call: read from the journals, or counted when the aggregator reads them."""
        if self._is_aggregated:
            before, self._applied = self._applied, self._wait_until_applied()
            return self._applied - before
        return sum(self._read(source.name, source) for source in list_sources(self._settings.state_dir / "journal"))

    def count(self, name: str, *labels: str) -> float:
        """The sum of a counter's series that hold these labels, such as `layer="l1"`; a second old at most."""
        text = httpx.get(self._metrics_url, trust_env=False, timeout=30).text
        found = (line.rsplit(" ", 1) for line in text.splitlines() if line.startswith(f"boltlink_{name}_total"))
        return sum(float(value) for series, value in found if all(label in series for label in labels))

    @property
    def _metrics_url(self) -> str:
        return f"http://127.0.0.1:{self._settings.metrics_port}/metrics"

    def _wait_until_applied(self) -> int:
        """Returns how many clicks the aggregator has applied when these are all, for as long as counts are old."""
        time.sleep(COUNTS_OLD_S)
        _wait(lambda: self.count("clicks_journaled") == self.count("clicks_aggregated"), "the aggregator", APPLIED_S)
        return int(self.count("clicks_aggregated"))

    def _read(self, name: str, source: Any) -> int:
        reader = self._readers.setdefault(name, Reader(source, 0))
        count = 0
        while records := reader.read(READ_STEP):
            count += len(records)
            reader.release_applied(reader.position)
        return count

    def _interpreted(self) -> Path:
        source = self._folder / "source"
        if not source.exists():
            for package in ("app", "workers", "bench"):
                left_out = shutil.ignore_patterns("*.so", "__pycache__", "results")
                shutil.copytree(ROOT / package, source / package, ignore=left_out)
        return source

    async def _fill(self, links: int, in_redis: int, is_described: bool) -> None:
        """Links in both stores; MongoDB may have them from an earlier run in this folder."""
        database, client = open_mongodb(mongodb_url(self._settings)), open_redis(redis_url(self._settings))
        await client.config_set("maxmemory", REDIS_MEMORY)
        kept = self._folder / "links"
        if not kept.exists():
            await fill_mongodb(database, links, is_described=is_described)
            kept.write_text(f"{links}\n")
        await bring_up(database, "bench", _serve)  # indexes of ten million links take minutes
        await fill_redis(client, min(links, in_redis))
        await client.aclose()
        await database.client.close()


async def _serve() -> None:
    """Nobody waits for the schema while the stores are filled."""


def _wait_until_ready(port: int, hot_path: str) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30, trust_env=False) as client:
        _wait(lambda: client.get("/ready").status_code == 200, "the web process")
        _wait(lambda: client.get("/api/v1/links/b0").status_code == 200, "the API key")
        found = client.get("/health").json()["hot_path"]
        if found != hot_path:
            raise SystemExit(f"the hot path is {found}, not {hot_path}")


def _wait(fact: Callable[[], Any], what: str, limit_s: float = READY_S) -> None:
    deadline = time.monotonic() + limit_s
    while not fact():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} was not ready within {limit_s:g} s")
        time.sleep(0.05)
