"""Load from wrk, with heads as browsers send them, and what it cost the server.

In: a port and a kind of load. Out: requests a second, latencies, errors, and CPU microseconds a request of the server's
process. wrk sends prepared requests in turn: REQUESTS different ones, so nothing can be remembered between requests
that real traffic would not repeat.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["REQUESTS", "Run", "browser_head", "run_wrk", "write_requests"]

REQUESTS = 5_000
CONNECTIONS = 64
LOAD_CPU = 1
_SCRIPT = """
local requests = {}
local file = io.open("%s", "rb")
local data = file:read("*a")
file:close()
local at = 1
while at <= #data do
  local low, high = data:byte(at, at + 1)
  local size = low + 256 * high
  requests[#requests + 1] = data:sub(at + 2, at + 1 + size)
  at = at + 2 + size
end
local turn = 0
request = function()
  turn = turn + 1
  return requests[turn %% #requests + 1]
end
"""
_LANGUAGES = (
    "en-US,en;q=0.9",
    "de-DE,de;q=0.9,en;q=0.7",
    "fr-FR,fr;q=0.9",
    "ja,en-US;q=0.9",
    "pl,en;q=0.3",
    "es-ES,es;q=0.9",
)
_SYSTEMS = (
    "X11; Linux x86_64",
    "Windows NT 10.0; Win64; x64",
    "Macintosh; Intel Mac OS X 10_15_7",
    "Linux; Android 10; K",
)
_REFERRERS = (
    "",
    "https://www.google.com/",
    "https://t.co/",
    "https://news.ycombinator.com/",
    "https://example.org/a/%d",
)


@dataclass(frozen=True)
class Run:
    """One measurement. Latencies in ms; `cpu_us` is the server's CPU time for each request."""

    rate: float
    requests: int
    errors: int
    p50: float
    p99: float
    cpu_us: float


def browser_head(rng: random.Random, host: str, *, close: bool = False) -> bytes:
    """What a browser sends behind the request line."""
    system, version = rng.choice(_SYSTEMS), rng.randint(90, 140)
    keep = ["Connection: close"] if close else (["Connection: keep-alive"] if rng.random() < 0.5 else [])
    build = f"{version}.0.{rng.randint(0, 6000)}.{rng.randint(0, 200)}"
    agent = f"Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{build} Safari/537.36"
    lines = [f"Host: {host}", *keep, f"User-Agent: {agent}"]
    lines.append("Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8")
    lines.append("Accept-Language: " + rng.choice(_LANGUAGES))
    lines.append("Accept-Encoding: gzip, deflate, br")
    referrer = rng.choice(_REFERRERS)
    if referrer:
        lines.append("Referer: " + (referrer % rng.randint(1, 9999) if "%" in referrer else referrer))
    lines.append("Upgrade-Insecure-Requests: 1")
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def write_requests(path: Path, paths: list[str], *, close: bool = False, every: bytes = b"", pipeline: int = 1) -> None:
    """Prepares REQUESTS requests; `every` 2,000th is replaced by the bytes given."""
    rng = random.Random(3)
    with path.open("wb") as file:
        for number in range(REQUESTS):
            parts = []
            for _ in range(pipeline):
                head = browser_head(rng, "127.0.0.1:8000", close=close)
                parts.append(f"GET {rng.choice(paths)} HTTP/1.1\r\n".encode() + head)
            data = every if every and number % 2_000 == 0 else b"".join(parts)
            file.write(struct.pack("<H", len(data)) + data)


def run_wrk(port: int, pid: int, requests: Path, seconds: float, folder: Path) -> Run:
    """Sends prepared requests to a port for some seconds, from the other CPU."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("wrk is missing: make bench-tools")
    script = folder / "requests.lua"
    script.write_text(_SCRIPT % requests)
    before = _cpu_seconds(pid)
    command = ["taskset", "-c", str(LOAD_CPU), wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "--latency"]
    done = subprocess.run(
        [*command, "-s", str(script), f"http://127.0.0.1:{port}/"], capture_output=True, text=True, check=True
    )
    spent = _cpu_seconds(pid) - before
    text = done.stdout
    requests_done = int(_find(r"(\d+) requests in", text))
    errors = sum(int(found) for found in re.findall(r"(?:connect|read|write|timeout) (\d+)", text))
    return Run(
        rate=float(_find(r"Requests/sec:\s+([\d.]+)", text)),
        requests=requests_done,
        errors=errors,
        p50=_milliseconds(_find(r"\n\s+50%\s+(\S+)", text)),
        p99=_milliseconds(_find(r"\n\s+99%\s+(\S+)", text)),
        cpu_us=spent / max(1, requests_done) * 1e6,
    )


def _find(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match[1]


def _milliseconds(text: str) -> float:
    match = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    assert match is not None, text
    return float(match[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}[match[2]]


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process with all its threads and children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = int(fields[11]) + int(fields[12])
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own / os.sysconf("SC_CLK_TCK") + sum(_cpu_seconds(int(child)) for child in children)
