"""How long a killed web process is away: from kill -9 until it redirects again.

`python -m bench.restart [--kills N]`

The whole tree as shipped, two web processes, nothing else to do. One is killed again and again and asked over its own
socket; the other one serves meanwhile, and nobody asks it. May import: machine, tree.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import time

from bench.machine import keep_json, machine_line
from bench.tree import GIVE_UP_S, WEB, Tree, running_tree

STEADY_S = 1.5  # what dies sooner is not started at once (app/supervision.py)
PAUSE_S = 0.002


def main() -> None:
    """Kills, and prints what it found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    kills = parser.parse_args().kills
    with running_tree() as tree:
        away_ms = [1000 * measure(tree, tree.shorten()) for _ in range(kills)]
    found = {"kills": kills, "median_ms": statistics.median(away_ms), "max_ms": max(away_ms), "min_ms": min(away_ms)}
    keep_json("restart", found)
    print(f"{kills} kills: median {found['median_ms']:.0f} ms, {min(away_ms):.0f} to {max(away_ms):.0f}")
    print(machine_line())


def measure(tree: Tree, slug: str) -> float:
    """Kills a web process that has lived for a while; seconds until it redirects."""
    time.sleep(STEADY_S)
    pid = tree.pid(WEB[0])
    began_s = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    while time.monotonic() < began_s + GIVE_UP_S:
        try:
            with tree.connect(WEB[0]) as ask:
                if ask(slug).startswith(b"302"):
                    return time.monotonic() - began_s
        except OSError:
            time.sleep(PAUSE_S)
    raise SystemExit("it did not come back")


if __name__ == "__main__":
    main()
