"""What looks at the pages of links cost: `python -m bench.checks`.

On embedded engines of its own: a round over links of 50 hosts, by a clock that goes as fast as it can, at the pace of
ten million links in a week; then their jobs, done by one program against pages on this machine, which are another
process. CPU is that of the program, and that of mongod beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import multiprocessing
import os
import random
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from app.accounts import INDEXES as ACCOUNT_INDEXES
from app.accounts import AuditLog
from app.checks import Checker, Rounds
from app.cli.engines import engines_up
from app.jobs import INDEXES as JOB_INDEXES
from app.jobs import Bell, JobQueue, JobState, Runner
from app.links import INDEXES, LINKS, Catalog, Link, LinkCache, LinkStore, LinkWalk
from app.links.rows import to_row
from app.outbound import Guard, PageReader
from app.settings import Settings
from app.stores import Database, Lease, Shape, make_schema, mongodb_url, open_mongodb, open_redis, redis_url
from app.tree import Tree

HOSTS = 50
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
LINK_S = 7 * 86_400 / 10_000_000  # of each link, where there are ten million in a week
STEP_S = 5.0  # between two steps, as `workers/jobs.py` has it
ROWS = 1_000


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(ANSWER)
    await writer.drain()
    writer.close()


def _serve(told: Connection) -> None:
    async def main() -> None:
        first = await asyncio.start_server(_answer, "127.0.0.1", 0)
        port = first.sockets[0].getsockname()[1]
        await asyncio.start_server(_answer, [f"127.0.1.{n}" for n in range(1, HOSTS + 1)], port)
        told.send(port)
        await asyncio.Event().wait()

    asyncio.run(main())


@contextmanager
def pages_up() -> Iterator[int]:
    """Pages at HOSTS addresses of this machine; their port."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


class Used:
    """CPU seconds of this program and of mongod, and seconds, since it was made."""

    def __init__(self) -> None:
        children = psutil.Process().children(recursive=True)
        self._programs = [psutil.Process(), next(one for one in children if "mongod" in one.name())]
        self._begun = self._now()

    def _now(self) -> list[float]:
        times = [one.cpu_times() for one in self._programs]
        return [time.perf_counter(), *(one.user + one.system for one in times)]

    def show(self, name: str, count: int) -> None:
        """One line."""
        seconds, own, mongod = (now - then for now, then in zip(self._now(), self._begun, strict=True))
        each = f"{own / count * 1e6:5.0f} µs of CPU each, mongod {mongod / count * 1e6:5.0f} µs"
        print(f"{name:8} {count / seconds:7.0f}/s   {each}")


async def fill(database: Database, count: int, port: int) -> None:
    """Links to pages of all hosts."""
    shape = Shape({LINKS: INDEXES, **ACCOUNT_INDEXES, **JOB_INDEXES})
    await make_schema(database, shape)
    for start in range(0, count, ROWS):
        rows = [to_row(link_of(n, port)) for n in range(start + 1, min(start + ROWS, count) + 1)]
        await database[LINKS].insert_many(rows, ordered=False)


def link_of(n: int, port: int) -> Link:
    """One of them."""
    target = f"http://127.0.1.{n % HOSTS + 1}:{port}/{n}"
    return Link(domain="", slug=f"{n * 2_654_435_761 % 2**32:08x}", link=n, target=target, version=n, created=n)


async def walk(database: Database, queue: JobQueue, count: int) -> int:
    """A whole round; how many steps it took."""
    now_s, steps = time.time(), 0

    async def nothing() -> None:
        """Nobody waits."""

    lease = Lease(database, "checks", holder="bench", monotonic=time.monotonic)
    assert await lease.acquire()
    rounds = Rounds(
        LinkWalk(database),
        lease,
        queue,
        every_s=max(1, int(count * LINK_S)),
        on_jobs=nothing,
        now_s=lambda: now_s,
        waiting_max=2**31,
    )
    await rounds.open()
    while not lease.kept.get("is_over"):
        await rounds.loop()
        now_s += STEP_S
        steps += 1
    return steps


@asynccontextmanager
async def checking(database: Database, client: Any, queue: JobQueue) -> AsyncIterator[Runner]:
    """A program that does them, as `workers/jobs.py` has it."""
    audit = AuditLog(database, now_s=time.time, token_bytes=secrets.token_bytes)
    catalog = Catalog(
        store=LinkStore(database, write_notes=audit.write),
        cache=LinkCache(client),
        now_ms=lambda: int(time.time() * 1000),
        randbits=secrets.randbits,
        randbelow=secrets.randbelow,
        ours=(),
        on_unannounced=lambda error: None,
    )
    pages = PageReader(Guard([ipaddress.ip_network("127.0.0.0/8")]), answer_s=10.0, bytes_max=0)
    kind = Checker(catalog, audit, pages, is_on=True).kind()
    runner = Runner(queue, [kind], Bell(client), run=secrets.token_hex(8), chance=random.random)
    stop = asyncio.Event()
    working = asyncio.create_task(runner.work(stop))
    try:
        yield runner
    finally:
        stop.set()
        await working


async def run(settings: Settings, count: int, looks: int, port: int) -> None:
    """One measurement, shown."""
    database, client = open_mongodb(mongodb_url(settings)), open_redis(redis_url(settings))
    await fill(database, count, port)
    queue = JobQueue(database, kept_s=3_600)
    used = Used()
    steps = await walk(database, queue, count)
    used.show("round", count)
    print(f"         {count / steps:7.0f} links a step")
    used = Used()
    async with checking(database, client, queue) as runner:
        while runner.results["check", "done"] < looks:  # noqa: ASYNC110  plain counts tell nobody
            await asyncio.sleep(0.05)
        used.show("looks", runner.results["check", "done"])
    assert await queue.count(JobState.DEAD, ["check"]) == 0
    await client.aclose()
    await database.client.close()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--links", type=int, default=100_000)
    parser.add_argument("--looks", type=int, default=5_000, help="how many of the jobs are done")
    wanted = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bl-"))
    environ = {"BOLTLINK_STATE_DIR": str(folder / "s")}
    os.environ.update(environ)
    settings = Settings.from_environ(environ)
    try:
        with engines_up(Tree(settings), ["redis", "mongod"]), pages_up() as port:
            asyncio.run(run(settings, wanted.links, min(wanted.looks, wanted.links), port))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
