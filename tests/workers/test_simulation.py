"""Every click is counted once, whatever dies between any two effects: seeded, over real journals and a real MongoDB.

`SIMULATIONS=20000 .venv/bin/python -m pytest tests/workers/test_simulation.py` runs more; a failure names its seed, and
`FIRST_SEED=n SIMULATIONS=1` repeats it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from app.analytics import ALL, CLICKS_SUM, INDEXES
from app.analytics.bucket import signed
from app.stores import prepare_schema
from tests.conftest import Stores
from tests.workers.simulation import Node

SIMULATIONS = int(os.environ.get("SIMULATIONS", "1500"))
FIRST_SEED = int(os.environ.get("FIRST_SEED", "1"))
AT_ONCE = 24  # nodes in one loop: MongoDB syncs for several transactions at a time
PARTS = 4  # so that several processes share the work


async def simulate(stores: Stores, folder: Path, seed: int) -> int:
    """One node's life; returns how many clicks it had."""
    node = Node(stores.database, folder / "journal", seed)
    rng = node.rng
    for _ in range(rng.randint(1, 4)):
        node.append(rng.randint(0, 30))
        event = rng.random()
        if event < 0.25:
            node.kill_writer(may_tear=True)
        elif event < 0.35:
            await node.run_beside()
        elif event < 0.5:
            await node.roll_up()
        elif event < 0.55:
            node.keep_a_source()
        elif event < 0.6:
            node.bring_back()
        await node.loop(may_fail=True)
    node.kill_writer(may_tear=True)
    await node.settle()
    node.bring_back()
    await node.settle()
    await node.close()
    assert await node.counted() == +node.expected, f"FIRST_SEED={seed}"
    assert node.sources() == [], f"FIRST_SEED={seed}"
    return node.expected.total()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
def test_clicks_are_counted_once_whatever_dies(part: int, tmp_path: Path, connect: Callable[[], Any]) -> None:
    async def scenario() -> None:
        async with connect() as stores:
            await run_all(stores)

    async def run_all(stores: Stores) -> None:
        await prepare_schema(stores.database, INDEXES)
        seeds = iter(range(FIRST_SEED + part, FIRST_SEED + SIMULATIONS, PARTS))
        clicks = 0

        async def work() -> None:
            nonlocal clicks
            for seed in seeds:
                own = await simulate(stores, tmp_path / str(seed), seed)
                clicks += own

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())
        summed = 0
        async for row in stores.database[CLICKS_SUM].find({"link": signed(ALL)}):
            summed += row.get("clicks", 0)
        assert summed == clicks

    uvloop.run(scenario())  # as the real one runs
