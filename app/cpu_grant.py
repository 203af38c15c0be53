"""How many CPUs this process may use: the affinity mask, and the quotas of its cgroup and all those above it.

In: the kernel's files. Out: a whole number, fractions rounded up. May import: the standard library.
Sources: cgroup-v2.rst (cpu.max: "$MAX $PERIOD"), sched-bwc.rst (cpu.cfs_quota_us, -1: none).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["granted_cpus", "web_processes"]

WEB_PROCESSES_MIN = 2  # so that a reload always has a sibling


def granted_cpus(root: Path = Path("/"), affinity: int | None = None) -> int:
    """CPUs granted, at least 1; `root` is where /proc and /sys are, `affinity` the mask's size."""
    cpus = float(affinity if affinity is not None else len(os.sched_getaffinity(0)))
    return max(1, math.ceil(min([cpus, *_quotas(root)])))


def web_processes(root: Path = Path("/"), affinity: int | None = None) -> int:
    """How many web processes to run."""
    return max(WEB_PROCESSES_MIN, granted_cpus(root, affinity))


def _quotas(root: Path) -> Iterator[float]:
    """The CPUs that each quota allows, from this process's cgroup up to the root."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            bases = [root / "sys/fs/cgroup", root / "sys/fs/cgroup/unified"]
        elif "cpu" in controllers.split(","):
            bases = [root / "sys/fs/cgroup" / controllers, root / "sys/fs/cgroup/cpu"]
        else:
            continue
        for base in bases:
            folder = base / path.lstrip("/")
            for place in [folder, *folder.parents]:
                if not place.is_relative_to(base):
                    break
                yield from _quota_of(place)


def _quota_of(folder: Path) -> Iterator[float]:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return
    try:
        if float(quota) > 0 and float(period) > 0:
            yield float(quota) / float(period)
    except ValueError:
        return  # "max": no quota
