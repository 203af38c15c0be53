"""Prometheus metrics of all processes of a node, on one port, right over restarts and deaths.

In: plain ints that rooms count, published once a second by each program. Out: the text of `/metrics`.
Each program writes its values to files in one folder (prometheus_client's multiprocess mode) named after the program,
not its pid: a restarted web_1 goes on counting where web_1 died. A program holds a lock (`NAME.alive`, with its pid)
while it lives; gauges of a program that is gone, or has stood still for SILENT_S, are not shown, because the last one
stands for nothing; its counts are, because a total must not fall. Which
programs there should be is told at the start by such files, so one that never comes so far is seen to be missing.
What the kernel knows of each living program is read when it is asked for.
May import: prometheus_client, psutil, lifeline, beats, families, logs, traces.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from app.lifeline import take_lock
from app.observe.beats import BEAT, SILENT_S, last_beat
from app.observe.families import COUNTERS, GAUGES, GaugeFamily
from app.observe.logs import dropped_lines
from app.observe.traces import trace_counts

__all__ = ["REDIRECT_EDGES_S", "Metrics", "expect_programs"]

#: Upper edges of the redirect latency's buckets; the front counts into them by itself.
REDIRECT_EDGES_S = (5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 1e-2, 0.1, 1.0)
_ALIVE = ".alive"
#: Of each file: more than all values take, so that none grows.
_ROOM_BYTES = {
    "counter": 128 * 1024,
    "histogram": 256 * 1024,
    "gauge_max": 65536,
    "gauge_min": 65536,
    "gauge_sum": 65536,
}
_HTTP_EDGES_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Metrics:
    """Every metric, as one program fills it in.

    Args:
        program: its name under supervisord.
        folder: where the values of all programs of the node are.
    """

    def __init__(self, program: str, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)  # read when prometheus_client is imported
        import prometheus_client  # noqa: PLC0415
        from prometheus_client import values  # noqa: PLC0415

        self._program = program
        self._folder = folder
        self._alive = self._live()
        _remove_damaged(folder, program)
        _take_room(folder, program)
        values.ValueClass = values.MultiProcessValue(process_identifier=lambda: program)  # type: ignore[no-untyped-call]
        registry = prometheus_client.CollectorRegistry()
        self._client = prometheus_client
        self._published: dict[tuple[str, tuple[str, ...]], float] = {}
        self._latency = prometheus_client.Histogram(
            "boltlink_redirect_seconds", "Time to answer a hit.", buckets=REDIRECT_EDGES_S, registry=registry
        )
        self._latency_published = [0] * (len(REDIRECT_EDGES_S) + 1)
        self._counters = {
            key: prometheus_client.Counter(family.name, family.text, family.labels, registry=registry)
            for key, family in COUNTERS.items()
        }
        self._registry = registry
        self._gauges: dict[str, Any] = {}  # made when first set: one that a program never sets is no zero among others'
        self._requests = prometheus_client.Counter(
            "boltlink_http_requests", "Requests to the API.", ("route", "status"), registry=registry
        )
        self._request_seconds = prometheus_client.Histogram(
            "boltlink_http_request_seconds",
            "Time to answer the API.",
            ["route"],
            buckets=_HTTP_EDGES_S,
            registry=registry,
        )

    def count_to(self, name: str, total: float, *labels: str) -> None:
        """Publishes a plain count: `total` since this process's start, of which the difference is added."""
        key = (name, labels)
        difference = total - self._published.get(key, 0)
        if difference > 0 or key not in self._published:  # a zero is shown, so that a first increase is seen
            counter = self._counters[name]
            (counter.labels(*labels) if labels else counter).inc(difference)
        self._published[key] = total

    def count_latency(self, buckets: Sequence[int], seconds: float) -> None:
        """Publishes the front's own latency counts, one for each bucket, and their sum.

        Through the histogram's own cells: `observe` would have to be called once for each of 100,000 a second.
        """
        for index, count in enumerate(buckets):
            self._latency._buckets[index].inc(count - self._latency_published[index])
        self._latency_published = list(buckets)
        self._latency._sum.inc(max(0.0, seconds - self._published.get(("latency", ()), 0)))
        self._published["latency", ()] = seconds

    def count_told(self) -> None:
        """Publishes what became of what this program tells others: log lines and spans."""
        self.count_to("lines_dropped", dropped_lines())
        sent, dropped = trace_counts()
        self.count_to("spans_sent", sent)
        self.count_to("spans_dropped", dropped)

    def set(self, name: str, value: float, *labels: str) -> None:
        """Sets a gauge."""
        if self._alive is None:  # a sibling was just looking whether this program lives
            self._alive = self._live()
        gauge = self._gauges.get(name)
        if gauge is None:
            gauge = self._gauges[name] = self._make_gauge(GAUGES[name])
        (gauge.labels(*labels) if labels else gauge).set(value)

    def _make_gauge(self, family: GaugeFamily) -> Any:
        return self._client.Gauge(
            family.name, family.text, family.labels, registry=self._registry, multiprocess_mode=family.mode
        )

    def on_request(self, route: str, status: int, seconds: float) -> None:
        """One request to the API."""
        self._requests.labels(route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def exposition(self, program: str | None = None) -> bytes:
        """The text of all programs of the node, or of one."""
        registry = self._client.CollectorRegistry()
        registry.register(self if program is None else _OfOne(self, program))
        text: bytes = self._client.generate_latest(registry)
        return text

    def collect(self, only: str | None = None) -> Any:
        """All metrics of the folder, merged, or those of one program; called by prometheus_client."""
        from prometheus_client.multiprocess import MultiProcessCollector  # noqa: PLC0415

        gone: dict[str, bool] = {self._program: False}
        files: list[str] = []
        for path in self._folder.glob("*.db"):
            kind, _, program = path.stem.partition("_")  # <type>_<program>.db, gauge_<mode>_<program>.db
            if kind == "gauge":
                program = program.partition("_")[2]
            if only not in (None, program):
                continue
            if kind == "gauge":
                if program not in gone:
                    gone[program] = self._is_gone(program) or (self._silent_s(program) or 0.0) > SILENT_S
                if gone[program]:
                    continue
            files.append(str(path))
        yield from MultiProcessCollector.merge(files, accumulate=True)  # type: ignore[no-untyped-call]
        if only is None:
            yield from self._processes()

    def _processes(self) -> Iterator[Any]:
        """What the kernel knows of each living program."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415

        up = GaugeMetricFamily("boltlink_program_up", "Whether a program of this node lives.", labels=["program"])
        silent = GaugeMetricFamily("boltlink_program_silent_seconds", "Since a sign of life.", labels=["program"])
        memory = GaugeMetricFamily("boltlink_process_memory_bytes", "Memory of its own.", labels=["program"])
        files = GaugeMetricFamily("boltlink_process_open_files", "Open descriptors.", labels=["program"])
        started = GaugeMetricFamily("boltlink_process_start_time_seconds", "Unix time.", labels=["program"])
        cpu = CounterMetricFamily("boltlink_process_cpu_seconds", "CPU time used.", labels=["program"])
        for path in sorted(self._folder.glob(f"*{_ALIVE}")):
            is_gone = path.stem != self._program and self._is_gone(path.stem)
            up.add_metric([path.stem], 0.0 if is_gone else 1.0)
            if is_gone:
                continue
            silent_s = self._silent_s(path.stem)
            if silent_s is not None:
                silent.add_metric([path.stem], silent_s)
            try:
                process = psutil.Process(int(path.read_text()))
                with process.oneshot():
                    usage, times = process.memory_info(), process.cpu_times()
                    memory.add_metric([path.stem], usage.rss - usage.shared)
                    files.add_metric([path.stem], process.num_fds())
                    started.add_metric([path.stem], path.stat().st_mtime)  # the kernel's own moves with a clock's steps
                    cpu.add_metric([path.stem], times.user + times.system)
            except (ValueError, psutil.Error):
                continue  # it is just starting, or has just ended
        yield from (up, silent, memory, files, started, cpu)

    def _live(self) -> int | None:
        """Holds this program's lock and says its pid; None when a sibling is just looking whether this one lives."""
        lock = take_lock(self._folder / f"{self._program}{_ALIVE}")
        if lock is not None:
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
        return lock

    def _silent_s(self, program: str) -> float | None:
        """Since when a living program gave no sign of life; None when it has given none yet."""
        try:
            pid = int((self._folder / f"{program}{_ALIVE}").read_text())
        except (OSError, ValueError):
            return None
        last = last_beat(self._folder, program)
        return None if last is None or last.pid != pid else max(0.0, time.monotonic() - last.at_s)

    def _is_gone(self, program: str) -> bool:
        lock = take_lock(self._folder / f"{program}{_ALIVE}")
        if lock is not None:
            os.close(lock)
        return lock is not None


def expect_programs(folder: Path, programs: Sequence[str]) -> None:
    """Begins anew: nothing is counted yet, and these programs should live, whether or not they ever come so far.

    Only while none of them runs.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in (*folder.glob("*.db"), *folder.glob(f"*{_ALIVE}"), *folder.glob(f"*{BEAT}")):
        path.unlink()
    for program in programs:
        (folder / f"{program}{_ALIVE}").touch(mode=0o600)


class _OfOne:
    """The metrics of one program."""

    def __init__(self, metrics: Metrics, program: str) -> None:
        self._metrics = metrics
        self._program = program

    def collect(self) -> Any:
        """As prometheus_client asks for them."""
        return self._metrics.collect(self._program)


def _take_room(folder: Path, program: str) -> None:
    """Takes room for all values at once: a store into a page that a full disk cannot give kills by SIGBUS."""
    for kind, size in _ROOM_BYTES.items():
        with (folder / f"{kind}_{program}.db").open("ab") as file, suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, size)


def _remove_damaged(folder: Path, program: str) -> None:
    """Removes values of this program that cannot be read, as a power cut leaves them: better than not to start."""
    from prometheus_client.mmap_dict import MmapedDict  # noqa: PLC0415

    for path in folder.glob(f"*_{program}.db"):
        used, size = int.from_bytes(path.read_bytes()[:4], sys.byteorder, signed=True), path.stat().st_size
        try:
            if not 0 <= used <= size:
                raise ValueError(used)
            for key, *_ in MmapedDict.read_all_values_from_file(str(path)):  # type: ignore[no-untyped-call]
                json.loads(key)
        except (ValueError, RuntimeError, struct.error, IndexError):
            path.unlink(missing_ok=True)
