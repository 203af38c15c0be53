"""A long run: `python -m tests.chaos --minutes 30 [--seed 7]`, as `make chaos` starts it.

Most of the time belongs to the embedded tree, some to sets of MongoDB and Redis and to a clock that steps; then the
disk is filled. With `--topology sentinel` or `cluster` all of it belongs to such sets.
Out: tables, as they stand in docs/reliability.md, and exit status 1 if anything in them may not be.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from random import SystemRandom

from tests.chaos.clock import may_step
from tests.chaos.report import show
from tests.chaos.scenes import TOPOLOGIES, play_embedded, play_full_disk, play_sets, play_stepping_clock
from tests.chaos.stage import Outcome
from tests.mounts import may_mount

EMBEDDED_SHARE = 0.7
SETS_SHARE = 0.2
CLOCK_SHARE = 0.1


def main() -> int:
    """Plays, shows, judges."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--topology", choices=("embedded", *TOPOLOGIES), default="embedded")
    wanted = parser.parse_args()
    seed = SystemRandom().getrandbits(32) if wanted.seed is None else wanted.seed
    print(f"seed {seed}", flush=True)
    outcomes = []
    seconds = wanted.minutes * 60
    one = wanted.topology != "embedded"
    for outcome in [play_sets(seed, seconds, wanted.topology)] if one else play_all(seed, seconds):
        outcomes.append(outcome)
        print(f"\n{show([outcome])}", flush=True)
    print(f"\nall scenes\n\n{show(outcomes, with_faults=False)}")
    complaints = [complaint for outcome in outcomes for complaint in outcome.complaints]
    print(*complaints, sep="\n", file=sys.stderr)
    return 1 if complaints else 0


def play_all(seed: int, seconds: float) -> Iterator[Outcome]:
    """One scene after another; what this machine cannot do is said and left out."""
    yield play_embedded(seed, seconds * EMBEDDED_SHARE)
    yield play_sets(seed, seconds * SETS_SHARE)
    if may_step():
        yield play_stepping_clock(seed, seconds * CLOCK_SHARE)
    else:
        print("no C compiler: no clock stepped", file=sys.stderr)
    if may_mount(as_root=True):
        yield play_full_disk(seed)
    else:
        print("may not mount: no disk filled", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
