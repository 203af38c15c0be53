"""What a full table forgets: hit ratios of policies on Zipf(1.1) over a million links, and what a hit costs.

`python -m bench.table [--requests N] [--links N] [--limit N] [--json]`

Each policy holds `limit` entries and sees the same requests, without and with a scan: then every second request is for
a link that was never asked for before, and only the others count. Counted after as many requests as it takes to fill
the table. A hit is timed over keys that are held, in the trace's order, the loop's own time taken off.
Then the table as shipped expires everything it holds, which happens in one turn of the loop.
May import: redirect, heads, machine, policies.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from app.redirect import Table
from bench.heads import zipf
from bench.machine import keep_json, machine_line
from bench.pages import add_outputs, put_table
from bench.policies import POLICIES

__all__ = ["hit_ratio", "main", "table"]

TIMED = 100_000  # hits
REPEATS = 5  # the least counts: others can only make it slower
GAPS = 10


def main(words: Sequence[str] | None = None) -> int:
    """Measures, keeps and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.table", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--requests", type=int, default=2_000_000, help="of each trace (default 2,000,000)")
    parser.add_argument("--links", type=int, default=1_000_000, help="how many there are (default 1,000,000)")
    parser.add_argument("--limit", type=int, default=100_000, help="entries that are held (default 100,000)")
    add_outputs(parser)
    options = parser.parse_args(words)
    trace = [b"b%d" % number for number in zipf(options.links, options.requests)]
    rows = {name: _row(policy, trace, options.limit) for name, policy in POLICIES.items()}
    kept = {
        "heading": f"{machine_line()}, {options.requests:,} requests",
        "rows": rows,
        "expire_ms": expire_ms(options.limit),
    }
    keep_json("table", kept, options.out)
    text = table(kept)
    if options.docs:
        put_table("bench.table", text)
    print(json.dumps(kept) if options.json else text)
    return 0


def _row(policy: Any, trace: Sequence[bytes], limit: int) -> dict[str, float]:
    return {
        "plain": hit_ratio(policy(limit), trace, has_scan=False),
        "scanned": hit_ratio(policy(limit), trace, has_scan=True),
        "hit_ns": hit_ns(policy(limit), trace, limit),
    }


def hit_ratio(policy: Any, trace: Sequence[bytes], *, has_scan: bool) -> float:
    """Hits among the second half of a trace's requests; those of the scan don't count."""
    entry = bytes(60)
    hits = 0
    half = len(trace) // 2
    for number, key in enumerate(trace):
        if policy.get(key) is not None:
            hits += number >= half
        else:
            policy.put(key, entry)
        if has_scan:
            cold = b"cold%d" % number
            if policy.get(cold) is None:
                policy.put(cold, entry)
    return hits / (len(trace) - half)


def hit_ns(policy: Any, trace: Sequence[bytes], limit: int) -> float:
    """CPU time of a hit."""
    keys = list(dict.fromkeys(trace))[: limit // 2]
    for key in keys:
        policy.put(key, bytes(60))
    held = set(keys)
    asked = [key for key in trace if key in held][:TIMED]
    return min(_seconds(policy.get, asked) - _seconds(_nothing, asked) for _ in range(REPEATS)) / len(asked) * 1e9


def _nothing(key: bytes) -> None:
    """What a call costs."""


def _seconds(get: Any, keys: Sequence[bytes]) -> float:
    began = time.process_time()
    for key in keys:
        get(key)
    return time.process_time() - began


def expire_ms(limit: int) -> list[float]:
    """CPU time of each of some gaps of a full table; every other time it held the same links as before."""
    subject = Table(limit)
    found = []
    for gap in range(GAPS):
        for number in range(limit):
            subject.put(b"%d-%d" % (gap // 2, number), bytes(60))
        began = time.process_time()
        subject.expire_all()
        found.append((time.process_time() - began) * 1e3)
    return found


def table(kept: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        kept["heading"],
        "",
        "| policy | hits | hits during a scan | a hit, ns beside the call |",
        "|---|--:|--:|--:|",
    ]
    for name, row in kept["rows"].items():
        lines.append(f"| {name} | {row['plain']:.1%} | {row['scanned']:.1%} | {row['hit_ns']:.0f} |")
    lines += ["", f"Expiring all links of a full table takes {max(kept['expire_ms']):.2f} ms at most."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
