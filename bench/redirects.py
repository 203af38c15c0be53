"""Redirects of BoltLink and its peers, one by one and interleaved, on this machine.

`python -m bench.redirects [--case NAME …] [--servers PART …] [--seconds N] [--rounds N] [--json] …`

The server runs on CPU 0, the load, the stores and the aggregator on CPU 1. BoltLink is the product as shipped: one web
process, strict heads, journal, metrics, Date. Each round asks every server once, and shortly, so that a slow moment of
the machine meets all alike; a ratio is the median of many rounds' ratios. After each run the records in the journal are
compared with the answers.
Kept in bench/results/redirects.json, case by case: cases may be measured one at a time, and `--report` prints all.
Exit status 1 when an answer was not the wanted one, or a click is missing. May import: all of bench.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from bench.cases import CASES, Case, traffic_of
from bench.chart import draw
from bench.load import Run, Traffic, run_generator, run_wrk
from bench.machine import RESULTS, keep_json, machine_line, read_kept, wait_for_quiet
from bench.profiler import profile
from bench.report import FOREIGN_SHARE, findings, report
from bench.servers import Server, available, start_servers

__all__ = ["main", "select"]

KEPT = "redirects"
WARM_DEPTH = 16
QUIET_LIMIT_S = 10.0  # a run is waited with for so long while others use the CPUs


def main(words: Sequence[str] | None = None) -> int:
    """Measures, keeps and prints."""
    options = _parser().parse_args(words)
    # So that no server is left behind when this is told to end.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if not options.report:
        _measure(options)
    kept = read_kept(KEPT, options.out)
    results = {name: _runs(case["rows"]) for name, case in kept.items()}
    text = report(results, "\n".join(dict.fromkeys(case["heading"] for case in kept.values())))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "redirects.md").write_text(text)
    note = draw(results, options.out / "redirects.png")
    if note:
        print(note, file=sys.stderr)
    print(json.dumps(kept) if options.json else text)
    measured = options.case or list(results)
    wrong = [
        line
        for case in CASES
        if case.name in measured and case.name in results
        for line in findings(case, results[case.name])
    ]
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.redirects", description=(__doc__ or "").split("\n", 1)[0])
    names = ", ".join(case.name for case in CASES)
    parser.add_argument("--case", action="append", help=f"measure this one (may be repeated): {names}")
    parser.add_argument("--servers", action="append", help="only servers with this in their name (may be repeated)")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each run (default 0.5)")
    parser.add_argument("--rounds", type=int, default=9, help="how often each server is asked (default 9)")
    parser.add_argument("--patience", type=int, default=2, help="repeats of a run that others disturb (default 2)")
    parser.add_argument("--aggregator", choices=("stopped", "running"), default="stopped", help="beside the load")
    parser.add_argument("--hot-links", type=int, help="BOLTLINK_HOT_LINKS where all links are to be in memory")
    parser.add_argument("--profile", action="store_true", help="show where BoltLink's time goes (perf)")
    parser.add_argument("--report", action="store_true", help="measure nothing, print what was kept")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results (default bench/results)")
    parser.add_argument("--json", action="store_true", help="for machines: every run of every case")
    return parser


def select(names: Sequence[str] | None) -> list[Case]:
    """The cases of these names, all without any, ordered by the servers they share. Ends the program at a wrong one."""
    known = {case.name: case for case in CASES}
    wrong = [name for name in names or () if name not in known]
    if wrong:
        raise SystemExit(f"no case {', '.join(wrong)}; there are {', '.join(known)}")
    return sorted((known[name] for name in names or known), key=lambda case: case.links)


def _measure(options: argparse.Namespace) -> None:
    reasons = available()
    if shutil.which("wrk") is None:
        reasons["wrk"] = "wrk is missing (make bench-tools)"
    for reason in dict.fromkeys(filter(None, reasons.values())):
        print(f"{reason}: not compared", file=sys.stderr)

    def is_wanted(name: str) -> bool:
        is_there = not any(reason for server, reason in reasons.items() if name.startswith(server))
        return is_there and (not options.servers or any(part in name for part in options.servers))

    cases = [case for case in select(options.case) if case.tool != "wrk" or shutil.which("wrk")]
    for links, group in groupby(cases, key=lambda case: case.links):
        members = list(group)
        names = [name for name in dict.fromkeys(name for case in members for name in case.servers) if is_wanted(name)]
        hot_links = options.hot_links or (links * 6 // 5 if links > 100_000 else None)
        with ExitStack() as stack:
            _say(f"starting {len(names)} servers with {links:,} links")
            servers = start_servers(
                stack, names, links=links, hot_links=hot_links, is_aggregated=options.aggregator == "running"
            )
            for case in members:
                _keep(case, _measure_case(case, servers, options), options)


def _measure_case(case: Case, servers: dict[str, Server], options: argparse.Namespace) -> dict[str, list[Run]]:
    """Row -> its runs."""
    chosen = [servers[name] for name in case.servers if name in servers]
    rng = random.Random(11)
    with tempfile.TemporaryDirectory() as folder:
        traffic = traffic_of(case, Path(folder))
        for server in chosen:
            _warm(case, server, next(iter(traffic.values())))
        rows: dict[str, list[Run]] = {server.name + kind: [] for server in chosen for kind in traffic}
        for number in range(1, options.rounds + 1):
            for server in chosen:
                for kind, wanted in traffic.items():
                    asked = replace(wanted, skip=rng.randrange(1 << 30))
                    rows[server.name + kind].append(_run(case, server, asked, options))
            _say(f"{case.name}: round {number} of {options.rounds}")
        for server in chosen:
            if options.profile and server.product is not None:
                _profile(case, server, next(iter(traffic.values())), options)
    return rows


def _profile(case: Case, server: Server, traffic: Traffic, options: argparse.Namespace) -> None:
    text = profile(server, lambda: _run_once(case, server, traffic, options.seconds * case.stretch))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"profile-{case.name}-{server.name.replace(' ', '-')}.txt").write_text(text)
    _say(f"{case.name}, {server.name}:\n{text}")


def _warm(case: Case, server: Server, traffic: Traffic) -> None:
    """Brings a case's links into BoltLink's memory, by asking for them."""
    if server.product is not None and case.warm:
        asked = replace(traffic, depth=WARM_DEPTH, close=False, rate=0.0)
        run_generator(server.port, server.pid, asked, requests=case.warm)
        server.product.take_clicks()


def _run(case: Case, server: Server, traffic: Traffic, options: argparse.Namespace) -> Run:
    """One measurement; again while others disturb it, as often as `--patience` says, and the least disturbed counts."""
    runs = []
    for _ in range(options.patience + 1):
        wait_for_quiet(QUIET_LIMIT_S if options.patience else 0.0)
        runs.append(_run_once(case, server, traffic, options.seconds * case.stretch))
        if runs[-1].foreign_share <= FOREIGN_SHARE:
            break
    return min(runs, key=lambda run: run.foreign_share)


def _run_once(case: Case, server: Server, traffic: Traffic, seconds: float) -> Run:
    if case.tool == "wrk":
        run = run_wrk(server.port, server.pid, traffic, seconds=max(1.0, seconds))  # it knows whole seconds
    else:
        run = run_generator(server.port, server.pid, traffic, seconds=seconds)
    if server.product is not None:
        run.clicks = server.product.take_clicks()
    server.tidy()
    return run


def _keep(case: Case, rows: dict[str, list[Run]], options: argparse.Namespace) -> None:
    kept: dict[str, Any] = read_kept(KEPT, options.out)
    how = f"{options.rounds} rounds of {options.seconds:g} s, aggregator {options.aggregator}"
    kept[case.name] = {
        "heading": f"{machine_line()}, {how}",
        "rows": {row: [asdict(run) for run in runs] for row, runs in rows.items()},
    }
    keep_json(KEPT, kept, options.out)


def _runs(rows: dict[str, list[dict[str, Any]]]) -> dict[str, list[Run]]:
    return {row: [Run(**run) for run in runs] for row, runs in rows.items()}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
