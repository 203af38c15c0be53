"""Memory of one web process with its table full, over millions of requests of every kind.

`python -m bench.memory [--requests N] [--links N] [--interpreted] [--json]`

As shipped: 100,000 links in memory, journal and metrics on. A step of the soak asks for links uniformly, opens
connections, asks for slugs that nobody has and calls the API; after each, the kernel says what the process holds.
The figure: less than 120 MB anonymous (RssAnon), and no growth. RssFile and RssShmem are pages that the kernel can take
back or shares: programs, and the journal's segments, which are counted with every process that maps them.
May import: all of bench.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

from bench.cases import api_request
from bench.heads import browser_heads, permutation, write_heads, write_numbers
from bench.load import Traffic, run_generator
from bench.machine import keep_json, machine_line, resident_bytes
from bench.pages import add_outputs, put_table
from bench.servers import COMPILED, INTERPRETED, Server, start_servers

__all__ = ["growth", "main", "table"]

LIMIT_BYTES = 120_000_000
GROWTH_MAX = 1_000_000  # bytes for each million of requests: less than what the allocator's rounding moves about
STEP_KEPT, STEP_NEW, STEP_UNKNOWN = 250_000, 20_000, 30_000
SETTLED = 2  # steps until the table has turned over once

Sample = dict[str, int]


def main(words: Sequence[str] | None = None) -> int:
    """Soaks and prints; exit status 1 when the figure is not reached."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--requests", type=int, default=3_000_000, help="in all (default 3,000,000)")
    parser.add_argument("--links", type=int, default=100_000, help="how many there are (default 100,000)")
    parser.add_argument("--interpreted", action="store_true", help="without the compiled modules")
    add_outputs(parser)
    options = parser.parse_args(words)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with ExitStack() as stack:
        name = INTERPRETED if options.interpreted else COMPILED
        servers = start_servers(stack, [name], links=options.links, hot_links=None, is_aggregated=False)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        samples = _soak(servers[name], folder, options.links, options.requests)
    kept: dict[str, Any] = {"heading": f"{machine_line()}, {name}", "links": options.links, "samples": samples}
    keep_json("memory", kept, options.out)
    text = table(kept)
    (options.out / "memory.md").write_text(text)
    if options.docs:
        put_table("bench.memory", text)
    print(json.dumps(kept) if options.json else text)
    return 0 if is_reached(samples) else 1


def _soak(server: Server, folder: Path, links: int, requests: int) -> list[Sample]:
    """What the process holds before, and after each step."""
    product = server.product
    assert product is not None
    traffic = _traffic(folder, links)
    samples = [_sample(server, 0)]
    asked = 0
    while asked < requests:
        step = min(1.0, (requests - asked) / (STEP_KEPT + STEP_NEW + STEP_UNKNOWN))
        for wanted, share in zip(traffic, (STEP_KEPT, STEP_NEW, STEP_UNKNOWN), strict=True):
            count = max(1, int(share * step))
            run = run_generator(server.port, server.pid, replace(wanted, skip=asked), requests=count)
            if run.errors or run.answered != count or product.take_clicks() < run.statuses.get("302", 0):
                raise SystemExit(f"asked {count} times: {run}")
            asked += count
        samples.append(_sample(server, asked))
        print(f"{asked:,} requests: {samples[-1]['anonymous']:,} bytes", file=sys.stderr, flush=True)
    return samples


def _traffic(folder: Path, links: int) -> tuple[Traffic, Traffic, Traffic]:
    for name, close in (("heads", False), ("closing", True)):
        write_heads(folder / name, browser_heads(close=close))
    write_numbers(folder / "slugs", permutation(links))
    write_numbers(folder / "unknown", permutation(1_000_000, seed=6))
    kept = Traffic(folder / "heads", folder / "slugs", other=api_request(folder), every=2_000)
    new = Traffic(folder / "closing", folder / "slugs", close=True)
    return kept, new, Traffic(folder / "heads", folder / "unknown", prefix="/nosuch")


def _sample(server: Server, asked: int) -> Sample:
    held = resident_bytes(server.pid)
    return {"requests": asked, "anonymous": held["RssAnon"], "file": held["RssFile"], "shared": held["RssShmem"]}


def growth(samples: Sequence[Sample]) -> float:
    """Anonymous bytes for each million of requests, behind the first SETTLED samples.

    The median of the slopes between any two (Theil and Sen): one step, as when a dictionary doubles, is no growth.
    """
    slopes = [
        (later["anonymous"] - earlier["anonymous"]) / (later["requests"] - earlier["requests"]) * 1e6
        for earlier, later in combinations(samples[1 + SETTLED :], 2)
    ]
    return statistics.median(slopes) if slopes else 0.0


def is_reached(samples: Sequence[Sample]) -> bool:
    """Whether the figure holds."""
    return max(sample["anonymous"] for sample in samples) < LIMIT_BYTES and growth(samples) < GROWTH_MAX


def table(kept: dict[str, Any]) -> str:
    """Markdown."""
    samples: list[Sample] = kept["samples"]
    lines = [kept["heading"], "", "| requests | RssAnon MB | RssFile MB | RssShmem MB |", "|--:|--:|--:|--:|"]
    for sample in samples:
        megabytes = " | ".join(f"{sample[kind] / 1e6:.1f}" for kind in ("anonymous", "file", "shared"))
        lines.append(f"| {sample['requests']:,} | {megabytes} |")
    most = max(sample["anonymous"] for sample in samples)
    reached = "reached" if is_reached(samples) else "**not reached**"
    lines += [
        "",
        f"{kept['links']:,} links; at most {most / 1e6:.1f} MB anonymous (to reach: < {LIMIT_BYTES / 1e6:g}), "
        f"growing by {growth(samples) / 1e6:.2f} MB for each million of requests (< {GROWTH_MAX / 1e6:g}): {reached}",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
