"""What is compared: each case's traffic, its servers, what its ratios are taken of, and the figures to reach.

In: a folder for the load's files. Out: `Traffic` for each row of a case. May import: heads, load, servers.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bench.heads import HOST, browser_heads, permutation, write_heads, write_numbers, zipf
from bench.load import Traffic
from bench.product import KEY
from bench.servers import COMPILED, FEW, GO, INTERPRETED, NGINX, NGINX_MAP, NODE, TORNADO

__all__ = ["CASES", "MIXED", "Case", "Goal", "api_request", "traffic_of"]

PURE, MIXED = "", " + API"
FAST = (NGINX, NGINX_MAP, GO)
MINE = (INTERPRETED, COMPILED)
ALL = (*FAST, NODE, TORNADO, *MINE)
_FEW = tuple(name + FEW for name in MINE)


@dataclass(frozen=True, slots=True)
class Goal:
    """A server's ratio to another that is to be reached."""

    server: str
    versus: str
    least: float


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison.

    Attributes:
        links: how many every server knows; cases with the same number share running servers.
        by: what ratios compare: "rate", "cpu" (time per answer) or "p99".
        kinds: rows for each server: a suffix of its name.
        warm: links asked for before the first round, 16 at a time, so that BoltLink has them in memory.
        is_own_base: ratios are taken of the server's own first row rather than of `base`.
        is_on_request: only measured when it is named, because making its links takes long.
        stretch: how much longer than others it is asked: the last 0.1 % need many requests to be known.
        p99_ms: the 99th percentile that BoltLink's rows are to stay below.
    """

    name: str
    title: str
    servers: tuple[str, ...]
    links: int = 100_000
    by: str = "rate"
    status: str = "302"
    tool: str = "generator"
    base: str = NGINX
    kinds: tuple[str, ...] = (PURE,)
    warm: int = 4_000
    is_own_base: bool = False
    goals: tuple[Goal, ...] = ()
    p99_ms: float | None = None
    stretch: float = 1.0
    is_on_request: bool = False
    numbers: Callable[[], array[int]] = lambda: permutation(1_000)


def _goals(versus: str, interpreted: float, compiled: float) -> tuple[Goal, ...]:
    return Goal(INTERPRETED, versus, interpreted), Goal(COMPILED, versus, compiled)


CASES = (
    Case("one", "One hot link", (*FAST, *MINE), numbers=lambda: array("I", [1])),
    Case(
        "links",
        "1,000 links",
        ALL,
        goals=(
            *_goals(NGINX, 0.85, 1.05),
            *_goals(NGINX_MAP, 0.85, 1.05),
            *_goals(GO, 1.4, 1.8),
            *_goals(TORNADO, 15.0, 15.0),
        ),
    ),
    Case("wrk", "1,000 links, asked by wrk", (*FAST, *MINE), tool="wrk"),
    Case("proxied", "1,000 links, long heads as a TLS proxy passes them on", (*FAST, *MINE)),
    Case(
        "api",
        "1,000 links, one API request in 2,000 on the same connections",
        MINE,
        kinds=(PURE, MIXED),
        is_own_base=True,
        goals=tuple(Goal(name + MIXED, name, 0.9) for name in MINE),
    ),
    Case(
        "zipf",
        "100,000 links, Zipf(1.1)",
        (*FAST, *MINE),
        warm=300_000,
        numbers=lambda: zipf(100_000, 1 << 20),
    ),
    Case(
        "million",
        "1,000,000 links, uniform, all in memory",
        (*FAST, *MINE),
        links=1_000_000,
        warm=2_000_000,
        goals=(*_goals(NGINX, 0.75, 1.0), *_goals(GO, 1.5, 1.5)),
        numbers=lambda: permutation(1_000_000),
    ),
    Case(
        "misses",
        "1,000,000 links, uniform, 100,000 in memory, the others in Redis",
        (NGINX, GO, *_FEW),
        links=1_000_000,
        warm=100_000,
        numbers=lambda: permutation(1_000_000),
    ),
    Case(
        "ten-million",
        "10,000,000 links, uniform, 100,000 in memory, a million in Redis",
        (NGINX, *_FEW),
        links=10_000_000,
        warm=100_000,
        is_on_request=True,
        numbers=lambda: permutation(10_000_000),
    ),
    Case("unknown", "Slugs that nobody has", (NGINX_MAP, GO, *MINE), base=NGINX_MAP, status="404", warm=0),
    Case(
        "close",
        "A new connection for each redirect",
        ALL,
        by="cpu",
        goals=(*_goals(NGINX, 0.8, 1.0), *_goals(GO, 1.3, 1.3)),
    ),
    Case("pipelined", "1,000 links, 16 requests at once", (*FAST, *MINE)),
    Case("latency", "10,000 requests/s, come what may", (*FAST, NODE, *MINE), by="p99", p99_ms=3.0, stretch=3.0),
)


def traffic_of(case: Case, folder: Path) -> dict[str, Traffic]:
    """Suffix of a row -> its traffic; writes the load's files into `folder`."""
    heads, slugs = folder / f"{case.name}.heads", folder / f"{case.name}.slugs"
    write_heads(heads, browser_heads(close=case.name == "close", by_proxy=case.name == "proxied"))
    write_numbers(slugs, case.numbers())
    plain = Traffic(
        heads,
        slugs,
        prefix="/nosuch" if case.status == "404" else "/b",
        close=case.name == "close",
        depth=16 if case.name == "pipelined" else 1,
        rate=10_000 if case.name == "latency" else 0.0,
    )
    return {kind: replace(plain, other=api_request(folder), every=2_000) if kind else plain for kind in case.kinds}


def api_request(folder: Path) -> Path:
    """A file with one request of the API: a link is read, with its key checked."""
    path = folder / "api.request"
    lines = [
        "GET /api/v1/links/b1 HTTP/1.1",
        f"Host: {HOST}",
        "User-Agent: bench",
        "Accept: application/json",
        f"Authorization: Bearer {KEY}",
    ]
    path.write_bytes("".join(line + "\r\n" for line in lines).encode() + b"\r\n")
    return path
