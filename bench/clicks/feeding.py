"""Fills a journal as a web process does, without the web: `python -m bench.clicks.feeding JOURNAL --traffic NAME …`.

In: a journal's folder, a traffic's name, a rate and how long, or how many bytes. Out: one line of JSON when it is done.
Records get the time at which they are appended. May import: the journal, traffic.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from app.journal import FIXED_BYTES, Journal, create_source
from bench.clicks.traffic import TRAFFIC
from bench.machine import ROOT

__all__ = ["feed"]

STEP_S = 0.01


def feed(journal: Path, traffic: str, **limits: float) -> dict[str, float]:
    """Feeds until it is done, in a process of its own; `limits` are options of this program. What it said."""
    options = [f"--{name.replace('_', '-')}={value}" for name, value in limits.items()]
    command = [sys.executable, "-m", "bench.clicks.feeding", str(journal), f"--traffic={traffic}", *options]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Appends, at the rate or as fast as it goes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("journal", type=Path)
    parser.add_argument("--traffic", choices=TRAFFIC, required=True)
    parser.add_argument("--rate", type=float, default=0.0, help="records a second; 0: as fast as it goes")
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--size-bytes", type=float, default=1e18)
    options = parser.parse_args()
    source, lock = create_source(options.journal, "feed", os.urandom(8))
    journal = Journal(source, lock)
    ends = threading.Event()

    def keep() -> None:
        while not ends.is_set():
            journal.upkeep(1.0)

    upkeep = threading.Thread(target=keep)
    upkeep.start()
    began_s = time.monotonic()
    size_bytes = 0
    made = TRAFFIC[options.traffic]()
    while time.monotonic() - began_s < options.seconds and size_bytes < options.size_bytes:
        due = int(options.rate * (time.monotonic() - began_s)) - journal.appended if options.rate else 500
        now_ms = time.time_ns() // 1_000_000
        for _, (head, link, flags, peer) in zip(range(due), made, strict=False):
            while not journal.append(head, now_ms, link, 0, flags, peer):
                time.sleep(0.001)  # the next segment is being made
            size_bytes += len(head) + FIXED_BYTES
        if options.rate:
            time.sleep(STEP_S)
    took_s = time.monotonic() - began_s
    ends.set()
    upkeep.join()
    appended = journal.appended
    journal.close()
    print(json.dumps({"records": appended, "bytes": size_bytes, "seconds": took_s, "rate": appended / took_s}))


if __name__ == "__main__":
    main()
