"""What the API costs: making links one by one and in batches, and showing, listing and searching among many.

`python -m bench.api [--links N] [--folder DIR] [--case NAME …] [--seconds N] [--json]`

The product as shipped, its web process on a CPU of its own; the engines and whoever asks are on the other one. Two
figures for each case: calls a second of the web process's CPU time, which is what a core does that waits for nobody,
asked by CLIENTS connections at once; and how long one call takes, asked by one connection that waits for each answer.
100,000 links are quickly made; with `--folder` many more are kept for the next run (10,000,000 take half an hour).
Exit status 1 when a figure is not reached. May import: links, machine, product, pages.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.links import TAGS
from bench.machine import LOAD_CPU, cpu_seconds, keep_json, machine_line
from bench.pages import add_outputs, put_table
from bench.product import KEY, Product, compile_hot_path
from bench.servers import make_folder

__all__ = ["BATCH", "CASES", "Case", "ask_often", "cases", "main", "measure", "request", "table"]

CLIENTS = 64
BATCH = 1_000
SINGLE_MIN, SINGLE_MAX = 20, 400  # calls of which the time is taken one by one


@dataclass(frozen=True, slots=True)
class Case:
    """Something to ask for.

    Attributes:
        make: the request for a random number.
        status: of a right answer.
        items: links that one call makes or shows.
        rate: items that a second of CPU is to bring; 0: none is set.
        p95_ms: within which 95 of 100 calls are to be answered; 0: none is set.
        clients: that ask at once.
    """

    name: str
    title: str
    make: Callable[[int], bytes]
    status: bytes = b"200"
    items: int = 1
    rate: int = 0
    p95_ms: float = 0.0
    clients: int = CLIENTS


def request(method: str, path: str, body: Any = None) -> bytes:
    """A request with the key, and with JSON unless `body` is None."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
    if body is None:
        return f"{head}\r\n".encode()
    data = json.dumps(body).encode()
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


def wish(number: int, row: int = 0) -> dict[str, str]:
    """A link to make."""
    return {"target": f"https://example.com/page/{number}/{row}?utm_source=news", "title": f"Page {number}"}


def cases(links: int) -> tuple[Case, ...]:
    """All cases, among so many links."""

    def get(path: str) -> Callable[[int], bytes]:
        return lambda number: request("GET", path.format(n=number % links, tag=number % TAGS))

    def batch(number: int) -> bytes:
        return request("POST", "/api/v1/links/batch", {"links": [wish(number, row) for row in range(BATCH)]})

    def one(number: int) -> bytes:
        return request("POST", "/api/v1/links", wish(number))

    page, found = "/api/v1/links?limit=50", "/api/v1/links?limit=50&q="
    return (
        Case("create", "made one by one", one, b"201", rate=2_000),
        Case("batch", "made in batches of 1,000", batch, items=BATCH, rate=20_000, clients=2),
        Case("get", "one link shown", get("/api/v1/links/b{n}"), p95_ms=20),
        Case("list", "the newest 50", get(page), p95_ms=20, clients=8),
        Case("list-tag", "the newest 50 of a tag", get(page + "&tag=t{tag}"), p95_ms=20, clients=8),
        Case("search", "50 found by a word of one in a thousand", get(found + "w{tag}"), p95_ms=20, clients=8),
        Case("search-two", "the one found by two words", get(found + "w{tag}+b{n}"), p95_ms=20, clients=8),
        Case("search-all", "50 found by a word of every link", get(found + "example"), p95_ms=20, clients=8),
    )


CASES = tuple(case.name for case in cases(1))


