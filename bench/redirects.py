"""Redirects of BoltLink and its peers, one by one and interleaved, on this machine.

`python -m bench.redirects [--seconds N] [--rounds N] [--case NAME] [--json]`. The server runs on CPU 0, the load on
CPU 1. BoltLink is the product as shipped: one web process, strict heads, journal, metrics, Date. Its aggregator is
stopped while the load runs (it would share the load's CPU) and works between rounds, so that segments are reused as
they are in use. Ratios are medians of rounds against nginx's `return 302` in the same round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx

from app.settings import Settings
from app.stores import mongodb_socket
from app.stores.replica_set import ensure_replica_set
from bench.load import Run, run_wrk, write_requests

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / "bench" / "peers"
LINKS = 1_000
SERVER_CPU = 0
KEY = "blk_bench_only_bench_only_bench_only"
BASE = "nginx return"


class Server:
    """One running server: where it listens, and whose CPU time counts."""

    def __init__(self, port: int, process: subprocess.Popen[bytes], between: Callable[[], None] = lambda: None) -> None:
        self.port = port
        self.process = process
        self.between = between


def start(stack: ExitStack, command: list[str], folder: Path, **options: Any) -> subprocess.Popen[bytes]:
    """Starts a program that ends with `stack`."""
    log = stack.enter_context((folder / "log").open("ab"))
    process = subprocess.Popen(command, stdout=log, stderr=log, **options)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return process


def pinned(*command: str) -> list[str]:
    """A command on the server's CPU."""
    return ["taskset", "-c", str(SERVER_CPU), *command]


def wait_for_port(port: int) -> None:
    """Returns when somebody listens."""
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"nobody listens on {port}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def nginx(config: str) -> Callable[[ExitStack, Path], Server]:
    """nginx with a configuration of ours."""

    def make(stack: ExitStack, folder: Path) -> Server:
        port = free_port()
        (folder / "links.map").write_text("".join(f"/b{n} https://example.com/page/{n};\n" for n in range(100_000)))
        (folder / "nginx.conf").write_text((PEERS / config).read_text().replace("@PORT@", str(port)))
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        process = start(stack, pinned(program, "-p", str(folder), "-c", str(folder / "nginx.conf")), folder)
        return Server(port, process)

    return make


def program(*command: str) -> Callable[[ExitStack, Path], Server]:
    """A peer that takes its port as its last argument."""

    def make(stack: ExitStack, folder: Path) -> Server:
        port = free_port()
        return Server(port, start(stack, pinned(*command, str(port)), folder))

    return make


def go_server(stack: ExitStack, folder: Path) -> Server:
    """The Go peer, built here."""
    binary = folder / "go_map"
    environ = {**os.environ, "GOCACHE": str(folder / "cache"), "GO111MODULE": "off"}
    subprocess.run(["go", "build", "-o", str(binary), str(PEERS / "go_map.go")], check=True, env=environ)
    return program(str(binary))(stack, folder)


def boltlink(*, compiled: bool) -> Callable[[ExitStack, Path], Server]:
    """One web process with engines of its own; `compiled` False runs a copy of the source without extensions."""

    def make(stack: ExitStack, folder: Path) -> Server:
        source = ROOT
        if not compiled:
            source = folder / "source"
            for package in ("app", "workers"):
                shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        state = folder / "s"
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("BOLTLINK_")},
            "BOLTLINK_STATE_DIR": str(state),
            "BOLTLINK_PORT": str(free_port()),
            "BOLTLINK_METRICS_PORT": str(free_port()),
            "BOLTLINK_ADMIN_KEY": KEY,
            "PYTHONPATH": str(source),
        }
        settings = Settings.from_environ(environ)
        (state / "run").mkdir(parents=True, mode=0o700)
        for engine in ("redis", "mongod"):
            start(stack, [sys.executable, "-m", "app.stores.embedded", engine], folder, env=environ, cwd=source)
        ensure_replica_set(mongodb_socket(settings))
        process = start(stack, pinned(sys.executable, "-m", "app.main"), folder, env=environ, cwd=source)
        wait_for_port(settings.port)
        make_links(settings.port, expect_compiled=compiled)

        def aggregate() -> None:
            worker = subprocess.Popen(
                [sys.executable, "-m", "workers.aggregator"], env=environ, cwd=source, stdout=subprocess.DEVNULL
            )
            wait_until_applied(settings.metrics_port)
            worker.send_signal(signal.SIGTERM)
            worker.wait()

        return Server(settings.port, process, aggregate)

    return make


def make_links(port: int, *, expect_compiled: bool) -> None:
    """The links b0, b1, …; and proof of which hot path is measured."""
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30, trust_env=False) as client:
        while client.get("/ready").status_code != 200 or client.get("/api/v1/links").status_code != 200:
            time.sleep(0.1)
        found = client.get("/health").json()["hot_path"]
        assert found == ("compiled" if expect_compiled else "interpreted"), found
        for number in range(LINKS):
            wish = {"target": f"https://example.com/page/{number}", "slug": f"b{number}"}
            assert client.post("/api/v1/links", json=wish).status_code == 201
            assert client.get(f"/b{number}").status_code == 302


