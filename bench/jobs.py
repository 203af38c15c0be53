"""How many background jobs one program does: `python -m bench.jobs`.

On embedded engines of its own: jobs of 50 owners that each wait 50 ms, as a receiver that is not far would have them
wait. Enqueued before; the time is from the first claim to the last record. CPU is that of the program of jobs alone.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import resource
import secrets
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from app.cli.engines import engines_up
from app.jobs import INDEXES, Bell, JobQueue, JobState, Kind, NewJob, Runner, Task
from app.settings import Settings
from app.stores import Database, Shape, make_schema, mongodb_url, open_mongodb, open_redis, redis_url
from app.tree import Tree

WAIT_S = 0.05  # as a receiver that is not far
OWNERS = 50


class Nothing(msgspec.Struct):
    """The payload of a job that does nothing."""


async def wait(payload: Nothing, task: Task) -> Mapping[str, Any]:
    """What a job does that does nothing."""
    await asyncio.sleep(WAIT_S)
    return {"status": 204}


async def measure(database: Database, client: Any, count: int) -> tuple[float, float, float]:
    """(seconds to enqueue, seconds to do, CPU seconds of doing) of `count` jobs."""
    await make_schema(database, Shape(INDEXES))
    queue = JobQueue(database, kept_s=3600)
    jobs = [
        NewJob(f"{n:08}", "nothing", f"o{n % OWNERS}/w{n % (2 * OWNERS)}", Nothing(), order=n) for n in range(count)
    ]
    began_s = time.perf_counter()
    await queue.enqueue(jobs)
    enqueued_s = time.perf_counter() - began_s
    kind = Kind(name="nothing", payload=Nothing, work=wait)
    runner = Runner(queue, [kind], Bell(client), run=secrets.token_hex(8), chance=random.random)
    stop, before = asyncio.Event(), _cpu_s()
    began_s = time.perf_counter()
    working = asyncio.create_task(runner.work(stop))
    while runner.results["nothing", "done"] < count:  # noqa: ASYNC110  plain counts tell nobody
        await asyncio.sleep(0.01)
    done_s = time.perf_counter() - began_s
    cpu_s = _cpu_s() - before
    stop.set()
    await working
    assert await queue.count(JobState.DONE, ["nothing"]) == count
    return enqueued_s, done_s, cpu_s


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def run(settings: Settings, count: int) -> None:
    """One measurement, shown."""
    database = open_mongodb(mongodb_url(settings))
    client = open_redis(redis_url(settings))
    enqueued_s, done_s, cpu_s = await measure(database, client, count)
    print(f"enqueued {count / enqueued_s:8.0f}/s")
    print(
        f"done     {count / done_s:8.0f}/s   {cpu_s / count * 1e6:.0f} µs of CPU each, {cpu_s / done_s:.0%} of a core"
    )
    await client.aclose()
    await database.client.close()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=5_000)
    count = parser.parse_args().jobs
    folder = Path(tempfile.mkdtemp(prefix="bl-"))
    environ = {"BOLTLINK_STATE_DIR": str(folder / "s")}
    os.environ.update(environ)
    settings = Settings.from_environ(environ)
    try:
        with engines_up(Tree(settings), ["redis", "mongod"]):
            asyncio.run(run(settings, count))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