def main(words: Sequence[str] | None = None) -> int:
    """Measures and prints; exit status 1 when a figure is not reached."""
    parser = argparse.ArgumentParser(prog="python -m bench.api", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--case", action="append", choices=CASES, help="measure this one (may be repeated)")
    parser.add_argument("--links", type=int, default=100_000, help="stored before (default 100,000)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each case (default 3)")
    parser.add_argument("--folder", type=Path, help="keeps the stores' data, so that the next run need not make it")
    parser.add_argument("--interpreted", action="store_true", help="measure the hot path as it is without a compiler")
    add_outputs(parser)
    options = parser.parse_args(words)
    compile_hot_path()
    chosen = [case for case in cases(options.links) if case.name in (options.case or CASES)]
    how = ", interpreted" if options.interpreted else ""
    heading = f"{machine_line()}, {options.links:,} links stored, {options.seconds:g} s a case{how}"
    kept: dict[str, Any] = {"heading": heading, "cases": measure(chosen, options)}
    keep_json("api", kept, options.out)
    text = table(kept)
    if options.docs:
        put_table("bench.api", text)
    print(json.dumps(kept) if options.json else text)
    return 0 if all(row["is_reached"] for row in kept["cases"].values()) else 1


def measure(chosen: Sequence[Case], options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The figures of each case."""
    with ExitStack() as stack:
        folder = options.folder or make_folder(stack)
        folder.mkdir(parents=True, exist_ok=True)
        product = Product(stack, folder, options.links, 1, is_described=True, BOLTLINK_API_RATE="off")
        port, pid = product.start_web(compiled=not options.interpreted)
        os.sched_setaffinity(0, {LOAD_CPU})
        return {case.name: _measure(case, port, pid, options.seconds) for case in chosen}


def _measure(case: Case, port: int, pid: int, seconds: float) -> dict[str, Any]:
    asyncio.run(_load(case, port, seconds / 5))  # connections, caches, memory
    cpu_s, clock_s = cpu_seconds(pid), time.monotonic()
    calls = asyncio.run(_load(case, port, seconds))
    cpu_s, clock_s = cpu_seconds(pid) - cpu_s, time.monotonic() - clock_s
    times_ms = asyncio.run(_take_times(case, port, seconds))
    p95 = statistics.quantiles(times_ms, n=20)[18]
    rate = calls * case.items / cpu_s
    return {
        "title": case.title,
        "per_second": calls * case.items / clock_s,
        "per_cpu_second": rate,
        "cpu_us": 1e6 * cpu_s / calls,
        "p50_ms": statistics.median(times_ms),
        "p95_ms": p95,
        "rate_wanted": case.rate,
        "p95_wanted_ms": case.p95_ms,
        "is_reached": rate >= case.rate and (not case.p95_ms or p95 <= case.p95_ms),
    }


def table(kept: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        kept["heading"],
        "",
        "| links | a second | a second of a core | to reach | CPU of a call | p50 | p95 | to reach |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in kept["cases"].values():
        rate = f"{row['rate_wanted']:,}" if row["rate_wanted"] else "–"
        limit = f"{row['p95_wanted_ms']:g} ms" if row["p95_wanted_ms"] else "–"
        cells = [row["title"], f"{row['per_second']:,.0f}", f"{row['per_cpu_second']:,.0f}", rate]
        cells += [f"{row['cpu_us']:,.0f} µs", f"{row['p50_ms']:.2f} ms", f"{row['p95_ms']:.2f} ms", limit]
        lines.append(f"| {' | '.join(cells)} |" + ("" if row["is_reached"] else " **not reached**"))
    return "\n".join(lines) + "\n"


async def _load(case: Case, port: int, seconds: float) -> int:
    """How many calls all clients made, each at least one: on a busy machine connecting takes longer than a case."""
    end = time.monotonic() + seconds
    chosen = random.SystemRandom()

    async def client() -> int:
        calls = 0

        async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal calls
            while not calls or time.monotonic() < end:
                await _call(reader, writer, case, chosen.getrandbits(40))
                calls += 1

        await _connected(port, ask)
        return calls

    return sum(await asyncio.gather(*(client() for _ in range(case.clients))))


async def _take_times(case: Case, port: int, seconds: float) -> list[float]:
    """How many ms each call of one client took."""
    times: list[float] = []

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        end = time.monotonic() + seconds
        while len(times) < SINGLE_MIN or (time.monotonic() < end and len(times) < SINGLE_MAX):
            times.append(await _timed(reader, writer, case))

    await _connected(port, ask)
    return times


async def ask_often(case: Case, port: int, calls: int) -> list[float]:
    """How many ms each of so many calls of one client took."""
    times: list[float] = []

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while len(times) < calls:
            times.append(await _timed(reader, writer, case))

    await _connected(port, ask)
    return times


async def _timed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, case: Case) -> float:
    began = time.perf_counter()
    await _call(reader, writer, case, random.getrandbits(40))
    return 1e3 * (time.perf_counter() - began)


async def _connected(port: int, ask: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await ask(reader, writer)
    writer.close()
    await writer.wait_closed()


async def _call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, case: Case, number: int) -> None:
    """One request; ends the program at an answer that is not the wanted one."""
    writer.write(case.make(number))
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r", 1)[0]))
    if head.split(b" ", 2)[1] != case.status or (case.items > 1 and body.count(b'"status":201') != case.items):
        raise SystemExit(f"{case.name}: answered {head.decode()}{body[:500].decode()}")


if __name__ == "__main__":
    sys.exit(main())
