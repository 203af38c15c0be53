"""Measures one case: warms, asks every server in every round, looks for disturbance, and counts clicks.

In: a case and running servers. Out: a `Measured`. May import: cases, load, machine, profiler, report, servers.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.cases import Case, traffic_of
from bench.load import Run, Traffic, run_generator, run_wrk
from bench.machine import resident_bytes, wait_for_quiet
from bench.product import COUNTS_OLD_S, Product
from bench.profiler import profile
from bench.report import FOREIGN_SHARE
from bench.servers import NODE, TORNADO, Server

__all__ = ["Measured", "Pace", "measure_case"]

WARM_DEPTH = 16
QUIET_LIMIT_S = 3.0  # a run is waited with for so long while others use the CPUs
SLOW, SLOW_EVERY = (NODE, TORNADO), 3  # so far behind that every third round says enough
WRK_SECONDS_MIN = 1.0  # it knows whole seconds


@dataclass(frozen=True, slots=True)
class Pace:
    """How long and how often: seconds of a run, rounds of all servers, repeats of a run that others disturb."""

    seconds: float
    rounds: int
    patience: int


@dataclass(slots=True)
class Measured:
    """Row -> its runs; and the share of look-ups that BoltLink's memory answered, those in the background included."""

    rows: dict[str, list[Run]]
    l1_share: float | None


def measure_case(case: Case, servers: Sequence[Server], pace: Pace, *, profiles: Path | None = None) -> Measured:
    """Asks all servers in turn, as often as there are rounds; then, with a folder for them, profiles BoltLink's."""
    rng = random.Random(11)
    product = next((server.product for server in servers if server.product is not None), None)
    with tempfile.TemporaryDirectory() as folder:
        traffic = traffic_of(case, Path(folder))
        for server in servers:
            _warm(case, server, next(iter(traffic.values())))
        before = _look_ups(product)
        rows: dict[str, list[Run]] = {server.name + kind: [] for server in servers for kind in traffic}
        for number in range(1, pace.rounds + 1):
            for server in servers:
                if server.name in SLOW and number % SLOW_EVERY != 1:
                    continue
                for kind, wanted in traffic.items():
                    asked = replace(wanted, skip=rng.randrange(1 << 30))
                    run = _run(case, server, asked, pace)
                    run.number = number
                    rows[server.name + kind].append(run)
            _say(f"{case.name}: round {number} of {pace.rounds}")
        hits, misses = (after - earlier for after, earlier in zip(_look_ups(product), before, strict=True))
        for server in servers:
            if profiles is not None and server.product is not None:
                _profile(case, server, next(iter(traffic.values())), pace, profiles)
    return Measured(rows, hits / (hits + misses) if hits + misses else None)


def _run(case: Case, server: Server, traffic: Traffic, pace: Pace) -> Run:
    """One measurement; again while others disturb it, as often as patience allows, and the least disturbed counts."""
    runs = []
    for _ in range(pace.patience + 1):
        wait_for_quiet(QUIET_LIMIT_S if pace.patience else 0.0)
        runs.append(_run_once(case, server, traffic, pace.seconds * case.stretch))
        if runs[-1].foreign_share <= FOREIGN_SHARE:
            break
    return min(runs, key=lambda run: run.foreign_share)


def _run_once(case: Case, server: Server, traffic: Traffic, seconds: float) -> Run:
    if case.tool == "wrk":
        run = run_wrk(server.port, server.pid, traffic, seconds=max(WRK_SECONDS_MIN, seconds))
    else:
        run = run_generator(server.port, server.pid, traffic, seconds=seconds)
    if server.product is not None:
        run.clicks = server.product.take_clicks()
        run.anonymous_bytes = resident_bytes(server.pid)["RssAnon"]
    server.tidy()
    return run


def _warm(case: Case, server: Server, traffic: Traffic) -> None:
    """Brings a case's links into BoltLink's memory, by asking for them."""
    if server.product is not None and case.warm:
        asked = replace(traffic, depth=WARM_DEPTH, close=False, rate=0.0)
        run_generator(server.port, server.pid, asked, requests=case.warm)
        server.product.take_clicks()


def _look_ups(product: Product | None) -> tuple[float, float]:
    """Hits and misses of L1 so far."""
    if product is None:
        return 0.0, 0.0
    time.sleep(COUNTS_OLD_S)
    hits, misses = (product.count("cache_requests", 'layer="l1"', f'result="{kind}"') for kind in ("hit", "miss"))
    return hits, misses


def _profile(case: Case, server: Server, traffic: Traffic, pace: Pace, folder: Path) -> None:
    text = profile(server, lambda: _run_once(case, server, traffic, max(2.0, pace.seconds)))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"profile-{case.name}-{server.name.replace(' ', '-')}.txt").write_text(text)
    _say(f"{case.name}, {server.name}:\n{text}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
