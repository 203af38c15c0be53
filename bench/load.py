"""Asks a server as a case says, and says what came back and what it cost.

In: a port, a process and a `Traffic`. Out: a `Run`. The load is bench/generator.c, compiled here, the same for all
servers; wrk, which everybody knows, can take its place for the plain case, so that the two can be compared.
May import: machine, heads.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.machine import LOAD_CPU, ROOT, SERVER_CPU, CpuTimes, cpu_seconds, pinned

__all__ = [
    "CONNECTIONS",
    "Run",
    "Traffic",
    "build_generator",
    "parse_generator",
    "parse_wrk",
    "run_generator",
    "run_wrk",
]

CONNECTIONS = 64
SOURCE = ROOT / "bench" / "generator.c"


@dataclass(frozen=True, slots=True)
class Traffic:
    """How to ask. `heads` and `slugs` are files; `skip` of the slugs are passed over first.

    Attributes:
        rate: requests a second by themselves (an open loop); 0: as many as are answered.
        depth: requests in one write.
        other: a request that takes the place of each `every`-th.
    """

    heads: Path
    slugs: Path
    prefix: str = "/b"
    rate: float = 0.0
    depth: int = 1
    close: bool = False
    other: Path | None = None
    every: int = 0
    skip: int = 0
    connections: int = CONNECTIONS


@dataclass(slots=True)
class Run:
    """One measurement. Latencies in ms; `cpu_us` is the server's CPU time for each answer, all threads and children.

    Attributes:
        answered: all answers, also those after the time was up.
        late_ms: how late the load itself was at its 99th percentile (open loop).
        server_share, load_share: how busy the server and the load were, of one CPU.
        foreign_share: how much of both CPUs others took, the machine around a virtual one included.
        clicks: records that the journal got; None where there is none.
        anonymous_bytes: what BoltLink's process held after it (RssAnon); 0 for others.
        number: of the round.
    """

    rate: float
    answered: int
    errors: int
    p50: float
    p95: float
    p99: float
    p999: float
    max: float
    statuses: dict[str, int]
    late_ms: float = 0.0
    cpu_us: float = 0.0
    server_share: float = 0.0
    load_share: float = 0.0
    foreign_share: float = 0.0
    clicks: int | None = None
    anonymous_bytes: int = 0
    number: int = 0


def build_generator() -> Path:
    """Compiles the generator if it is older than its source; ends the program where there is no C compiler."""
    binary = ROOT / "build" / "bench" / "generator"
    if binary.exists() and binary.stat().st_mtime >= SOURCE.stat().st_mtime:
        return binary
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise SystemExit("the load generator needs a C compiler: apt-get install gcc libc6-dev")
    binary.parent.mkdir(parents=True, exist_ok=True)
    fresh = binary.with_suffix(f".{os.getpid()}")
    subprocess.run([compiler, "-O2", "-o", str(fresh), str(SOURCE), "-lm"], check=True)
    fresh.rename(binary)  # others may be running the old one, or building as well
    return binary


def run_generator(
    port: int, pid: int, traffic: Traffic, *, seconds: float | None = None, requests: int | None = None
) -> Run:
    """Asks for so many seconds, or so many times."""
    command = [str(build_generator()), f"--port={port}", f"--heads={traffic.heads}", f"--slugs={traffic.slugs}"]
    command += [f"--prefix={traffic.prefix}", f"--connections={traffic.connections}", f"--depth={traffic.depth}"]
    command += [f"--skip={traffic.skip}"]
    command += [f"--seconds={seconds}"] if seconds is not None else []
    command += [f"--requests={requests}"] if requests is not None else []
    command += [f"--rate={traffic.rate}"] if traffic.rate else []
    command += ["--close"] if traffic.close else []
    command += [f"--other={traffic.other}", f"--every={traffic.every}"] if traffic.other else []
    return _measured(pid, command, parse_generator)


def run_wrk(port: int, pid: int, traffic: Traffic, *, seconds: float) -> Run:
    """The same by wrk; only for a traffic that it can do: kept connections, one request at a time."""
    script = ROOT / "bench" / "wrk.lua"
    command = ["wrk", "-t1", f"-c{traffic.connections}", f"-d{seconds:g}s", "--latency", "-s", str(script)]
    command += [f"http://127.0.0.1:{port}/", "--", str(traffic.heads), str(traffic.slugs), traffic.prefix]
    return _measured(pid, command, parse_wrk)


def _measured(pid: int, command: list[str], parse: Callable[[str], Run]) -> Run:
    """Runs the load, and adds what the kernel says of both sides."""
    cpus = {SERVER_CPU, LOAD_CPU}
    before = {cpu: CpuTimes.read(cpu) for cpu in cpus}
    spent_s, load_s, began_s = cpu_seconds(pid), _children_seconds(), time.perf_counter()
    done = subprocess.run(pinned(LOAD_CPU, *command), capture_output=True, text=True, check=False)
    elapsed_s = time.perf_counter() - began_s
    spent_s, load_s = cpu_seconds(pid) - spent_s, _children_seconds() - load_s
    used = [CpuTimes.read(cpu) - before[cpu] for cpu in cpus]
    if done.returncode:
        raise SystemExit(f"{command[0]}: {done.stderr.strip() or done.stdout.strip()}")
    run = parse(done.stdout)
    run.cpu_us = spent_s / max(1, run.answered) * 1e6
    run.server_share = spent_s / elapsed_s
    run.load_share = load_s / elapsed_s
    others_s = sum(times.busy + times.stolen for times in used) - spent_s - load_s
    run.foreign_share = max(0.0, others_s) / elapsed_s / len(cpus)
    return run


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def parse_generator(text: str) -> Run:
    """The generator's line of JSON."""
    said: dict[str, Any] = json.loads(text)
    return Run(
        rate=said["in_time"] / said["seconds"],
        answered=said["answered"],
        errors=said["failed"] + said["unsent"] + said["sent"] - said["answered"],
        statuses=said["statuses"],
        p50=said["p50_us"] / 1000,
        p95=said["p95_us"] / 1000,
        p99=said["p99_us"] / 1000,
        p999=said["p999_us"] / 1000,
        max=said["max_us"] / 1000,
        late_ms=said["late_p99_us"] / 1000,
    )


def parse_wrk(text: str) -> Run:
    """wrk's report; answers still under way at its end are not in it."""
    answered = int(_find(r"(\d+) requests in", text))
    errors = sum(int(count) for count in re.findall(r"(?:connect|read|write|timeout) (\d+)", text))
    refused = int(_find(r"Non-2xx or 3xx responses: (\d+)|$", text) or 0)
    quantile = {share: _milliseconds(_find(rf"\n\s+{share}%\s+(\S+)", text)) for share in ("50", "95", "99", "99.9")}
    return Run(
        rate=float(_find(r"Requests/sec:\s+([\d.]+)", text)),
        answered=answered,
        errors=errors,
        statuses={"2xx or 3xx": answered - refused} | ({"others": refused} if refused else {}),
        p50=quantile["50"],
        p95=quantile["95"],
        p99=quantile["99"],
        p999=quantile["99.9"],
        max=_milliseconds(_find(r"Latency\s+\S+\s+\S+\s+(\S+)", text)),
    )


def _find(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match[1] or ""


def _milliseconds(text: str) -> float:
    match = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    assert match is not None, text
    return float(match[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}[match[2]]
