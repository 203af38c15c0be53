"""Real engines for the tests: one redis-server and one mongod for each test process, on unix sockets of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pymongo import MongoClient

from app.settings import Settings
from app.stores import (
    Database,
    RedisClient,
    mongodb_socket,
    mongodb_url,
    open_mongodb,
    open_redis,
    redis_socket,
    redis_url,
)
from app.stores.embedded import main as _  # noqa: F401  the program that the fixtures run
from app.stores.replica_set import ensure_replica_set

T = TypeVar("T")
LIMIT_S = 30.0
JOURNAL_MS = 2  # of MongoDB's journal, for which the drop of a test's database waits: 100 would be half of a test
#: What takes longest, in this order: begun first, so that no worker is left with it when the others have ended.
LONGEST = (
    "tests/workers/test_simulation.py",
    "tests/system/test_processes.py",
    "tests/install/",
    "tests/system/test_backup.py",
    "tests/system/test_reload.py",
    "tests/system/test_real_input.py",
    "tests/system/test_soak.py",
    "tests/system/",
    "tests/dashboard/",
    "tests/workers/",
    "tests/jobs/",
    "tests/stores/test_failover.py",
    "tests/observe/test_monitoring.py",
    "tests/bench/",
    "tests/api/",
    "tests/analytics/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first; tests of a file stay together."""
    items.sort(
        key=lambda item: next((n for n, path in enumerate(LONGEST) if item.nodeid.startswith(path)), len(LONGEST))
    )


def wait_for(fact: Callable[[], T], *, limit_s: float = LIMIT_S, step_s: float = 0.01) -> T:
    """Waits until `fact()` is true, and returns it; fails after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while not (value := fact()):
        assert time.monotonic() < deadline, f"not within {limit_s} s: {fact}"
        time.sleep(step_s)
    return value


async def wait_until(fact: Callable[[], T], *, limit_s: float = LIMIT_S) -> T:
    """As `wait_for`, on a loop."""
    deadline = time.monotonic() + limit_s
    while not (value := fact()):
        assert time.monotonic() < deadline, f"not within {limit_s} s: {fact}"
        await asyncio.sleep(0.005)
    return value


@dataclass
class Stores:
    """Clients of the real engines, with a database of one's own."""

    database: Database
    redis: RedisClient


class Engines:
    """The engines of one test process, started as supervisord would; `run` and `stop` are for tests of outages."""

    def __init__(self, state: Path) -> None:
        self.environ = {**os.environ, "BOLTLINK_STATE_DIR": str(state)}
        self.settings = Settings.from_environ({"BOLTLINK_STATE_DIR": str(state)})
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._state = state

    def run(self, name: str) -> None:
        command = [sys.executable, "-m", "app.stores.embedded", name]
        self._state.mkdir(exist_ok=True)
        with (self._state / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(command, env=self.environ, stdout=log, stderr=log)
        if name == "redis":
            wait_for(lambda: accepts(redis_socket(self.settings)))
        else:
            ensure_replica_set(mongodb_socket(self.settings))
            client: MongoClient[dict[str, Any]] = MongoClient(mongodb_url(self.settings))
            with client:
                client.admin.command("setParameter", 1, journalCommitInterval=JOURNAL_MS)

    def stop(self, name: str) -> None:
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """SIGSTOP until the block ends; a thread on another CPU may answer until it has heard of it."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGSTOP)
        try:
            wait_for(lambda: all(is_stopped(task) for task in Path(f"/proc/{pid}/task").iterdir()))
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def stop_all(self) -> None:
        for name in list(self._processes):
            self.stop(name)


def is_stopped(task: Path) -> bool:
    """Whether a thread of /proc stands still, or is gone."""
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0] in "TtZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def accepts(path: Path) -> bool:
    """Whether somebody listens; a killed engine's socket is still there."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@pytest.fixture(scope="session")
def engines() -> Iterator[Engines]:
    folder = Path(tempfile.mkdtemp(prefix="bl-"))
    engines = Engines(folder / "s")
    try:
        engines.run("redis")
        engines.run("mongod")
        yield engines
    finally:
        engines.stop_all()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def connect(engines: Engines) -> Callable[[], object]:
    """An async context manager of `Stores` with an empty database and an empty Redis, for use within one loop."""
    name = f"t{uuid.uuid4().hex[:12]}"

    @asynccontextmanager
    async def manager() -> AsyncIterator[Stores]:
        database = open_mongodb(mongodb_url(engines.settings).replace("/?", f"/{name}?"))
        client = open_redis(redis_url(engines.settings))
        try:
            await client.flushall()
            yield Stores(database, client)
        finally:
            await database.client.drop_database(name)
            await database.client.close()
            await client.aclose()

    return manager


@pytest.fixture
def with_stores(connect: Callable[[], object]) -> Callable[[Callable[[Stores], Awaitable[None]]], None]:
    """Runs a coroutine function with `Stores`: `with_stores(scenario)`."""

    def run(scenario: Callable[[Stores], Awaitable[None]]) -> None:
        async def whole() -> None:
            async with connect() as stores:  # type: ignore[attr-defined]
                await scenario(stores)

        asyncio.run(whole())

    return run
