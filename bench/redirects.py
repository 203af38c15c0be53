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
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from itertools import groupby
from typing import Any

from bench.cases import CASES, Case
from bench.chart import draw
from bench.load import Run
from bench.machine import keep_json, machine_line, read_kept
from bench.measure import Measured, Pace, measure_case
from bench.pages import add_outputs, put_table
from bench.report import findings, report
from bench.servers import available, start_servers

__all__ = ["main", "select"]

KEPT = "redirects"


def main(words: Sequence[str] | None = None) -> int:
    """Measures, keeps and prints."""
    options = _parser().parse_args(words)
    # So that no server is left behind when this is told to end.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if not options.report:
        _measure(options)
    kept = read_kept(KEPT, options.out)
    results = {name: _runs(case["rows"]) for name, case in kept.items()}
    text = report(
        results,
        "\n".join(dict.fromkeys(case["heading"] for case in kept.values())),
        {name: case["l1_share"] for name, case in kept.items() if case.get("l1_share") is not None},
    )
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "redirects.md").write_text(text)
    if options.docs:
        put_table("bench.redirects", text)
    note = draw(results, options.out / "redirects.png")
    if note:
        _say(note)
    print(json.dumps(kept) if options.json else text)
    wrong = [line for case in select(options.case) for line in findings(case, results.get(case.name, {}))]
    for line in wrong:
        _say(line)
    return 1 if wrong else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.redirects", description=(__doc__ or "").split("\n", 1)[0])
    names = ", ".join(case.name for case in CASES)
    parser.add_argument("--case", action="append", help=f"measure this one (may be repeated): {names}")
    parser.add_argument("--servers", action="append", help="only servers with this in their name (may be repeated)")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each run (default 0.5)")
    parser.add_argument("--rounds", type=int, default=7, help="how often each server is asked (default 7)")
    parser.add_argument("--patience", type=int, default=2, help="repeats of a run that others disturb (default 2)")
    parser.add_argument("--aggregator", choices=("stopped", "running"), default="stopped", help="beside the load")
    parser.add_argument("--hot-links", type=int, help="BOLTLINK_HOT_LINKS where all links are to be in memory")
    parser.add_argument("--profile", action="store_true", help="show where BoltLink's time goes (perf, py-spy)")
    parser.add_argument("--report", action="store_true", help="measure nothing, print what was kept")
    add_outputs(parser)
    return parser


def select(names: Sequence[str] | None) -> list[Case]:
    """The cases of these names, else all but those on request, in the order of servers they share.

    Ends the program at a wrong name.
    """
    known = {case.name: case for case in CASES}
    wrong = [name for name in names or () if name not in known]
    if wrong:
        raise SystemExit(f"no case {', '.join(wrong)}; there are {', '.join(known)}")
    chosen = [known[name] for name in names] if names else [case for case in CASES if not case.is_on_request]
    return sorted(chosen, key=lambda case: case.links)


def _measure(options: argparse.Namespace) -> None:
    reasons = available()
    if shutil.which("wrk") is None:
        reasons["wrk"] = "wrk is missing (make bench-tools)"
    for reason in dict.fromkeys(filter(None, reasons.values())):
        _say(f"{reason}: not compared")

    def is_wanted(name: str) -> bool:
        is_there = not any(reason for server, reason in reasons.items() if name.startswith(server))
        return is_there and (not options.servers or any(part in name for part in options.servers))

    pace = Pace(options.seconds, options.rounds, options.patience)
    cases = [case for case in select(options.case) if not reasons.get(case.tool)]
    for links, group in groupby(cases, key=lambda case: case.links):
        members = list(group)
        names = [name for name in dict.fromkeys(name for case in members for name in case.servers) if is_wanted(name)]
        hot_links = options.hot_links or (links if links > 100_000 else None)
        with ExitStack() as stack:
            _say(f"starting {len(names)} servers with {links:,} links")
            servers = start_servers(
                stack, names, links=links, hot_links=hot_links, is_aggregated=options.aggregator == "running"
            )
            for case in members:
                chosen = [servers[name] for name in case.servers if name in servers]
                measured = measure_case(case, chosen, pace, profiles=options.out if options.profile else None)
                _keep(case, measured, options)


def _keep(case: Case, measured: Measured, options: argparse.Namespace) -> None:
    kept: dict[str, Any] = read_kept(KEPT, options.out)
    how = f"{options.rounds} rounds of {options.seconds:g} s, aggregator {options.aggregator}"
    kept[case.name] = {
        "heading": f"{machine_line()}, {how}",
        "l1_share": measured.l1_share,
        "rows": {row: [asdict(run) for run in runs] for row, runs in measured.rows.items()},
    }
    keep_json(KEPT, kept, options.out)


def _runs(rows: dict[str, list[dict[str, Any]]]) -> dict[str, list[Run]]:
    return {row: [Run(**run) for run in runs] for row, runs in rows.items()}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
