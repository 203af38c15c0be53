"""What a page of `boltlink monit` shows: read from supervisord, the kernel, the metrics port and the hot links' files.

In: a tree that runs. Out: a `Reading` each time it is asked; rates are over what lies between now and RATE_S ago, so
the first reading has none. Nothing is asked of web processes but their metrics. May import: settings, tree, analytics,
links, stores.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil
from bson.int64 import Int64
from prometheus_client.parser import text_string_to_metric_families
from pymongo.errors import PyMongoError

from app.analytics import read_hot
from app.cli.errors import CliError
from app.cli.processes import count_restarts
from app.links import LINKS
from app.stores import mongodb_url, open_mongodb
from app.tree import Tree

__all__ = ["ProcessRow", "Reading", "Sampler"]

RATE_S = 5.0
ASK_S = 2.0
NAMES_MAX = 10_000
PROBES = frozenset(("ready", "health"))  # routes that are asked by those who watch
Numbers = dict[tuple[str, tuple[str, ...]], float]


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One process; None is what it does not have or nobody knows yet."""

    name: str
    pid: int | None
    state: str
    uptime_s: int
    cpu_percent: float
    memory_bytes: int
    restarts: int
    is_ready: bool | None = None
    requests_per_s: float | None = None
    p99_s: float | None = None
    connections: int | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at everything. `hot` is (link, clicks of people and bots within a minute)."""

    at: float
    url: str
    processes: list[ProcessRow]
    requests_per_s: float | None = None
    journal: dict[str, float] = field(default_factory=dict)
    stores: dict[str, bool] = field(default_factory=dict)
    hot: list[tuple[str, int]] = field(default_factory=list)


class Sampler:
    """Reads a tree again and again. Raises CliError from `read` when it does not run."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        host = tree.settings.metrics_host.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        host = f"[{'::1' if host == '::' else host}]" if ":" in host else host
        self._url = f"http://{host}:{tree.settings.metrics_port}/metrics"
        self._http = httpx.Client(timeout=ASK_S, trust_env=False)
        self._handles: dict[int, psutil.Process] = {}
        self._pids: dict[str, int] = {}
        self._restarts = count_restarts(tree)
        self._past: dict[str, deque[tuple[float, Numbers]]] = {}
        self._slugs: dict[int, str] = {}

    def close(self) -> None:
        """Lets go of its connections."""
        self._http.close()

    def read(self) -> Reading:
        """What is so now."""
        found = self._tree.processes()
        if found is None:
            raise CliError(f"not running on {self._tree.settings.state_dir}; start it with: boltlink up")
        rows = [self._row(info) for info in sorted(found, key=lambda info: str(info["name"]))]
        whole = self._numbers("")
        rates = [row.requests_per_s for row in rows if row.requests_per_s is not None]
        names = {
            "lag_s": "boltlink_aggregation_lag_seconds",
            "bytes": "boltlink_journal_bytes",
            "seconds_left": "boltlink_journal_seconds_left",
            "dropped": "boltlink_clicks_dropped_total",
            "damaged": "boltlink_journal_damaged_total",
        }
        return Reading(
            at=time.time(),
            url=self._tree.settings.public_url,
            processes=rows,
            requests_per_s=sum(rates) if rates else None,
            journal={short: whole[name, ()] for short, name in names.items() if (name, ()) in whole},
            stores={labels[0]: up > 0 for (name, labels), up in whole.items() if name == "boltlink_store_up"},
            hot=self._hot(),
        )

    def _row(self, info: dict[str, Any]) -> ProcessRow:
        name, pid = info["name"], info["pid"]
        before = self._pids.setdefault(name, pid)
        if pid and pid != before:
            self._restarts[name] = self._restarts.get(name, 0) + 1
            self._pids[name] = pid
        cpu, memory = self._usage(pid)
        extra: dict[str, Any] = {}
        if name in self._tree.web_names:
            extra = self._web(name)
        return ProcessRow(
            name=name,
            pid=pid or None,
            state=info["statename"],
            uptime_s=max(0, info["now"] - info["start"]) if info["statename"] == "RUNNING" else 0,
            cpu_percent=cpu,
            memory_bytes=memory,
            restarts=self._restarts.get(name, 0),
            **extra,
        )

    def _usage(self, pid: int) -> tuple[float, int]:
        """CPU since the last reading, and memory."""
        if not pid:
            return 0.0, 0
        try:
            handle = self._handles.get(pid) or psutil.Process(pid)
            self._handles[pid] = handle
            return handle.cpu_percent(None), handle.memory_info().rss
        except psutil.Error:
            self._handles.pop(pid, None)
            return 0.0, 0

    def _web(self, name: str) -> dict[str, Any]:
        numbers = self._numbers(name)
        past = self._past.setdefault(name, deque())
        now_s = time.monotonic()
        past.append((now_s, numbers))
        while len(past) > 2 and past[1][0] <= now_s - RATE_S:
            past.popleft()
        then_s, before = past[0]
        connections = numbers.get(("boltlink_connections", ()))
        return {
            "is_ready": self._tree.ready(name)[0],
            "connections": None if connections is None else int(connections),
            "requests_per_s": _rate(before, numbers, now_s - then_s),
            "p99_s": _p99(before, numbers),
        }

    def _numbers(self, program: str) -> Numbers:
        """Metrics of one program or, for "", of all; none while nobody answers."""
        try:
            text = self._http.get(self._url, params={"program": program} if program else {}).text
        except httpx.HTTPError:
            return {}
        return {
            (sample.name, tuple(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def _hot(self) -> list[tuple[str, int]]:
        found = read_hot(self._tree.run / "hot")
        unknown = [link for link, _ in found if link not in self._slugs]
        if unknown:
            if len(self._slugs) > NAMES_MAX:
                self._slugs.clear()
            with suppress(PyMongoError):  # ids are shown
                self._slugs |= asyncio.run(self._names_of(unknown))
        return [(self._slugs.get(link, f"link {link:016x}"), clicks) for link, clicks in found]

    async def _names_of(self, links: list[int]) -> dict[int, str]:
        database = open_mongodb(mongodb_url(self._tree.settings))
        try:
            query = {"link": {"$in": [Int64(link) for link in links]}}
            rows = database[LINKS].find(query, {"link": 1}).max_time_ms(int(ASK_S * 1000))
            return {int(row["link"]): str(row["_id"]).removeprefix("/") async for row in rows}
        finally:
            await database.client.close()


def _rate(before: Numbers, now: Numbers, seconds: float) -> float | None:
    """Requests a second: answers to slugs and of the API."""
    names = ("boltlink_redirects_total", "boltlink_http_requests_total")
    if seconds <= 0 or not before or not now:
        return None
    counted = [key for key in now if key[0] in names and not PROBES.intersection(key[1])]
    return sum(max(0.0, now[key] - before.get(key, 0.0)) for key in counted) / seconds


def _p99(before: Numbers, now: Numbers) -> float | None:
    """The upper edge of the bucket that holds the 99th of 100 redirects; None when none was timed."""
    name = "boltlink_redirect_seconds_bucket"
    edges = sorted((float(key[1][0]), n - before.get(key, 0.0)) for key, n in now.items() if key[0] == name)
    if not before or not edges or edges[-1][1] <= 0:
        return None
    return next(edge for edge, count in edges if count >= 0.99 * edges[-1][1])
