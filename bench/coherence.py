"""How long a link that was banned, disabled, deleted or sent elsewhere goes on as before, in every web process.

`python -m bench.coherence [--changes N] [--losses N] [--json]`

The whole tree as shipped, two web processes, each asked over its own socket without a pause; changes go through the API
on the shared port. Measured from when a change is sent until each process answers by it: MongoDB's write on a
majority is in it. Then with something lost, each LOSSES times:

    channel killed   every subscription is killed again and again while the change is made
    Redis stopped    right before the change, and it does not come back before that is seen
    Redis emptied    FLUSHALL right before the change
    writer killed    the change stands in MongoDB and was announced to nobody
    and announcer    the same, and the announcer is killed too
    Redis went back  it is killed and comes back with what it held before the change

Kept in bench/results/coherence.json. Exit status 1 when something took longer than it may. May import: the program's
stores, machine, tree.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import cycle, islice
from typing import Any

import httpx

from app.links import LinkStore
from app.stores import mongodb_url, open_mongodb, open_redis, redis_url
from bench.machine import keep_json, machine_line
from bench.tree import GIVE_UP_S, WEB, Tree, running_tree

__all__ = ["main"]

KEPT = "coherence"
ANNOUNCED_MS, LOST_MS = 100.0, 5_000.0
PERCENTILES = (50, 90, 99, 100)
_CHANGES: dict[str, Callable[[httpx.Client, str], httpx.Response]] = {
    "banned": lambda api, slug: api.patch(f"/api/v1/links/{slug}", json={"state": "banned"}),
    "disabled": lambda api, slug: api.patch(f"/api/v1/links/{slug}", json={"state": "disabled"}),
    "deleted": lambda api, slug: api.delete(f"/api/v1/links/{slug}"),
    "retargeted": lambda api, slug: api.patch(f"/api/v1/links/{slug}", json={"target": "https://example.org/"}),
}


def seen_ms(tree: Tree, slug: str, change: Callable[[], Any]) -> list[float]:
    """Milliseconds from the change's beginning until each process answers otherwise than before it."""
    began_s = time.perf_counter()
    results = dict.fromkeys(WEB, GIVE_UP_S * 1000)

    def watch(name: str) -> None:
        with tree.connect(name) as ask:
            before = ask(slug)
            started.wait()
            while time.perf_counter() - began_s < GIVE_UP_S:
                if ask(slug) not in (before, b"503 "):
                    results[name] = (time.perf_counter() - began_s) * 1000
                    return

    started = threading.Barrier(len(WEB) + 1)
    threads = [threading.Thread(target=watch, args=(name,)) for name in WEB]
    for thread in threads:
        thread.start()
    started.wait()
    began_s = time.perf_counter()
    change()
    for thread in threads:
        thread.join()
    return list(results.values())


def announced(tree: Tree, changes: int) -> dict[str, list[float]]:
    """Changes of each kind, with nothing lost."""
    results: dict[str, list[float]] = {kind: [] for kind in _CHANGES}
    for kind, change in islice(cycle(_CHANGES.items()), changes):
        slug = tree.shorten()
        results[kind] += seen_ms(tree, slug, partial(change, tree.api, slug))
    return results


def lost(tree: Tree, losses: int) -> dict[str, list[float]]:
    """The same change, with something lost each time."""
    results: dict[str, list[float]] = {}
    for kind, lose in _LOSSES.items():
        results[kind] = []
        for _ in range(losses):
            slug = tree.shorten()
            results[kind] += lose(tree, slug)
            tree.wait_until_ready()
    return results


def _ban(tree: Tree, slug: str) -> None:
    _CHANGES["banned"](tree.api, slug)


def _ban_silently(tree: Tree, slug: str) -> None:
    """What a writer leaves that is killed between its two writes."""

    async def write() -> None:
        database = open_mongodb(mongodb_url(tree.settings))
        now_ms = int(time.time() * 1000)
        await LinkStore(database).change(f"/{slug}", {"state": "banned"}, now_ms=now_ms, version=None)
        await database.client.close()

    asyncio.run(write())


def _in_redis(tree: Tree, deed: Callable[[Any], Awaitable[Any]]) -> None:
    async def whole() -> None:
        client = open_redis(redis_url(tree.settings))
        await deed(client)
        await client.aclose()

    asyncio.run(whole())


