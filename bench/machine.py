"""The machine that is measured on: its line, its two CPUs, CPU time and memory of programs, and where results go.

In: process ids. Out: figures of the kernel. Every benchmark runs what it measures on SERVER_CPU and what asks on
LOAD_CPU, so that neither takes the other's time. May import: the standard library.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "LOAD_CPU",
    "RESULTS",
    "ROOT",
    "SERVER_CPU",
    "CpuTimes",
    "cpu_seconds",
    "free_port",
    "keep_json",
    "machine_line",
    "pinned",
    "read_kept",
    "resident_bytes",
    "wait_for_port",
    "wait_for_quiet",
]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
SERVER_CPU, LOAD_CPU = 0, min(1, (os.cpu_count() or 1) - 1)
QUIET_S, QUIET_SHARE = 0.25, 0.08
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def machine_line() -> str:
    """What it ran on, in one line, with the day."""
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    python = platform.python_version()
    return f"{os.cpu_count()} CPUs, {name}, Linux {platform.release()}, Python {python}, {time.strftime('%Y-%m-%d')}"


def pinned(cpu: int, *command: str) -> list[str]:
    """A command that runs on one CPU only."""
    return ["taskset", "-c", str(cpu), *command]


def cpu_seconds(pid: int) -> float:
    """CPU time so far of a process, its living threads and children, to the nanosecond; 0 when it is gone."""
    total_s = 0.0
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread may end while it is read
        for task in Path(f"/proc/{pid}/task").iterdir():
            total_s += int((task / "schedstat").read_text().split()[0]) / 1e9
            total_s += sum(cpu_seconds(int(child)) for child in (task / "children").read_text().split())
    return total_s


def resident_bytes(pid: int) -> dict[str, int]:
    """Resident memory of a process by kind: RssAnon, RssFile, RssShmem, as in /proc/PID/status."""
    rows = dict(line.split(":", 1) for line in _lines(f"/proc/{pid}/status") if line.startswith("Rss"))
    return {name: int(value.split()[0]) * 1024 for name, value in rows.items()}


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Seconds that one CPU has spent since boot: `busy` for anybody, `stolen` by the machine around a virtual one."""

    busy: float
    stolen: float

    @classmethod
    def read(cls, cpu: int) -> CpuTimes:
        """As of now."""
        row = next(line for line in _lines("/proc/stat") if line.startswith(f"cpu{cpu} "))
        user, nice, system, _idle, _wait, hard, soft, stolen = (int(word) for word in row.split()[1:9])
        return cls((user + nice + system + hard + soft) * _TICK_S, stolen * _TICK_S)

    def __sub__(self, other: CpuTimes) -> CpuTimes:
        return CpuTimes(self.busy - other.busy, self.stolen - other.stolen)


def wait_for_quiet(limit_s: float) -> bool:
    """Returns True when both CPUs have been idle for QUIET_S but for QUIET_SHARE, False after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        before = {cpu: CpuTimes.read(cpu) for cpu in (SERVER_CPU, LOAD_CPU)}
        time.sleep(QUIET_S)
        used = [CpuTimes.read(cpu) - before[cpu] for cpu in before]
        if max(times.busy + times.stolen for times in used) <= QUIET_SHARE * QUIET_S:
            return True
    return False


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, *, limit_s: float = 60.0) -> None:
    """Returns when somebody listens; ends the program after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit(f"nobody listens on {port} after {limit_s:g} s")


def keep_json(name: str, value: Any, folder: Path = RESULTS) -> Path:
    """Writes `NAME.json` into the folder of results."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(value, indent=1) + "\n")
    return path


def read_kept(name: str, folder: Path = RESULTS) -> Any:
    """What `keep_json` kept; an empty dict when there is nothing."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def _lines(path: str | Path) -> list[str]:
    return Path(path).read_text().splitlines()
