"""Every click is counted once, whatever dies between any two effects: seeded, over real journals and a real MongoDB.

`python -m tests.workers.simulation --seeds 20000` runs more; a failure says how to run its seed again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.workers.simulation import run_seeds

SEEDS = 2_000
PARTS = 4  # so that several processes share the work


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
def test_clicks_are_counted_once_whatever_dies(part: int, tmp_path: Path, connect: Callable[[], Any]) -> None:
    async def scenario() -> None:
        async with connect() as stores:
            await run_seeds(stores.database, tmp_path, range(1 + part, 1 + SEEDS, PARTS))

    uvloop.run(scenario())  # as the real one runs
