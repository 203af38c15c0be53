"""The figures that need the whole tree: stored, uniform, visible, memory, catching up, hostile.

In: a tree. Out: what was measured, as plain values. Each leaves the tree with nothing to apply.
May import: the program's links and stores, traffic, feeding, watching, load, heads, tree.
"""

from __future__ import annotations

import asyncio
import random
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from app.links import Link, LinkStore
from app.stores import mongodb_url, open_mongodb
from bench.clicks.feeding import feed
from bench.clicks.traffic import LINKS, hostile_head
from bench.clicks.watching import watched
from bench.heads import browser_heads, write_heads, write_numbers, zipf
from bench.load import Run, Traffic, run_generator
from bench.tree import Tree

__all__ = ["FIGURES", "fill_links"]

BACKLOG_BYTES = 1 << 30
SERVED_RATE = 10_000.0
STORED_S = 45.0
UNIFORM_RATES = (4_000, 6_000, 8_000, 10_000, 12_000, 14_000, 17_000, 20_000, 25_000)
PROBES = 200
PROBERS = 4
FILL_STEP = 5_000
CAUGHT_UP_S = 2.0
LIMIT_S = 900.0
APPLIED = "boltlink_clicks_aggregated_total"
PIPELINED = 16  # requests in one write of the hostile client
MEGABYTE = b"GET /b1 HTTP/1.1\r\nHost: a\r\nUser-Agent: " + b"x" * (1 << 20) + b"\r\n\r\n"


def fill_links(tree: Tree, count: int = LINKS) -> None:
    """Links b0, b1, … with the ids that traffic names."""

    async def fill() -> None:
        database = open_mongodb(mongodb_url(tree.settings))
        store = LinkStore(database)
        now_ms = time.time_ns() // 1_000_000
        for first in range(0, count, FILL_STEP):
            links = [
                Link(domain="", slug=f"b{n}", target=f"https://example.com/{n}", link=n + 1, version=now_ms, created=0)
                for n in range(first, min(first + FILL_STEP, count))
            ]
            await asyncio.gather(*(store.insert(link) for link in links))
        await database.client.close()

    asyncio.run(fill())


def stored(tree: Tree) -> dict[str, Any]:
    """50,000 clicks a second, Zipf(1.1) over 100,000 links, for a minute."""
    journal = tree.settings.state_dir / "journal"
    with watched(tree) as watch:
        fed = feed(journal, "1k", rate=50_000, seconds=STORED_S)
    began_s, applied = time.monotonic(), watch.samples[-1].applied
    _catch_up(tree, watch.samples[0].applied + fed["records"])
    waited = watch.samples[0].applied + fed["records"] - applied
    return watch.summary() | {"fed_rate": fed["rate"], "left": waited, "left_s": time.monotonic() - began_s}


def uniform(tree: Tree) -> dict[str, Any]:
    """10 million links, each as likely as another: rate after rate until the lag grows."""
    journal = tree.settings.state_dir / "journal"
    steps: list[dict[str, Any]] = []
    for rate in UNIFORM_RATES:
        with watched(tree) as watch:
            fed = feed(journal, "uniform", rate=rate, seconds=20)
        steps.append(watch.summary() | {"fed_rate": fed["rate"]})
        _catch_up(tree, watch.samples[0].applied + fed["records"])
        if steps[-1]["grows"]:
            break
    return {"steps": steps, "rate": max((step["fed_rate"] for step in steps if not step["grows"]), default=0.0)}


def memory(tree: Tree) -> dict[str, Any]:
    """A backlog of 1 GiB in which each click is of another link and another agent, applied to its end."""
    journal = tree.settings.state_dir / "journal"
    with _without_aggregator(tree):
        fed = feed(journal, "unique", size_bytes=BACKLOG_BYTES)
    with watched(tree, every_s=0.5) as watch:
        _catch_up(tree, watch.samples[0].applied + fed["records"])
    return watch.summary() | {"backlog_records": fed["records"], "backlog_bytes": fed["bytes"]}


def catch_up(tree: Tree) -> dict[str, Any]:
    """A backlog of 1 GiB, Zipf(1.1), while 10,000 redirects a second are answered; before it, the same without."""
    journal = tree.settings.state_dir / "journal"
    with _load(tree) as serve:
        before = [serve(5.0) for _ in range(3)][1:]
        with _without_aggregator(tree):
            fed = feed(journal, "1k", size_bytes=BACKLOG_BYTES)
        began_s = time.monotonic()
        runs: list[Run] = []
        with watched(tree) as watch:
            while watch.samples[-1].lag_s > CAUGHT_UP_S or watch.samples[-1].applied < fed["records"]:
                runs.append(serve(5.0))
        took_s = time.monotonic() - began_s
    return watch.summary() | {
        "backlog_records": fed["records"],
        "backlog_bytes": fed["bytes"],
        "caught_up_s": took_s,
        "before": _served(before),
        "meanwhile": _served(runs),
    }


