"""What links that need a decision cost: from the bytes of a request to the bytes of its answer.

`python -m bench.rules [--seconds N] [--json]`

In one process, over the real connection, slot, table and journal, and a transport that throws away what it is given; no
load, no kernel, no store. Every request has another head, as browsers send them, and behind a proxy another client.
Links that ask MongoDB for each request (`max_visits`) or wait for bcrypt are no part of this.
May import: front, redirect, links, journal, heads, machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from app.front import Connection, Gate, pack_peer
from app.limits import Scans
from app.links import CachedLink, Parameter, Rule, Variant, When
from app.redirect import AnswerBook, Hosts, Specials, Table, Visitors, entry_of
from bench.features import open_journal
from bench.heads import browser_heads
from bench.machine import RESULTS, keep_json, machine_line

__all__ = ["CASES", "main", "measure"]

HEADS = 1_000
PASSES_MIN = 3
WANTED = 30_000  # a second
TARGET = "https://example.com/page?id=1#top"
PEER, PROXY = pack_peer(("192.0.2.7", 5555)), pack_peer(("10.0.0.1", 5555))


def rule(place: int, **when: Any) -> Rule:
    """A rule with a target of its own."""
    return Rule(f"https://example.com/rule/{place}", When(**when))


SIX_RULES = (
    rule(1, device=("tablet",), os=("Windows",)),
    rule(2, os=("ChromeOS", "FreeBSD")),
    rule(3, browser=("Opera", "Samsung Internet")),
    rule(4, language=("sv", "no", "da")),
    rule(5, query=(Parameter("utm_source", ("mail",)),)),
    rule(6, country=("JP", "KR")),
)
EVEN = tuple(Variant(f"https://example.com/variant/{place}", 1) for place in range(4))
#: Name -> the link's fields, what follows its slug, and whether requests come through a trusted proxy.
CASES: dict[str, tuple[dict[str, Any], str, bool]] = {
    "code 301": ({"code": 301}, "", False),
    "expires_at": ({"expires": 4_000_000_000}, "", False),
    "forward_query": ({"forward_query": True}, "?utm_source=news&utm_medium=mail", False),
    "forward_path": ({"forward_path": True}, "/docs/intro.html", False),
    "rules, the first holds": ({"rules": (rule(1, device=("desktop", "mobile", "tablet")),)}, "", False),
    "six rules, none holds": ({"rules": SIX_RULES}, "?utm_source=news", False),
    "32 rules, none holds": ({"rules": SIX_RULES[:4] * 8}, "", False),
    "hours in a time zone": ({"rules": (rule(1, hours=(0, 1), timezone="Europe/Berlin"),)}, "", False),
    "four variants": ({"variants": EVEN}, "", False),
    "six rules, four variants, query": (
        {"rules": SIX_RULES, "variants": EVEN, "forward_query": True},
        "?utm_source=news",
        False,
    ),
    "the same behind a proxy": (
        {"rules": SIX_RULES, "variants": EVEN, "forward_query": True},
        "?utm_source=news",
        True,
    ),
}


class Sink:
    """A transport that takes everything."""

    def __init__(self) -> None:
        self.written = 0
        self.last = b""

    def write(self, data: bytes) -> None:
        """Counts an answer."""
        self.written += 1
        self.last = data

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """There is no socket."""
        return default

    def get_write_buffer_size(self) -> int:
        """Nothing is unsent."""
        return 0

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None


def main(words: Sequence[str] | None = None) -> int:
    """Measures and prints; exit status 1 when a case is slower than WANTED."""
    parser = argparse.ArgumentParser(prog="python -m bench.rules", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="of each case (default 1)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results (default bench/results)")
    parser.add_argument("--json", action="store_true", help="for machines")
    options = parser.parse_args(words)
    rates = measure(options.seconds)
    kept = {"heading": machine_line(), "hot_path": _hot_path(), "redirects_per_second": rates}
    keep_json("rules", kept, options.out)
    print(json.dumps(kept) if options.json else table(kept))
    return 0 if min(rates.values()) >= WANTED else 1


def measure(seconds: float) -> dict[str, float]:
    """Redirects a second of each case, by the fastest of many passes: others only make it slower."""
    with open_journal() as journal:
        table = Table(1_000)
        visitors = Visitors(trusted=[ip_network("10.0.0.0/8")], country=lambda address, claimed: "DE")
        visitors.load()
        gate = _gate(table, visitors, journal.append)
        return {name: _rate(gate, name, seconds) for name in CASES}


def table(kept: dict[str, Any]) -> str:
    """Markdown."""
    lines = [f"{kept['heading']}, {kept['hot_path']}", "", "| link | redirects/s | µs |", "|---|--:|--:|"]
    lines += [f"| {name} | {rate:,.0f} | {1e6 / rate:.1f} |" for name, rate in kept["redirects_per_second"].items()]
    return "\n".join(lines) + "\n"


def _rate(gate: Gate, name: str, seconds: float) -> float:
    fields, suffix, is_proxied = CASES[name]
    link = CachedLink(**{"link": 7, "state": "active", "target": TARGET, **fields})
    gate.table.put(b"abc", entry_of(link, time.time()))
    sink = Sink()
    connection: Any = Connection(gate, PROXY if is_proxied else PEER)
    connection.connection_made(sink)
    requests = [_request(suffix, head, number if is_proxied else None) for number, head in enumerate(browser_heads())]
    requests = requests[:HEADS]
    for request in requests:
        connection.data_received(request)
        assert sink.last.startswith(b"HTTP/1.1 30"), sink.last
    passes: list[float] = []
    end = time.perf_counter() + seconds
    while len(passes) < PASSES_MIN or time.perf_counter() < end:
        began = time.thread_time()
        for request in requests:
            connection.data_received(request)
        passes.append((time.thread_time() - began) / len(requests))
    assert sink.written == len(requests) * (len(passes) + 1)
    connection.connection_lost(None)
    return 1 / min(passes)


def _request(suffix: str, head: bytes, client: int | None) -> bytes:
    line = f"GET /abc{suffix} HTTP/1.1\r\n".encode()
    if client is None:
        return line + head
    return line + head[:-2] + f"X-Forwarded-For: 203.0.{client >> 8 & 255}.{client & 255}\r\n\r\n".encode()


def _gate(table: Table, visitors: Visitors, append: Callable[..., bool]) -> Gate:
    unused: Any = None
    return Gate(
        table=table,
        book=AnswerBook(time.time()),
        hosts=Hosts("sho.rt"),
        resolver=unused,
        specials=Specials(table=table, visitors=visitors, visits=unused, passwords=unused),
        scans=Scans(None, time.monotonic),
        append=append,
        make_exchange=lambda owner: unused,
        call_soon=lambda *args: None,
        now=time.time,
        connections_max=10,
    )


def _hot_path() -> str:
    import app.front.connection as hot  # noqa: PLC0415

    return "interpreted" if hot.__file__.endswith(".py") else "compiled"


if __name__ == "__main__":
    sys.exit(main())
