"""What each program of a tree holds, sampled; and whether that grows.

In: a running tree. Out: samples of memory, descriptors, threads and restarts by program, and a verdict.

The time is cut into QUARTERS, each of which ends with a reload, so that quarters are alike: processes begin anew and
fill their caches in each. The first fills what outlives a reload. What a program holds grows when the median of the
last quarter is above that of the second by more than the allowance. Of Redis and mongod, whose caches fill for hours up
to their own settings, only the descriptors are judged. May import: tree.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from bench.tree import Tree

__all__ = ["ENGINES", "QUARTERS", "Sample", "growths", "take"]

QUARTERS = 4
ENGINES = ("redis", "mongod")
MEMORY_SHARE, MEMORY_BYTES = 0.10, 8_000_000  # allowed growth: the larger of both
DESCRIPTORS = 16


@dataclass(frozen=True, slots=True)
class Sample:
    """One program at one moment. Memory is its own: unique set size, bytes."""

    at_s: float
    name: str
    pid: int
    memory: int
    descriptors: int
    threads: int
    restarts: int


def take(tree: Tree, at_s: float) -> list[Sample]:
    """All programs now; one that is starting or gone is left out."""
    report: dict[str, Any] = json.loads(tree.command("status", "--json"))
    samples = []
    for row in report["processes"]:
        try:
            process = psutil.Process(row["pid"] or 0)
            with process.oneshot():
                memory = process.memory_full_info().uss
                samples.append(
                    Sample(
                        at_s=at_s,
                        name=row["name"],
                        pid=row["pid"],
                        memory=memory,
                        descriptors=process.num_fds(),
                        threads=process.num_threads(),
                        restarts=row["restarts"],
                    )
                )
        except (psutil.Error, TypeError):
            continue
    return samples


def growths(samples: Sequence[Sample], length_s: float) -> dict[str, dict[str, float]]:
    """For each program: `memory` and `descriptors` in the second and the last quarter, and whether they grow."""
    found = {}
    for name in sorted({sample.name for sample in samples}):
        own = [sample for sample in samples if sample.name == name]
        second, last = _quarter(own, 1, length_s), _quarter(own, QUARTERS - 1, length_s)
        if not second or not last:
            continue
        before, after = (statistics.median(sample.memory for sample in part) for part in (second, last))
        fds_before, fds_after = (statistics.median(sample.descriptors for sample in part) for part in (second, last))
        allowed = max(MEMORY_SHARE * before, MEMORY_BYTES)
        found[name] = {
            "memory_before": before,
            "memory_after": after,
            "descriptors_before": fds_before,
            "descriptors_after": fds_after,
            "grows": (name not in ENGINES and after - before > allowed) or fds_after - fds_before > DESCRIPTORS,
        }
    return found


def _quarter(samples: Sequence[Sample], number: int, length_s: float) -> list[Sample]:
    step_s = length_s / QUARTERS
    return [sample for sample in samples if number * step_s <= sample.at_s < (number + 1) * step_s]