def visible(tree: Tree) -> dict[str, Any]:
    """From a redirect until the API's statistics show it, under 10,000 redirects a second."""
    slugs = [tree.shorten() for _ in range(PROBES)]
    seen: list[float] = []
    with _load(tree) as serve:
        serve(3.0)
        thread = threading.Thread(target=lambda: seen.extend(_probe_all(tree, slugs)))
        thread.start()
        runs = []
        while thread.is_alive():
            runs.append(serve(5.0))
        thread.join()
    ordered = sorted(seen)
    return {
        "probes": len(ordered),
        "p50_s": statistics.median(ordered),
        "p99_s": ordered[int(len(ordered) * 0.99)],
        "max_s": ordered[-1],
        "served": _served(runs),
    }


def hostile(tree: Tree) -> dict[str, Any]:
    """One client that makes everything up, as fast as it is answered, for 30 s; and people at 2,000 a second."""
    ends = time.monotonic() + 30.0
    asked: list[int] = []
    thread = threading.Thread(target=lambda: asked.append(_be_hostile(tree.port, ends)))
    with _load(tree, rate=2_000) as serve, watched(tree) as watch:
        thread.start()
        runs = []
        while time.monotonic() < ends:
            runs.append(serve(5.0))
        thread.join()
    return watch.summary() | {"hostile_rate": asked[0] / 30.0, "served": _served(runs)}


FIGURES = {
    "stored": stored,
    "uniform": uniform,
    "visible": visible,
    "memory": memory,
    "catch-up": catch_up,
    "hostile": hostile,
}


@contextmanager
def _without_aggregator(tree: Tree) -> Iterator[None]:
    tree.supervisorctl("stop", "aggregator")
    yield
    tree.supervisorctl("start", "aggregator")


@contextmanager
def _load(tree: Tree, rate: float = SERVED_RATE) -> Iterator[Any]:
    """Asks for links by Zipf(1.1), an open loop, on the shared port: `serve(seconds)` gives a `Run`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_heads(folder / "heads", browser_heads())
        write_numbers(folder / "slugs", zipf(LINKS, 500_000))
        traffic = Traffic(folder / "heads", folder / "slugs", rate=rate)
        pid = tree.pid("web_0")
        yield lambda seconds: run_generator(tree.port, pid, traffic, seconds=seconds)


def _served(runs: list[Run]) -> dict[str, float]:
    return {
        "rate": statistics.mean(run.rate for run in runs),
        "p50_ms": statistics.median(run.p50 for run in runs),
        "p99_ms": statistics.median(run.p99 for run in runs),
        "p99_worst_ms": max(run.p99 for run in runs),
        "not_302": sum(count for run in runs for status, count in run.statuses.items() if status != "302"),
    }


def _catch_up(tree: Tree, applied: float) -> None:
    """Until so many records are applied in all."""
    deadline = time.monotonic() + LIMIT_S
    while tree.metric(APPLIED) < applied:
        if time.monotonic() > deadline:
            raise SystemExit(f"not caught up within {LIMIT_S:g} s")
        time.sleep(0.2)


def _probe_all(tree: Tree, slugs: list[str]) -> list[float]:
    with ThreadPoolExecutor(PROBERS) as pool:
        return list(pool.map(lambda slug: _probe(tree, slug), slugs))


def _probe(tree: Tree, slug: str) -> float:
    """Seconds from a click until statistics show it; asked every 50 ms."""
    address = f"http://127.0.0.1:{tree.port}/{slug}"
    agent = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0"}
    clicks = tree.api.get(f"/api/v1/links/{slug}/stats").json()["clicks"]
    time.sleep(random.random() / 2)
    began_s = time.perf_counter()
    httpx.get(address, headers=agent, follow_redirects=False, trust_env=False)
    while True:
        time.sleep(0.05)
        if tree.api.get(f"/api/v1/links/{slug}/stats").json()["clicks"] > clicks:
            return time.perf_counter() - began_s


def _be_hostile(port: int, ends_s: float) -> int:
    """Random everything, PIPELINED at a time; now and then a head of a megabyte. How many were answered."""
    rng = random.Random(7)
    asked = 0
    with socket.create_connection(("127.0.0.1", port)) as connection:
        while time.monotonic() < ends_s:
            connection.sendall(b"".join(hostile_head(rng) for _ in range(PIPELINED)))
            left = PIPELINED
            while left:
                left -= connection.recv(1 << 20).count(b"HTTP/1.1 ")
            asked += PIPELINED
            if asked % 1_600 == 0:
                _send_a_megabyte(port)
    return asked


def _send_a_megabyte(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        try:
            connection.sendall(MEGABYTE)
        except ConnectionError:
            return  # refused before all of it was sent
        connection.recv(1 << 16)
