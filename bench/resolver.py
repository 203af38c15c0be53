"""Redirects that memory cannot answer: from Redis, from MongoDB, and of slugs that nobody has.

`python -m bench.resolver [--case NAME …] [--folder DIR] [--json] …`

One web process on CPU 0, as shipped, journal and metrics on; the load, the stores and the 64 connections' generator on
CPU 1. Which layer answered is counted by the process itself, and shown: a rate says nothing without it.
Exit status 1 when an answer was not the wanted one, a click is missing or a figure is not reached. May import: all of
bench.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench.heads import browser_heads, permutation, write_heads, write_numbers
from bench.load import Run, Traffic, run_generator
from bench.machine import keep_json, machine_line, read_kept, resident_bytes, wait_for_quiet
from bench.pages import add_outputs, put_table
from bench.product import COUNTS_OLD_S, Product, compile_hot_path
from bench.profiler import profile
from bench.servers import COMPILED, INTERPRETED, Server, make_folder

__all__ = ["CASES", "Case", "main", "table"]

KEPT = "resolver"
QUIET_LIMIT_S = 3.0
LAYERS = (("l1", "hit"), ("redis", "hit"), ("mongodb", "hit"), ("mongodb", "miss"))


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked for, and how many a second one core is to answer.

    Attributes:
        hot_links: links that the process keeps in memory.
        in_redis: links that Redis holds before the first run.
        is_emptied: Redis forgets them again before each run.
        rate: the figure to reach; 0: none is set.
    """

    name: str
    title: str
    links: int
    hot_links: int
    in_redis: int
    rate: int
    is_emptied: bool = False
    status: str = "302"


MILLION = 1_000_000
CASES = (
    Case("redis", "1,000,000 links, uniform, 1,000 in memory, all in Redis", MILLION, 1_000, MILLION, 25_000),
    Case("mongodb", "the same, none in Redis", MILLION, 1_000, MILLION, 10_000, is_emptied=True),
    Case("unknown", "slugs that nobody has", MILLION, 1_000, MILLION, 0, is_emptied=True, status="404"),
    Case(
        "ten-million",
        "10,000,000 links, uniform, 100,000 in memory, all in Redis",
        10 * MILLION,
        100_000,
        10 * MILLION,
        20_000,
    ),
)


def main(words: Sequence[str] | None = None) -> int:
    """Measures, keeps and prints."""
    options = _parser().parse_args(words)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    chosen = [case for case in CASES if case.name in (options.case or ("redis", "mongodb", "unknown"))]
    for links in dict.fromkeys(case.links for case in chosen):
        _measure(options, [case for case in chosen if case.links == links])
    kept = read_kept(KEPT, options.out)
    text = table(kept)
    if options.docs:
        put_table("bench.resolver", text)
    print(json.dumps(kept) if options.json else text)
    return 0 if all(row["is_reached"] for case in chosen for row in kept[case.name]["rows"].values()) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.resolver", description=(__doc__ or "").split("\n", 1)[0])
    names = ", ".join(case.name for case in CASES)
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES], help=f"one of {names}")
    parser.add_argument("--servers", action="append", choices=("interpreted", "compiled"), help="both, if not given")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run (default 2)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each process is asked (default 5)")
    parser.add_argument("--folder", type=Path, help="keeps the stores' data, so that the next run need not make it")
    parser.add_argument("--profile", action="store_true", help="show where time goes (perf, py-spy)")
    add_outputs(parser)
    return parser


def _measure(options: argparse.Namespace, cases: Sequence[Case]) -> None:
    names = [name for name in (INTERPRETED, COMPILED) if name.split()[-1] in (options.servers or name)]
    compile_hot_path()
    with ExitStack() as stack:
        folder = options.folder or make_folder(stack)
        folder.mkdir(parents=True, exist_ok=True)
        _say(f"making {cases[0].links:,} links")
        product = Product(stack, folder, cases[0].links, max(case.in_redis for case in cases))
        heads = stack.enter_context(tempfile.TemporaryDirectory())
        for case in cases:
            traffic = _traffic(case, Path(heads))
            rows = {}
            for name in names:
                port, pid = product.start_web(compiled=name == COMPILED, hot_links=case.hot_links)
                server = Server(name, port, pid, product)
                rows[name] = _rounds(case, server, traffic, options)
                if options.profile:
                    _say(profile(server, partial(_ask, case, server, traffic, max(3.0, options.seconds))))
            kept = read_kept(KEPT, options.out)
            how = f"{options.rounds} rounds of {options.seconds:g} s"
            kept[case.name] = {"heading": f"{machine_line()}, {how}", "rows": rows}
            keep_json(KEPT, kept, options.out)


