"""How long the API holds up a web process's loop, on which redirects are answered: the most that any of them waits for.

`python -m bench.stalls [--calls N] [--json]`

The product as shipped, but its web process also looks every STEP_S how much CPU time its loop took since the last look:
a loop that is free looks each ms. Each case is asked by one connection, a call after the other. What a case's row says
is the most in any of its calls, which no other program adds to, and the median time of its calls. Exit status 1 when a
case holds the loop for longer than HELD_MAX_MS.
May import: the web process, api, machine, product.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from app.main import main as serve
from app.process import run_program
from app.settings import Settings
from bench.api import BATCH, Case, ask_often, request
from bench.machine import LOAD_CPU, machine_line
from bench.product import Product, compile_hot_path
from bench.servers import make_folder

__all__ = ["CASES", "main", "measure"]

STEP_S = 0.001
HELD_MAX_MS = 10.0
LINKS = 10_000
HELD = "BENCH_HELD"  # where a watched process notes what it saw


def _batch(**fields: Any) -> Callable[[int], bytes]:
    def make(number: int) -> bytes:
        rows = [{"target": f"https://example.com/{number}/{row}", **fields} for row in range(BATCH)]
        return request("POST", "/api/v1/links/batch", {"links": rows})

    return make


def _changes(number: int) -> bytes:
    rows = [{"slug": f"b{row}", "title": f"Title {number}"} for row in range(BATCH)]
    return request("PATCH", "/api/v1/links/batch", {"links": rows})


def _wrong(number: int) -> bytes:
    return request("POST", "/api/v1/links/batch", {"links": [{"target": "x", "code": "y"}] * BATCH})


CASES = (
    Case("batch", "1,000 links made", _batch(title="Page", tags=["a", "b"]), items=BATCH),
    Case("long", "1,000 links made, 7.8 MB", _batch(notes="word " * 1_550), items=BATCH),
    Case("changes", "1,000 links changed", _changes),
    Case("wrong", "1,000 rows refused", _wrong),
)


def main(words: Sequence[str] | None = None) -> int:
    """Measures and prints; exit status 1 when the loop was held for too long."""
    parser = argparse.ArgumentParser(prog="python -m bench.stalls", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--calls", type=int, default=20, help="of each case (default 20)")
    parser.add_argument("--json", action="store_true", help="for machines")
    options = parser.parse_args(words)
    compile_hot_path()
    rows = measure(options.calls)
    if options.json:
        print(json.dumps(rows))
    else:
        print(
            f"{machine_line()}, {options.calls} calls a case\n\n| asked | median call | longest hold |\n|---|--:|--:|"
        )
        for case in CASES:
            row = rows[case.name]
            print(f"| {case.title} | {row['p50_ms']:.1f} ms | {row['held_ms']:.1f} ms |")
    return 0 if all(row["held_ms"] <= HELD_MAX_MS for row in rows.values()) else 1


def measure(calls: int, *, compiled: bool = True) -> dict[str, dict[str, float]]:
    """What each case took and held, in ms."""
    with ExitStack() as stack:
        folder = make_folder(stack)
        held = folder / "held"
        product = Product(stack, folder, LINKS, 1, is_described=True, BOLTLINK_API_RATE="off", **{HELD: str(held)})
        port, _ = product.start_web(compiled=compiled, module="bench.stalls")
        os.sched_setaffinity(0, {LOAD_CPU})
        return {case.name: _measure(case, port, held, calls) for case in CASES}


def _measure(case: Case, port: int, held: Path, calls: int) -> dict[str, float]:
    asyncio.run(ask_often(case, port, 1))
    began_s = time.monotonic()
    times_ms = asyncio.run(ask_often(case, port, calls))
    seen = [tuple(map(float, line.split())) for line in held.read_text().splitlines()]
    worst = max((held_s for at_s, held_s in seen if at_s >= began_s), default=0.0)
    return {"p50_ms": statistics.median(times_ms), "held_ms": 1e3 * worst}


async def watched(settings: Settings, name: str, stop: asyncio.Event) -> None:
    """A web process that notes each time when its loop was held for longer than two steps."""
    watch = asyncio.create_task(_watch(Path(os.environ[HELD])))
    try:
        await serve(settings, name, stop)
    finally:
        watch.cancel()


async def _watch(path: Path) -> None:
    with path.open("w", buffering=1) as file:
        while True:
            before_s = time.thread_time()
            await asyncio.sleep(STEP_S)
            held_s = time.thread_time() - before_s
            if held_s > 2 * STEP_S:
                file.write(f"{time.monotonic()} {held_s}\n")


if __name__ == "__main__":
    sys.exit(run_program("web_0", watched) if HELD in os.environ else main())
