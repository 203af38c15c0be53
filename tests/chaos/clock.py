"""A clock of one tree's own that steps: a preloaded library (`clock.c`) tells its programs another time of day.

In: a tree that does not run yet. Out: a fault. Monotonic clocks go on, and engines keep the true time, as they do on
machines of their own; every program of ours steps, supervisord too.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from tests.chaos.cluster import Cluster, Fact
from tests.chaos.faults import Fault
from tests.system.conftest import Tree

SOURCE = Path(__file__).with_name("clock.c")
HOUR_S, DAY_S = 3_600, 86_400
STEPS_S = (-DAY_S, -2 * HOUR_S, -HOUR_S, -61, -5, -1, 2, 30)
HOLD_S = (1.0, 4.0)


def may_step() -> bool:
    """Whether the library can be built here."""
    return shutil.which("cc") is not None


class Clock:
    """What the programs of a tree take for the time of day."""

    def __init__(self, tree: Tree) -> None:
        folder = tree.state.parent
        library = folder / "clock.so"
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
        self._file = folder / "clock"
        self._set(0)
        tree.environ |= {"LD_PRELOAD": str(library), "STEPPING_CLOCK": str(self._file)}
        self._check(tree)

    @property
    def fault(self) -> Fault:
        """A step to another time, and one back."""
        return Fault("clock steps", self._step, HOLD_S)

    @contextmanager
    def _step(self, cluster: Cluster, random: Random) -> Iterator[Fact]:
        self._set(random.choice(STEPS_S))
        try:
            yield cluster.aggregates()
        finally:
            self._set(0)

    def _check(self, tree: Tree) -> None:
        """A clock that nobody reads would make nothing happen, and no click amiss."""
        told_s = [self._ask(tree, seconds) for seconds in (DAY_S, 0)]
        assert DAY_S - HOUR_S < told_s[0] - told_s[1] < DAY_S + HOUR_S, told_s

    def _ask(self, tree: Tree, seconds: int) -> float:
        self._set(seconds)
        command = [tree.python, "-c", "import time; print(time.time())"]
        return float(subprocess.run(command, env=tree.environ, capture_output=True, check=True).stdout)

    def _set(self, seconds: int) -> None:
        with self._file.open("r+b" if self._file.exists() else "wb") as file:  # mapped: never another file
            file.write(seconds.to_bytes(8, "little", signed=True))