def _channel_killed(tree: Tree, slug: str) -> list[float]:
    ends = threading.Event()

    async def kill(client: Any) -> None:
        while not ends.is_set():
            await client.client_kill_filter(_type="pubsub")

    killer = threading.Thread(target=_in_redis, args=(tree, kill))
    killer.start()

    def change() -> None:
        _ban(tree, slug)
        ends.set()

    try:
        return seen_ms(tree, slug, change)
    finally:
        ends.set()
        killer.join()


def _redis_stopped(tree: Tree, slug: str) -> list[float]:
    tree.supervisorctl("stop", "redis")  # killed alone it would be there again after 10 ms
    try:
        return seen_ms(tree, slug, lambda: _ban(tree, slug))
    finally:
        tree.supervisorctl("start", "redis")


def _redis_emptied(tree: Tree, slug: str) -> list[float]:
    def change() -> None:
        _in_redis(tree, lambda client: client.flushall())
        _ban(tree, slug)

    return seen_ms(tree, slug, change)


def _writer_killed(tree: Tree, slug: str) -> list[float]:
    return seen_ms(tree, slug, lambda: _ban_silently(tree, slug))


def _announcer_killed(tree: Tree, slug: str) -> list[float]:
    pid = tree.pid("announcer")

    def change() -> None:
        os.kill(pid, signal.SIGKILL)
        _ban_silently(tree, slug)

    return seen_ms(tree, slug, change)


def _redis_went_back(tree: Tree, slug: str) -> list[float]:
    """Seen, unseen and seen again: how long the old answer came back for."""
    _in_redis(tree, lambda client: client.save())
    pid = tree.pid("redis")
    seen_ms(tree, slug, lambda: _ban(tree, slug))
    ends_s = time.monotonic() + LOST_MS / 1000
    last = dict.fromkeys(WEB, 0.0)
    began_s = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    while time.monotonic() < ends_s:
        for name in WEB:
            with tree.connect(name) as ask:
                if ask(slug).startswith(b"302"):
                    last[name] = (time.perf_counter() - began_s) * 1000
    return list(last.values())


_LOSSES: dict[str, Callable[[Tree, str], list[float]]] = {
    "channel killed": _channel_killed,
    "Redis stopped": _redis_stopped,
    "Redis emptied": _redis_emptied,
    "writer killed": _writer_killed,
    "and announcer": _announcer_killed,
    "Redis went back": _redis_went_back,
}


def table(kept: dict[str, Any]) -> str:
    """Markdown."""
    lines = [kept["heading"], ""]
    for title, limit_ms, part in (
        ("nothing lost", ANNOUNCED_MS, kept["announced"]),
        ("lost", LOST_MS, kept["lost"]),
    ):
        lines += [
            f"| {title}: may take {limit_ms:g} ms | times | p50 ms | p90 | p99 | longest |",
            "|---|--:|--:|--:|--:|--:|",
        ]
        for kind, results in part.items():
            cells = " | ".join(f"{percentile(results, share):.1f}" for share in PERCENTILES)
            lines.append(f"| {kind} | {len(results)} | {cells} |")
        lines.append("")
    return "\n".join(lines)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` percent of all are not above."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share / 100 * len(ordered)) - 1)]


def findings(kept: dict[str, Any]) -> list[str]:
    """What took longer than it may."""
    return [
        f"{kind}: {max(results):.0f} ms, at most {limit_ms:g}"
        for limit_ms, part in ((ANNOUNCED_MS, kept["announced"]), (LOST_MS, kept["lost"]))
        for kind, results in part.items()
        if results and max(results) > limit_ms
    ]


def main(words: Sequence[str] | None = None) -> int:
    """Measures, keeps and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.coherence", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--changes", type=int, default=200, help="with nothing lost (default 200)")
    parser.add_argument("--losses", type=int, default=5, help="of each kind (default 5)")
    parser.add_argument("--json", action="store_true", help="print what was measured, not the table")
    options = parser.parse_args(words)
    with running_tree() as tree:
        parts = {"announced": announced(tree, options.changes), "lost": lost(tree, options.losses)}
    kept = {"heading": machine_line(), **parts}
    keep_json(KEPT, kept)
    print(json.dumps(kept) if options.json else table(kept))
    wrong = findings(kept)
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
