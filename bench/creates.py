"""How many links one core of a web process makes, one by one and in batches.

`python -m bench.creates [--seconds N] [--json]`

The product as shipped, its web process on a CPU of its own; the engines and whoever asks are on the other one. One by
one: CLIENTS connections that each wait for their answer; creates of one turn of the loop share writes. In batches: of
BATCH links, two at a time. The figure is links a second of the web process's CPU time: what a core makes that waits for
nobody. May import: machine, product.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.machine import LOAD_CPU, RESULTS, cpu_seconds, keep_json, machine_line
from bench.product import KEY, Product, compile_hot_path

__all__ = ["WANTED", "main", "request", "table"]

CLIENTS = 64
BATCH, BATCH_CLIENTS = 1_000, 2
WANTED = {"one by one": 2_000, "in batches": 20_000}  # a second of CPU
Made = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[int]]


def main(words: Sequence[str] | None = None) -> int:
    """Measures and prints; exit status 1 when a case is slower than WANTED."""
    parser = argparse.ArgumentParser(prog="python -m bench.creates", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each case (default 5)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results (default bench/results)")
    parser.add_argument("--json", action="store_true", help="for machines")
    options = parser.parse_args(words)
    compile_hot_path()
    kept = {"heading": machine_line(), "cases": measure(options.seconds)}
    keep_json("creates", kept, options.out)
    print(json.dumps(kept) if options.json else table(kept))
    cases = kept["cases"]
    assert isinstance(cases, dict)
    return 0 if all(cases[name]["per_cpu_second"] >= wanted for name, wanted in WANTED.items()) else 1


def measure(seconds: float) -> dict[str, dict[str, float]]:
    """Links a second by the clock and by CPU, of each case."""
    with tempfile.TemporaryDirectory(prefix="bl-") as name, ExitStack() as stack:
        port, pid = Product(stack, Path(name), 1).start_web(compiled=True)
        os.sched_setaffinity(0, {LOAD_CPU})
        cases: dict[str, tuple[Made, int]] = {
            "one by one": (_make_one, CLIENTS),
            "in batches": (_make_batch, BATCH_CLIENTS),
        }
        found = {}
        for case, (make, clients) in cases.items():
            asyncio.run(_load(port, make, clients, seconds / 5))  # connections, caches, memory
            cpu_s, clock_s = cpu_seconds(pid), time.monotonic()
            made = asyncio.run(_load(port, make, clients, seconds))
            cpu_s, clock_s = cpu_seconds(pid) - cpu_s, time.monotonic() - clock_s
            found[case] = {"per_second": made / clock_s, "per_cpu_second": made / cpu_s}
        return found


def table(kept: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        kept["heading"],
        "",
        "| links made | a second | a second of a core | µs of CPU each |",
        "|---|--:|--:|--:|",
    ]
    for name, case in kept["cases"].items():
        rate = case["per_cpu_second"]
        lines.append(f"| {name} | {case['per_second']:,.0f} | {rate:,.0f} | {1e6 / rate:.0f} |")
    return "\n".join(lines) + "\n"


def request(path: str, body: bytes) -> bytes:
    """A POST of JSON with the key."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def _load(port: int, make: Made, clients: int, seconds: float) -> int:
    """How many links all clients made."""
    end = time.monotonic() + seconds

    async def client(number: int) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        made, turn = 0, 0
        while time.monotonic() < end:
            made += await make(reader, writer, number * 1_000_000 + turn)
            turn += 1
        writer.close()
        await writer.wait_closed()
        return made

    return sum(await asyncio.gather(*map(client, range(clients))))


async def _make_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> int:
    wish = {"target": f"https://example.com/page/{number}?utm_source=news", "title": f"Page {number}"}
    await _call(reader, writer, request("/api/v1/links", json.dumps(wish).encode()), b"201")
    return 1


async def _make_batch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> int:
    wishes = [
        {"target": f"https://example.com/page/{number}/{row}?utm_source=news", "title": f"Page {row}"}
        for row in range(BATCH)
    ]
    body = await _call(reader, writer, request("/api/v1/links/batch", json.dumps({"links": wishes}).encode()), b"200")
    made = body.count(b'"status":201')
    if made != BATCH:
        raise SystemExit(f"a batch made {made} of {BATCH} links")
    return made


async def _call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes, status: bytes) -> bytes:
    """The body of the answer, which must have this status."""
    writer.write(data)
    head = await reader.readuntil(b"\r\n\r\n")
    if head.split(b" ", 2)[1] != status:
        raise SystemExit(f"answered {head.decode()}")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r", 1)[0])
    return await reader.readexactly(length)


if __name__ == "__main__":
    sys.exit(main())
