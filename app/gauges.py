"""What a web process tells its metrics once a second: counts that its parts keep as plain ints.

In: the parts of one process. Out: values in `Metrics`. Nothing here runs for a request.
May import: front, feed, redirect, journal, limits, stores, observe.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping

from app.feed import Hub
from app.front import Gate
from app.journal import Journal
from app.limits import Limiter
from app.observe import Metrics
from app.redirect import Resolver
from app.stores import Breaker

__all__ = ["Gauges"]

OUTCOMES = ("not_found", "gone", "unavailable", "password", "limited")
SECONDS_LEFT_MAX = 30 * 86_400.0


class Gauges:
    """The gauges of one process. `monotonic` is a clock in seconds."""

    def __init__(
        self,
        *,
        metrics: Metrics,
        gate: Gate,
        hub: Hub,
        resolver: Resolver,
        journal: Journal,
        limiter: Limiter,
        breakers: Mapping[str, Breaker],
        processes: int,
        memory_limit: int,
        monotonic: Callable[[], float],
    ) -> None:
        self._metrics = metrics
        self._gate = gate
        self._hub = hub
        self._resolver = resolver
        self._journal = journal
        self._limiter = limiter
        self._breakers = breakers
        self._processes = processes
        self._memory_limit = memory_limit
        self._monotonic = monotonic
        self._mark = (monotonic() - 1.0, journal.position)

    def publish(self) -> None:
        """Brings all values up to date."""
        self._publish_front()
        self._publish_lookups()
        self._publish_journal()
        self._metrics.count_told()
        self._metrics.set("memory_limit", self._memory_limit)
        self._metrics.count_to("limits_local", self._limiter.local)
        for store, breaker in self._breakers.items():
            self._metrics.set("breaker", breaker.state.value, store)

    def _publish_front(self) -> None:
        metrics, gate, counts = self._metrics, self._gate, self._gate.counts
        metrics.count_to("redirects", gate.lane.hits + counts.redirects, "redirect")
        for outcome in OUTCOMES:
            metrics.count_to("redirects", getattr(counts, outcome), outcome)
        metrics.count_latency(gate.lane.latency, gate.lane.latency_s)
        metrics.count_to("refused", counts.refused_connections)
        metrics.count_to("expired", gate.expired)
        metrics.set("connections", len(gate.connections))
        metrics.set("live_streams", self._hub.count)

    def _publish_lookups(self) -> None:
        metrics, gate, found = self._metrics, self._gate, self._resolver.counts
        metrics.count_to("cache", gate.lane.hits + gate.warm_hits, "l1", "hit")
        metrics.count_to("cache", found.asked, "l1", "miss")
        metrics.count_to("cache", found.redis_hits, "redis", "hit")
        metrics.count_to("cache", found.redis_misses, "redis", "miss")
        metrics.count_to("cache", found.mongodb_hits, "mongodb", "hit")
        metrics.count_to("cache", found.mongodb_misses, "mongodb", "miss")
        metrics.count_to("cache", found.stale, "l1", "stale")
        metrics.count_to("store_failures", found.store_failures)
        metrics.set("hot_links", len(gate.table))

    def _publish_journal(self) -> None:
        metrics, journal = self._metrics, self._journal
        metrics.count_to("journaled", journal.appended)
        metrics.count_to("dropped", journal.dropped)
        metrics.set("journal_bytes", journal.bytes_used)
        metrics.set("journal_left", self._seconds_left())
        disk = shutil.disk_usage(journal.source.folder)
        metrics.set("disk_free", disk.free)
        metrics.set("disk_size", disk.total)

    def _seconds_left(self) -> float:
        """How long the journals can grow, all web processes at this one's rate, if nothing is applied meanwhile."""
        now_s, position = self._monotonic(), self._journal.position
        (before_s, before), self._mark = self._mark, (now_s, position)
        rate = self._processes * (position - before) / max(0.001, now_s - before_s)
        return min(SECONDS_LEFT_MAX, self._journal.bytes_left / rate) if rate > 0 else SECONDS_LEFT_MAX
