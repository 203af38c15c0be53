"""What was measured, as Markdown, with what was to be reached. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.clicks.folding import CASES

__all__ = ["table"]


def table(kept: dict[str, Any]) -> str:
    """The figures that are kept, one a line, then folding by case."""
    lines: list[str] = []
    for name, write in _LINES.items():
        if name in kept:
            lines += write(kept[name]["found"])
    machines = sorted({row["machine"] for row in kept.values()})
    head = ["| figure | to reach | measured | meanwhile |", "|---|---|---|---|"] if lines else []
    text = [*machines, "", *head, *lines]
    if "folding" in kept:
        text += ["", *_folding(kept["folding"]["found"])]
    return "\n".join(text) + "\n"


def _folding(found: dict[str, dict[str, float]]) -> list[str]:
    lines = [
        "| thousand records a second of one core | read | and folded | and in buckets |",
        "|---|--:|--:|--:|",
    ]
    for case, row in found.items():
        lines.append(f"| {CASES[case]} | " + " | ".join(f"{value:.0f}" for value in row.values()) + " |")
    return lines


def _cpu(row: dict[str, Any]) -> str:
    return f"aggregator {row['aggregator_cpu']:.0%} of a core, mongod {row['mongod_cpu']:.0%}"


def _served(row: dict[str, Any]) -> str:
    return f"{row['rate']:,.0f} redirects/s, p50 {row['p50_ms']:.1f} ms, p99 {row['p99_ms']:.1f} ms"


def _stored(found: dict[str, Any]) -> list[str]:
    lag = f"lag {found['lag_median_s']:.1f} s, at most {found['lag_max_s']:.1f} s, {_growth(found)}"
    measured = f"{found['fed_rate']:,.0f}/s: {lag}"
    return [f"| stored, Zipf(1.1) over 100,000 links | 50,000/s, lag not growing | {measured} | {_cpu(found)} |"]


def _growth(found: dict[str, Any]) -> str:
    return "growing" if found["grows"] else "not growing"


def _uniform(found: dict[str, Any]) -> list[str]:
    best = max((step for step in found["steps"] if not step["grows"]), key=lambda step: step["fed_rate"], default=None)
    if best is None:
        return [f"| 10 million links, uniform | the largest rate | none of {len(found['steps'])} | |"]
    return [f"| 10 million links, uniform | the largest rate | {best['fed_rate']:,.0f}/s | {_cpu(best)} |"]


def _visible(found: dict[str, Any]) -> list[str]:
    measured = f"p50 {found['p50_s']:.2f} s, p99 {found['p99_s']:.2f} s, longest {found['max_s']:.2f} s"
    return [f"| from redirect to statistics | p99 < 2 s under 10,000/s | {measured} | {_served(found['served'])} |"]


def _memory(found: dict[str, Any]) -> list[str]:
    backlog = f"{found['backlog_records']:,.0f} unique links and agents"
    measured = f"{found['rss_anon_max'] / 1e6:.0f} MB RssAnon"
    return [f"| memory over a backlog of 1 GiB | < 200 MB | {measured} | {backlog}, {found['applied_rate']:,.0f}/s |"]


def _catch_up(found: dict[str, Any]) -> list[str]:
    measured = f"{found['caught_up_s']:.0f} s for {found['backlog_records']:,.0f} clicks"
    served = f"{_served(found['meanwhile'])}; without a backlog p99 {found['before']['p99_ms']:.1f} ms"
    return [f"| a backlog of 1 GiB, caught up while serving | | {measured} | {served} |"]


def _hostile(found: dict[str, Any]) -> list[str]:
    measured = f"lag at most {found['lag_max_s']:.1f} s at {found['hostile_rate']:,.0f} made-up requests/s"
    return [f"| one hostile client | lag < 2 s | {measured} | {_served(found['served'])} |"]


_LINES: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "stored": _stored,
    "uniform": _uniform,
    "visible": _visible,
    "memory": _memory,
    "catch-up": _catch_up,
    "hostile": _hostile,
}
