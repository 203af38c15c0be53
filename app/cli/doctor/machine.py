"""Looks at the machine: Python, limits, CPUs, kernel, clock.

In: the kernel's files below `root`, which tests replace. Out: findings. May import: settings, tree, cpu_grant.
"""

from __future__ import annotations

import ctypes
import re
import resource
import sys
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import psutil

from app.cli.doctor.findings import Finding, fail, ok, warn
from app.cpu_grant import granted_cpus
from app.tree import ROOT, Tree

__all__ = [
    "COMPILED",
    "SYSCTL",
    "about_clock",
    "about_cpus",
    "about_files",
    "about_huge_pages",
    "about_kernel",
    "about_python",
]

PYTHON_MIN = (3, 11)
#: As setup.py has them.
COMPILED = (
    *("app/front/head", "app/front/lane", "app/front/connection", "app/front/listener"),
    *("app/journal/writer", "app/agents/fields"),
)
SYSCTL = ROOT / "etc" / "sysctl.d" / "60-boltlink.conf"
SPARE_DESCRIPTORS = 128  # of a web process, for files and stores
DESCRIPTORS_MIN = 1_024  # supervisord's own least
DESCRIPTORS_GOOD = 16_384
_STA_UNSYNC = 0x40  # linux/timex.h
_TIMEX_BYTES, _STATUS_AT = 208, 40


def about_python() -> Iterator[Finding]:
    """Its version, and whether the hot path is compiled."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < PYTHON_MIN:
        yield fail("python.version", version, "BoltLink does not run on it.", "Install Python 3.11 or later.")
    else:
        yield ok("python.version", version)
    missing, old = [], []
    for name in COMPILED:
        built = [module for ending in EXTENSION_SUFFIXES for module in ROOT.glob(f"{name}{ending}")]
        source = ROOT / f"{name}.py"
        if not built:
            missing.append(name)
        elif source.exists() and source.stat().st_mtime > built[0].stat().st_mtime:
            old.append(name)
    means = "Redirects work, and cost about a third more CPU time."
    build = f"Install a C compiler, then in {ROOT}: python setup.py build_ext --inplace; boltlink reload"
    if missing:
        yield warn("python.compiled", f"interpreted: {', '.join(missing)}", means, build)
    if old:
        yield warn("python.compiled", f"older than its source: {', '.join(old)}", "Yesterday's code runs.", build)
    if not missing and not old:
        yield ok("python.compiled", f"{len(COMPILED)} modules")


def about_files(tree: Tree) -> Iterator[Finding]:
    """How many descriptors a web process may have: of those that run, else of this shell."""
    limits = [resource.getrlimit(resource.RLIMIT_NOFILE)[1]]
    for info in tree.processes() or []:
        if info["name"] in tree.web_names and info["pid"]:
            try:
                limits.append(psutil.Process(info["pid"]).rlimit(psutil.RLIMIT_NOFILE)[1])
            except psutil.Error:
                continue  # it has just ended
    least = min(limit if limit >= 0 else sys.maxsize for limit in limits[1:] or limits)
    found = f"{least} descriptors: {least - SPARE_DESCRIPTORS} connections of a web process"
    do = "Raise the limit of open files of whatever starts `boltlink up`: LimitNOFILE=65536, or ulimit -Hn 65536."
    if least < DESCRIPTORS_MIN:
        yield fail("limits.files", found, "supervisord does not start.", do)
    elif least < DESCRIPTORS_GOOD:
        yield warn("limits.files", found, "Clients beyond that are answered 503.", do)
    else:
        yield ok("limits.files", found)


def about_cpus(tree: Tree) -> Iterator[Finding]:
    """Web processes against CPUs."""
    granted, count = granted_cpus(), len(tree.web_names)
    found = f"{granted} CPUs granted, {count} web processes"
    do = "Unset BOLTLINK_WEB_PROCESSES: there is then one for each CPU, and two at least."
    if count > max(2, granted):
        yield warn("cpu", found, "They take turns, which costs time and memory.", do)
    elif count == 1:
        yield warn("cpu", found, "While it is reloaded nobody answers.", do)
    elif count < granted:
        yield warn("cpu", found, "Some CPUs answer no redirect.", do)
    else:
        yield ok("cpu", found)


def about_kernel(root: Path = Path("/")) -> Iterator[Finding]:
    """Each line of the file that is shipped, against what the kernel has."""
    lacking = 0
    for name, wanted, meaning in _wanted():
        try:
            value = int((root / "proc/sys" / name.replace(".", "/")).read_text())
        except (OSError, ValueError):
            lacking += 1
            yield warn(
                "kernel", f"{name} is not known here", meaning, "A newer kernel has it; a container asks its host."
            )
            continue
        if value < wanted:
            lacking += 1
            do = f"cp {SYSCTL} /etc/sysctl.d/ && sysctl --system"
            yield warn("kernel", f"{name} is {value}, should be {wanted}", meaning, do)
    if not lacking:
        yield ok("kernel", f"as {SYSCTL.name} has it")


def _wanted() -> Iterator[tuple[str, int, str]]:
    """(name, least value, what it is for) of each line; the comment above a line says what for."""
    meaning = ""
    for line in SYSCTL.read_text().splitlines():
        if line.startswith("#"):
            meaning = line.removeprefix("# ")
        elif match := re.fullmatch(r"([a-z0-9_.]+) = (\d+)", line):
            yield match[1], int(match[2]), meaning


def about_huge_pages(tree: Tree, root: Path = Path("/")) -> Iterator[Finding]:
    """Redis and MongoDB before 8 ask for none."""
    if not tree.engines:
        yield ok("kernel.huge_pages", "no engine is embedded here")
        return
    try:
        text = (root / "sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except OSError:
        yield ok("kernel.huge_pages", "this kernel has none")
        return
    if "[always]" in text:
        means = "Redis stalls when it writes a snapshot, MongoDB takes more memory than it needs."
        do = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled, at each start of the machine."
        yield warn("kernel.huge_pages", "always", means, do)
    else:
        yield ok("kernel.huge_pages", text.partition("[")[2].partition("]")[0])


def about_clock() -> Iterator[Finding]:
    """Whether the kernel says that something keeps its clock right (adjtimex)."""
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)
    if ctypes.CDLL(None, use_errno=True).adjtimex(timex) < 0:
        yield warn("clock", "the kernel does not say", "The time may be wrong.", "Look at it: date")
        return
    if int.from_bytes(timex.raw[_STATUS_AT : _STATUS_AT + 4], sys.byteorder) & _STA_UNSYNC:
        means = "Clicks are counted at the time of this clock, and links start and end by it."
        yield warn("clock", "not synchronised", means, "Run chrony or systemd-timesyncd; in a container, on its host.")
    else:
        yield ok("clock", "synchronised")
