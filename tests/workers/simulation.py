"""Lives of nodes, thousands of them, each drawn by a seed: every click is counted once, whatever dies in between.

    python -m tests.workers.simulation --seeds 20000                       more than the tests run
    python -m tests.workers.simulation --first 4711 --seeds 1 --times 50   what failed, again

A seed draws all that happens (`tests.workers.node`). What it cannot draw is how a batch that is being committed and the
next one, which is gathered meanwhile, take turns with MongoDB: so `--times`.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import structlog
import uvloop

from app.analytics import ALL, CLICKS_SUM, INDEXES
from app.analytics.bucket import signed
from app.stores import Database, Shape, make_schema, mongodb_url, open_mongodb
from tests.conftest import Engines
from tests.workers.node import Node

__all__ = ["run_seeds"]

AT_ONCE = 24  # nodes in one loop: MongoDB syncs for several transactions at a time


async def live(database: Database, folder: Path, seed: int) -> int:
    """One node's life; returns how many clicks it had."""
    node = Node(database, folder / "journal", seed)
    rng = node.rng
    for _ in range(rng.randint(1, 4)):
        program = rng.choice(("web_0", "web_0", "web_1"))
        node.append(rng.randint(0, 30), program)
        event = rng.random()
        if event < 0.2:
            node.kill_writer(program, may_tear=True)
        elif event < 0.3:
            await node.run_beside()
        elif event < 0.5:
            node.switch()
            if rng.random() < 0.5:
                await node.roll_up()
        elif event < 0.6:
            await node.roll_up()
        elif event < 0.65:
            node.keep_a_source()
        elif event < 0.7:
            node.bring_back()
        elif event < 0.75:
            await node.clone()
        await node.loop(may_fail=True)
    node.kill_writers(may_tear=True)
    await node.settle()
    if node.bring_back():
        await node.settle()
    await node.close()
    counted = await node.counted()
    assert counted == +node.expected, f"lost {node.expected - counted}, counted twice {counted - node.expected}"
    assert node.sources() == [], "a source is left"
    applied = node.aggregator.counts.applied
    assert not node.is_told or applied == node.records, f"{applied} of {node.records} records are said to be applied"
    shutil.rmtree(folder)
    return node.expected.total()


async def run_seeds(database: Database, folder: Path, seeds: Iterable[int]) -> int:
    """Lives of all seeds, AT_ONCE at a time, in an empty database; returns how many clicks they had."""
    await make_schema(database, Shape(INDEXES))
    left = iter(seeds)
    clicks = 0

    async def work() -> None:
        nonlocal clicks
        for seed in left:
            try:
                own = await live(database, folder / str(seed), seed)
            except Exception as error:
                again = f"python -m tests.workers.simulation --first {seed} --seeds 1 --times 50"
                raise AssertionError(f"seed {seed} fails; again: {again}") from error
            clicks += own

    with _silence():
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())
    summed = 0
    async for row in database[CLICKS_SUM].find({"link": signed(ALL)}):
        summed += row.get("clicks", 0)
    assert summed == clicks, f"all links together: {summed} of {clicks} clicks are counted"
    return clicks


@contextmanager
def _silence() -> Iterator[None]:
    """Lost races and damage are what a life is made of; to write each down takes a fifth of the time."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    try:
        yield
    finally:
        structlog.configure(**before)


async def _run(engines: Engines, folder: Path, options: argparse.Namespace) -> None:
    for turn in range(options.times):
        name = f"turn{turn}"
        database = open_mongodb(mongodb_url(engines.settings).replace("/?", f"/{name}?"))
        try:
            await run_seeds(database, folder / name, range(options.first, options.first + options.seeds))
            await database.client.drop_database(name)
        finally:
            await database.client.close()


def main(words: Sequence[str] | None = None) -> int:
    """Runs them on a MongoDB of its own; exit status 1 when one fails."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.workers.simulation", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--seeds", type=int, default=10_000, help="how many (default 10,000)")
    parser.add_argument("--first", type=int, default=1, help="the first one (default 1)")
    parser.add_argument("--times", type=int, default=1, help="how often all of them (default once)")
    options = parser.parse_args(words)
    folder = Path(tempfile.mkdtemp(prefix="bl-"))
    engines = Engines(folder / "s")
    began_s = time.monotonic()
    try:
        engines.run("mongod")
        uvloop.run(_run(engines, folder, options))
    except ExceptionGroup as group:
        for error in group.exceptions:
            sys.stderr.write(f"{error}: {error.__cause__!r}\n")
        return 1
    finally:
        engines.stop_all()
        shutil.rmtree(folder, ignore_errors=True)
    took_s = time.monotonic() - began_s
    sys.stdout.write(f"{options.seeds * options.times} lives, every click counted once, in {took_s:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