def _traffic(case: Case, folder: Path) -> Traffic:
    heads, slugs = folder / "heads", folder / f"{case.name}.slugs"
    write_heads(heads, browser_heads())
    write_numbers(slugs, permutation(case.links))
    return Traffic(heads, slugs, prefix="/nosuch" if case.status == "404" else "/b")


def _rounds(case: Case, server: Server, traffic: Traffic, options: argparse.Namespace) -> dict[str, Any]:
    """All runs of one process, and which layers answered them."""
    product = server.product
    assert product is not None
    time.sleep(COUNTS_OLD_S)
    rng = random.Random(11)
    before = _layers(product)
    runs = []
    for number in range(options.rounds):
        if case.is_emptied:
            product.empty_redis()
        wait_for_quiet(QUIET_LIMIT_S)
        run = _ask(case, server, replace(traffic, skip=rng.randrange(1 << 30)), options.seconds)
        run.number = number
        runs.append(run)
        _say(f"{case.name}, {server.name}: {run.rate:,.0f}/s, {run.cpu_us:.1f} µs, load {run.load_share:.0%}")
    time.sleep(COUNTS_OLD_S)
    counts = {name: after - before[name] for name, after in _layers(product).items()}
    rate = statistics.median(run.rate for run in runs)
    return {
        "runs": [asdict(run) for run in runs],
        "layers": counts,
        "rate": rate,
        "is_reached": rate >= case.rate,
    }


def _ask(case: Case, server: Server, traffic: Traffic, seconds: float) -> Run:
    run = run_generator(server.port, server.pid, traffic, seconds=seconds)
    assert server.product is not None
    run.clicks = server.product.take_clicks()
    run.anonymous_bytes = resident_bytes(server.pid)["RssAnon"]
    if run.errors or set(run.statuses) != {case.status} or run.clicks != run.answered:
        raise SystemExit(f"{case.name}, {server.name}: {run}")
    return run


def _layers(product: Product) -> dict[str, float]:
    return {
        f"{layer} {result}": product.count("cache_requests", f'layer="{layer}"', f'result="{result}"')
        for layer, result in LAYERS
    }


def table(kept: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        *dict.fromkeys(kept[case.name]["heading"] for case in CASES if case.name in kept),
        "",
        "| case | server | requests/s | to reach | CPU µs | server | load | p50 ms | p99 | L1 | Redis | MongoDB "
        "| RssAnon MB |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for case in CASES:
        for name, row in kept.get(case.name, {"rows": {}})["rows"].items():
            lines.append(_line(case, name, row))
    return "\n".join(lines) + "\n"


def _line(case: Case, name: str, row: dict[str, Any]) -> str:
    runs, layers = row["runs"], row["layers"]

    def middle(field: str) -> float:
        return float(statistics.median(run[field] for run in runs))

    total = max(1.0, sum(layers.values()))
    from_mongodb = layers["mongodb hit"] + layers["mongodb miss"]
    shares = " | ".join(f"{count / total:.1%}" for count in (layers["l1 hit"], layers["redis hit"], from_mongodb))
    goal = f"{case.rate:,}" + ("" if row["is_reached"] else " (**not reached**)") if case.rate else "–"
    memory = f"{runs[0]['anonymous_bytes'] / 1e6:.0f}–{runs[-1]['anonymous_bytes'] / 1e6:.0f}"
    cells = [case.title, name, f"{row['rate']:,.0f}", goal, f"{middle('cpu_us'):.1f}"]
    cells += [f"{middle('server_share'):.0%}", f"{middle('load_share'):.0%}"]
    cells += [f"{middle('p50'):.2f}", f"{middle('p99'):.2f}", shares, memory]
    return f"| {' | '.join(cells)} |"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
