"""The aggregator as a process: paused and replaced, killed, with a MongoDB that is away, steps down or hangs.

Clicks are journaled all the time, as by a web process; in the end each is in the statistics once.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from pymongo.errors import PyMongoError

from app.analytics import CLICKS_NODE, INDEXES
from app.journal import REDIRECT_GET, Journal, create_source
from app.process import HANG_S
from app.stores import Shape, make_schema, mongodb_url
from tests.conftest import Engines, Stores, wait_for
from tests.workers.node import HEAD

LINKS = 50
ROOT = Path(__file__).resolve().parents[2]
APPLIED_S = 60.0
CALL_S = 10.0  # how long a call of MongoDB may take


class Program:
    """One aggregator process of a state folder, started again as supervisord would."""

    def __init__(self, state: Path, url: str) -> None:
        state.mkdir(exist_ok=True)
        (state / "node-id").write_text("0123abcd")
        clean = {name: value for name, value in os.environ.items() if not name.startswith("BOLTLINK_")}
        self._environ = {**clean, "BOLTLINK_STATE_DIR": str(state), "BOLTLINK_MONGODB_URL": url}
        self._log = state / "log"
        self._stopped_s = 0.0
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "workers.aggregator"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, env=self._environ, stdout=log, stderr=log, cwd=ROOT)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def stop(self) -> None:
        """SIGSTOP."""
        self._stopped_s = time.monotonic()
        self.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT; one that stood still for HANG_S ends itself, and is started again as by supervisord."""
        self.signal(signal.SIGCONT)
        if time.monotonic() - self._stopped_s > HANG_S / 2:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
                runs = self._log.read_text().count('"started"')
                self.start()
                wait_for(lambda: self._log.read_text().count('"started"') > runs)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """SIGTERM, in order."""
        self._process.terminate()
        assert self._process.wait(30) == 0, self._log.read_text()[-2_000:]


class Writer:
    """A web process's journal, to which a thread appends all the time."""

    def __init__(self, journal: Path) -> None:
        source, lock = create_source(journal, "web_0", os.urandom(8))
        self._journal = Journal(source, lock)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        rng = random.Random(5)
        while not self._ends.wait(0.01):
            self._journal.prepare()
            for _ in range(20):
                link = rng.randint(1, LINKS).to_bytes(8, "big")
                assert self._journal.append(HEAD, time.time_ns() // 1_000_000, link, 0, REDIRECT_GET, bytes(16))

    def end(self) -> int:
        """How many clicks were journaled."""
        self._ends.set()
        self._thread.join()
        appended: int = self._journal.appended
        self._journal.close()
        return appended


@contextmanager
def ended(*programs: Program) -> Iterator[None]:
    try:
        yield
    finally:
        for program in programs:
            program.signal(signal.SIGCONT)
            program.kill()


async def counted(stores: Stores) -> int:
    pipeline = [{"$group": {"_id": None, "clicks": {"$sum": "$clicks"}}}]
    rows = await (await stores.database[CLICKS_NODE].aggregate(pipeline)).to_list()
    return int(rows[0]["clicks"]) if rows else 0


async def more_is_counted(stores: Stores) -> None:
    """Returns when statistics have gone on."""
    before, deadline = None, time.monotonic() + APPLIED_S
    while True:
        with suppress(PyMongoError):  # which is away, in some tests
            found = await counted(stores)
            before = found if before is None else before
            if found > before:
                return
        assert time.monotonic() < deadline, "nothing more is counted"
        await asyncio.sleep(0.02)


async def all_is_counted(stores: Stores, appended: int) -> None:
    deadline = time.monotonic() + APPLIED_S
    while (found := await counted(stores)) < appended:
        assert time.monotonic() < deadline, f"{found} of {appended} clicks are counted"
        await asyncio.sleep(0.05)
    assert found == appended


Deeds = Callable[[Stores, Path, str], Awaitable[int]]


@pytest.fixture
def run(tmp_path: Path, engines: Engines, with_stores: Callable[..., None]) -> Callable[[Deeds], None]:
    """Runs deeds, which return how many clicks there were; each must be counted once when all have ended."""

    def whole(deeds: Deeds) -> None:
        async def scenario(stores: Stores) -> None:
            await make_schema(stores.database, Shape(INDEXES))
            url = mongodb_url(engines.settings).replace("/?", f"/{stores.database.name}?")
            appended = await deeds(stores, tmp_path, url)
            assert await counted(stores) == appended

        with_stores(scenario)

    return whole


def test_a_stopped_aggregator_that_was_replaced_counts_nothing_twice_when_it_goes_on(run: Callable[..., None]) -> None:
    async def deeds(stores: Stores, folder: Path, url: str) -> int:
        rng = random.Random(3)
        one = Program(folder / "one", url)
        (folder / "other").mkdir()
        (folder / "one" / "journal").mkdir(exist_ok=True)
        (folder / "other" / "journal").symlink_to(folder / "one" / "journal")  # the lock of its own folder is free
        writer = Writer(folder / "one" / "journal")
        await more_is_counted(stores)
        other = Program(folder / "other", url)
        with ended(one, other):
            for _ in range(4):
                for paused in (one, other):
                    await asyncio.sleep(rng.random() / 2)
                    paused.stop()  # within a transaction or not
                    await more_is_counted(stores)
                    paused.go_on()
            appended = writer.end()
            await all_is_counted(stores, appended)
            one.end()
            other.end()
        return appended

    run(deeds)


def test_a_killed_aggregator_loses_and_doubles_nothing(run: Callable[..., None]) -> None:
    async def deeds(stores: Stores, folder: Path, url: str) -> int:
        rng = random.Random(4)
        program = Program(folder / "one", url)
        writer = Writer(folder / "one" / "journal")
        with ended(program):
            for _ in range(8):
                await more_is_counted(stores)
                await asyncio.sleep(rng.random() * 0.7)
                program.kill()
                program.start()
            appended = writer.end()
            await all_is_counted(stores, appended)
            program.end()
        return appended

    run(deeds)


@pytest.mark.parametrize("fault", ["killed", "steps down", "hangs"])
def test_clicks_wait_while_mongodb_does_not_take_them_and_are_counted_once_after(
    fault: str, run: Callable[..., None], engines: Engines
) -> None:
    async def deeds(stores: Stores, folder: Path, url: str) -> int:
        program = Program(folder / "one", url)
        writer = Writer(folder / "one" / "journal")
        with ended(program):
            await more_is_counted(stores)
            if fault == "killed":
                engines.stop("mongod")
                await asyncio.sleep(2.5)
                await asyncio.to_thread(engines.run, "mongod")
            elif fault == "steps down":
                await stores.database.client.admin.command({"replSetStepDown": 3, "force": True})
            else:
                with engines.frozen("mongod"):
                    await asyncio.sleep(CALL_S + 1)
            await more_is_counted(stores)
            appended = writer.end()
            await all_is_counted(stores, appended)
            program.end()
        return appended

    run(deeds)
