"""How many CPUs this process was granted: by its cgroups' quotas and by its affinity mask.

In: the tree of files that the kernel shows (a root folder, so that tests bring their own). Out: a count.
A container with 1.5 CPUs on a machine of 64 must not start 64 processes. Every ancestor's quota binds, so all are read:
version 2 keeps it in `cpu.max` ("150000 100000", or "max 100000"), version 1 in `cpu.cfs_quota_us` (-1: none).
May import: the standard library.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["granted_cpus"]

LEAST = 2  # so that a process that is reloaded always has a sibling
_MOUNT = Path("sys/fs/cgroup")


def granted_cpus(root: Path, affinity: int) -> int:
    """CPUs to use: the smaller of the quota, rounded up, and `affinity`; at least 2."""
    quota = min(_quotas(root), default=math.inf)
    return max(LEAST, min(affinity, math.ceil(quota)) if math.isfinite(quota) else affinity)


def _quotas(root: Path) -> Iterator[float]:
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:
            for mount in (_MOUNT, _MOUNT / "unified"):
                for folder in _ancestors(root / mount, path):
                    yield from _quota_v2(folder)
        elif "cpu" in controllers.split(","):
            for mount in (_MOUNT / controllers, _MOUNT / "cpu"):
                for folder in _ancestors(root / mount, path):
                    yield from _quota_v1(folder)


def _ancestors(mount: Path, path: str) -> Iterator[Path]:
    """The cgroup's folder and all above it. In a container the path may name folders that are not mounted there."""
    inside = PurePosixPath("/") / path
    for part in (inside, *inside.parents):
        if ".." not in part.parts:
            yield mount / part.relative_to("/")


def _quota_v2(folder: Path) -> Iterator[float]:
    words = _read(folder / "cpu.max").split()
    if len(words) == 2 and words[0] != "max":
        yield from _ratio(*words)


def _quota_v1(folder: Path) -> Iterator[float]:
    yield from _ratio(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> Iterator[float]:
    try:
        microseconds, of = int(quota), int(period)
    except ValueError:
        return
    if microseconds > 0 and of > 0:
        yield microseconds / of


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
