"""Where a server's time goes while it is asked: the functions that took most of it.

In: a running server and something that asks it. Out: text. py-spy names the functions of interpreted Python, perf those
of compiled code and of the kernel; whichever is installed is used. May import: servers.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.servers import INTERPRETED, Server

__all__ = ["leaves", "profile"]

LINES = 30
SAMPLES_A_SECOND = 499


def profile(server: Server, ask: Callable[[], Any]) -> str:
    """Asks, and says what the server did meanwhile."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if server.name.startswith(INTERPRETED) and shutil.which("py-spy"):
            return _by_py_spy(server.pid, ask, folder)
        if shutil.which("perf"):
            return _by_perf(server.pid, ask, folder)
    return "no profile: neither py-spy nor perf is installed\n"


def _by_perf(pid: int, ask: Callable[[], Any], folder: Path) -> str:
    data = folder / "perf.data"
    command = ["perf", "record", "-q", "-F", str(SAMPLES_A_SECOND), "-p", str(pid), "-o", str(data)]
    _while_asked(command, ask)
    shown = ["perf", "report", "-q", "-i", str(data), "--stdio", "--sort", "dso,symbol", "--percent-limit", "0.5"]
    done = subprocess.run(shown, capture_output=True, text=True, check=False)
    lines = [line.rstrip() for line in done.stdout.splitlines() if line.strip()]
    return "\n".join(lines[:LINES]) + "\n"


def _by_py_spy(pid: int, ask: Callable[[], Any], folder: Path) -> str:
    data = folder / "stacks"
    _while_asked(["py-spy", "record", "-p", str(pid), "-n", "-f", "raw", "-d", "3600", "-o", str(data)], ask)
    return leaves(data.read_text())


def _while_asked(command: list[str], ask: Callable[[], Any]) -> None:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as recorder:
        try:
            ask()
        finally:
            recorder.send_signal(2)


def leaves(stacks: str) -> str:
    """Folded stacks (`outer;inner count`) as a table of the innermost functions."""
    counts: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        counts[stack.rpartition(";")[2]] += int(count)
    total = max(1, counts.total())
    return "".join(f"{count / total:7.2%}  {name}\n" for name, count in counts.most_common(LINES))