def wait_until_applied(port: int) -> None:
    """Returns when the statistics hold everything that was journaled."""
    for _ in range(1200):
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, timeout=30).text
        counts = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("boltlink_clicks_"))
        if counts["boltlink_clicks_journaled_total"] == counts["boltlink_clicks_aggregated_total"]:
            return
        time.sleep(0.1)
    raise SystemExit("the aggregator does not keep up")


def peers() -> dict[str, Callable[[ExitStack, Path], Server]]:
    """Those that this machine has; the others are named."""
    found: dict[str, Callable[[ExitStack, Path], Server]] = {}
    if shutil.which("nginx") or Path("/usr/sbin/nginx").exists():
        found |= {BASE: nginx("nginx_return.conf"), "nginx map+log": nginx("nginx_map.conf")}
    if shutil.which("go"):
        found["Go net/http"] = go_server
    if shutil.which("node"):
        found["node http"] = program("node", str(PEERS / "node_map.js"))
    found["Tornado handler"] = program(sys.executable, str(PEERS / "tornado_dict.py"))
    found["boltlink interpreted"] = boltlink(compiled=False)
    if list((ROOT / "app").rglob("*.so")):
        found["boltlink compiled"] = boltlink(compiled=True)
    for name, is_there in (("nginx", BASE in found), ("go", "Go net/http" in found), ("node", "node http" in found)):
        if not is_there:
            print(f"{name} is missing: not compared (make bench-tools)", file=sys.stderr)
    return found


@contextmanager
def running() -> Iterator[dict[str, Server]]:
    """All servers, each in a folder of its own."""
    with ExitStack() as stack:
        servers = {}
        for name, make in peers().items():
            folder = Path(tempfile.mkdtemp(prefix="bb-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            servers[name] = make(stack, folder)
            wait_for_port(servers[name].port)
        yield servers


def cases(folder: Path) -> dict[str, Path]:
    """Prepared requests of each case."""
    paths = [f"/b{number}" for number in range(LINKS)]
    kinds: dict[str, dict[str, Any]] = {
        "keep-alive": {"paths": paths},
        "new connection": {"paths": paths, "close": True},
        "pipelined x16": {"paths": paths, "pipeline": 16},
        "unknown slugs": {"paths": [f"/nosuch{number}" for number in range(LINKS)]},
    }
    files = {}
    for name, options in kinds.items():
        files[name] = folder / (name.replace(" ", "_") + ".bin")
        write_requests(files[name], **options)
    return files


def measure(seconds: float, rounds: int, wanted: str) -> dict[str, dict[str, list[Run]]]:
    """case -> server -> runs."""
    results: dict[str, dict[str, list[Run]]] = {}
    with running() as servers, tempfile.TemporaryDirectory() as scratch:
        for case, requests in cases(Path(scratch)).items():
            if wanted not in case:
                continue
            rows = results[case] = {name: [] for name in servers}
            for _ in range(rounds):
                for name, server in servers.items():
                    rows[name].append(run_wrk(server.port, server.process.pid, requests, seconds, Path(scratch)))
                    server.between()
            print(f"{case}: done", file=sys.stderr)
    return results


def table(results: dict[str, dict[str, list[Run]]]) -> str:
    """Markdown: medians, and ratios against nginx's return in the same round."""
    lines = []
    for case, rows in results.items():
        lines += [f"### {case}", "", "| server | requests/s | x nginx | CPU µs | p50 ms | p99 ms | errors |"]
        lines.append("|---|--:|--:|--:|--:|--:|--:|")
        base = rows.get(BASE)
        for name, runs in rows.items():
            ratio = statistics.median(r.rate / b.rate for r, b in zip(runs, base, strict=True)) if base else 0.0
            row = [statistics.median(getattr(run, field) for run in runs) for field in ("rate", "cpu_us", "p50", "p99")]
            errors = sum(run.errors for run in runs)
            lines.append(
                f"| {name} | {row[0]:,.0f} | {ratio:.2f} | {row[1]:.1f} | {row[2]:.2f} | {row[3]:.2f} | {errors} |"
            )
        lines.append("")
    return "\n".join(lines)


def machine() -> str:
    """What it ran on."""
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return f"{os.cpu_count()} CPUs, {names[0] if names else platform.processor()}, Linux {platform.release()}"


def main() -> None:
    """Measures and prints; keeps the table in bench/results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=4.0, help="of each run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", default="", help="only cases with this in their name")
    parser.add_argument("--json", action="store_true", help="for machines")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that no server is left behind
    results = measure(options.seconds, options.rounds, options.case)
    when = f"{time.strftime('%Y-%m-%d')}, {options.rounds} rounds of {options.seconds:g} s"
    text = f"{machine()}, {when}\n\n{table(results)}"
    (ROOT / "bench" / "results" / "redirects.md").write_text(text)
    if options.json:
        print(
            json.dumps({c: {n: [asdict(r) for r in runs] for n, runs in rows.items()} for c, rows in results.items()})
        )
    else:
        print(text)


if __name__ == "__main__":
    main()
