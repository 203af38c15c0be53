"""Those who work with links: each makes, changes, lists, searches, deletes and looks at statistics, again and again.

In: the API, a pace. Out: calls by kind, and what failed. May import: the standard library, httpx.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

__all__ = ["Called", "call"]

CALLS_PER_S = 8.0
KEPT_MAX = 200  # links of one's own that live at a time
CALL_S = 30.0


@dataclass
class Called:
    """What callers noted."""

    calls: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


async def call(
    address: str, headers: dict[str, str], slugs: list[str], called: Called, is_over: Callable[[], bool]
) -> None:
    """One caller, CALLS_PER_S calls a second, until it is over.

    Args:
        address: of the API's origin.
        slugs: whose statistics are asked for.
    """
    rng = random.Random(9)
    mine: list[str] = []
    limits = httpx.Limits(max_keepalive_connections=2, keepalive_expiry=5.0)
    async with httpx.AsyncClient(
        base_url=address, headers=headers, timeout=CALL_S, limits=limits, trust_env=False
    ) as client:
        while not is_over():
            began_s = time.perf_counter()
            name, work = rng.choice(_KINDS)
            try:
                await work(client, mine, slugs, rng)
                called.calls[name] += 1
            except (httpx.HTTPError, AssertionError) as error:
                called.failed.append(f"{name}: {type(error).__name__} {error}")
            took_s = time.perf_counter() - began_s
            called.seconds.append(took_s)
            await asyncio.sleep(max(0.0, 1 / CALLS_PER_S - took_s))


async def _create(client: httpx.AsyncClient, mine: list[str], slugs: list[str], rng: random.Random) -> None:
    body = {"target": f"https://example.com/{rng.getrandbits(64):x}", "tags": ["soak"], "title": "Soak"}
    answer = _good(await client.post("/api/v1/links", json=body))
    mine.append(answer.json()["slug"])
    if len(mine) > KEPT_MAX:
        _good(await client.delete(f"/api/v1/links/{mine.pop(0)}"))


async def _change(client: httpx.AsyncClient, mine: list[str], slugs: list[str], rng: random.Random) -> None:
    if mine:
        body = {"target": f"https://example.org/{rng.getrandbits(64):x}"}
        _good(await client.patch(f"/api/v1/links/{rng.choice(mine)}", json=body))


async def _list(client: httpx.AsyncClient, mine: list[str], slugs: list[str], rng: random.Random) -> None:
    _good(await client.get("/api/v1/links", params={"limit": 50, **rng.choice(({}, {"tag": "soak"}, {"q": "soak"}))}))


async def _stats(client: httpx.AsyncClient, mine: list[str], slugs: list[str], rng: random.Random) -> None:
    _good(await client.get(f"/api/v1/links/{rng.choice(slugs)}/stats"))


async def _all_stats(client: httpx.AsyncClient, mine: list[str], slugs: list[str], rng: random.Random) -> None:
    _good(await client.get("/api/v1/stats", params={"unit": "hour"}))


_Work = Callable[[httpx.AsyncClient, list[str], list[str], random.Random], Awaitable[Any]]
_KINDS: list[tuple[str, _Work]] = [
    ("create", _create),
    ("change", _change),
    ("list", _list),
    ("stats", _stats),
    ("all stats", _all_stats),
]


def _good(answer: httpx.Response) -> httpx.Response:
    assert answer.is_success, f"{answer.status_code} {answer.text[:200]}"
    return answer
