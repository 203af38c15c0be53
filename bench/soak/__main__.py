"""Runs the whole product under mixed traffic, and fails when anything fails, grows or is lost.

`python -m bench.soak --minutes 60`: redirects by Zipf's law, unknown slugs, links made, changed, listed and deleted,
statistics, a rolling reload at the end of each quarter. Memory and descriptors of every program are sampled and drawn.
At the end each redirect that a client received must be counted. It runs for a day as it runs for a minute.
May import: visitors, callers, gauge, plot, report, tree.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.clicks.figures import fill_links
from bench.clicks.traffic import LINKS
from bench.heads import zipf
from bench.machine import RESULTS, keep_json, machine_line
from bench.soak.callers import Called, call
from bench.soak.gauge import QUARTERS, Sample, growths, take
from bench.soak.plot import draw
from bench.soak.report import faults_of, table
from bench.soak.visitors import Noted, visit
from bench.tree import Tree, running_tree

RATE = 500.0
PATTERN = 200_000
SAMPLES = 200  # in all
SAMPLE_LEAST_S, SAMPLE_MOST_S = 1.0, 60.0
COUNTED_LIMIT_S = 60.0
KEPT = "soak"


def main(words: Sequence[str] | None = None) -> int:
    """Soaks, draws, prints; 1 when something failed, grew or was lost."""
    options = _parser().parse_args(words)
    with running_tree() as tree:
        fill_links(tree, options.links)
        found = asyncio.run(_soak(tree, options))
    found["faults"] = faults_of(found)
    keep_json(KEPT, found, options.out)
    samples = [Sample(**row) for row in found["samples"]]
    said = draw(samples, options.out / f"{KEPT}.png")
    if said:
        print(said, file=sys.stderr)
    print(json.dumps(found) if options.json else table(found))
    return 1 if found["faults"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default 10)")
    parser.add_argument("--rate", type=float, default=RATE, help=f"requests of visitors a second (default {RATE:g})")
    parser.add_argument("--links", type=int, default=LINKS, help=f"asked for by Zipf's law (default {LINKS})")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results (default bench/results)")
    parser.add_argument("--json", action="store_true", help="for machines: every sample")
    return parser


async def _soak(tree: Tree, options: argparse.Namespace) -> dict[str, Any]:
    length_s: float = options.minutes * 60
    began_s = time.monotonic()
    ends_s: float = began_s + length_s
    noted, called = Noted(), Called()
    samples: list[Sample] = []
    reloads: list[float] = []

    def is_over() -> bool:
        return time.monotonic() >= ends_s

    slugs = [f"b{number}" for number in zipf(options.links, PATTERN)]
    headers = {"Authorization": tree.api.headers["Authorization"]}
    address = f"http://127.0.0.1:{tree.port}"
    await asyncio.gather(
        visit(tree.port, slugs, options.rate, noted, is_over),
        call(address, headers, slugs[:100], called, is_over),
        _watch(tree, samples, began_s, min(SAMPLE_MOST_S, max(SAMPLE_LEAST_S, length_s / SAMPLES)), is_over),
        _reload(tree, reloads, began_s, length_s),
    )
    counted = await asyncio.to_thread(_wait_until_counted, tree, noted.redirects)
    return {
        "machine": machine_line(),
        "minutes": length_s / 60,
        "redirects": noted.redirects,
        "counted": counted,
        "statuses": dict(noted.statuses),
        "wrong": noted.wrong_count,
        "wrong_first": noted.wrong,
        "quantiles_ms": _quantiles(noted.seconds),
        "calls": dict(called.calls),
        "calls_failed": called.failed,
        "calls_ms": _quantiles(called.seconds),
        "reloads_s": reloads,
        "growths": growths(samples, length_s),
        "samples": [asdict(sample) for sample in samples],
    }


async def _watch(
    tree: Tree, samples: list[Sample], began_s: float, every_s: float, is_over: Callable[[], bool]
) -> None:
    due_s = began_s
    while not is_over():
        samples += await asyncio.to_thread(take, tree, time.monotonic() - began_s)
        due_s = max(due_s + every_s, time.monotonic())
        await asyncio.sleep(due_s - time.monotonic())


async def _reload(tree: Tree, reloads: list[float], began_s: float, length_s: float) -> None:
    """At the end of each quarter but the last."""
    for quarter in range(1, QUARTERS):
        await asyncio.sleep(max(0.0, began_s + quarter * length_s / QUARTERS - time.monotonic()))
        before_s = time.monotonic()
        await asyncio.to_thread(tree.command, "reload")
        reloads.append(time.monotonic() - before_s)


def _wait_until_counted(tree: Tree, wanted: int) -> int:
    """Clicks in the statistics, when they are as many as wanted or nothing more comes."""
    deadline = time.monotonic() + COUNTED_LIMIT_S
    while True:
        counted: int = tree.api.get("/api/v1/stats").json()["clicks"]
        if counted >= wanted or time.monotonic() > deadline:
            return counted
        time.sleep(0.5)


def _quantiles(seconds: Sequence[float]) -> dict[str, float]:
    if len(seconds) < 2:
        return {}
    cuts = statistics.quantiles(seconds, n=1000, method="inclusive")
    names = {"p50": 499, "p95": 949, "p99": 989, "p99.9": 998}
    return {name: cuts[place] * 1000 for name, place in names.items()} | {"max": max(seconds) * 1000}


if __name__ == "__main__":
    sys.exit(main())
