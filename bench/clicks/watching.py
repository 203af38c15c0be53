"""Watches a tree's aggregator while something happens: lag, memory, CPU time, and that of MongoDB.

In: a running tree. Out: samples, and whether the lag grew. The lag is the metric that operators see.
May import: machine, tree.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench.machine import cpu_seconds, resident_bytes
from bench.tree import Tree

__all__ = ["Sample", "Watch", "grows", "watched"]

EVERY_S = 1.0  # as often as the aggregator says something
GROWTH_S = 1.0  # of the lag between the middle and the last third of a run: more is growth


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment. `aggregator_s` and `mongod_s` are CPU time so far."""

    at_s: float
    lag_s: float
    applied: float
    rss_anon: int
    aggregator_s: float
    mongod_s: float


class Watch:
    """Samples of a tree, taken every EVERY_S by `watched`."""

    def __init__(self, tree: Tree) -> None:
        self.samples: list[Sample] = []
        self._tree = tree
        self._aggregator = tree.pid("aggregator")
        self._mongod = tree.pid("mongod")

    def take(self) -> Sample:
        """One sample, kept."""
        sample = Sample(
            at_s=time.monotonic(),
            lag_s=self._tree.metric("boltlink_aggregation_lag_seconds"),
            applied=self._tree.metric("boltlink_clicks_aggregated_total"),
            rss_anon=resident_bytes(self._aggregator)["RssAnon"],
            aggregator_s=cpu_seconds(self._aggregator),
            mongod_s=cpu_seconds(self._mongod),
        )
        self.samples.append(sample)
        return sample

    def summary(self) -> dict[str, float]:
        """What the samples say together."""
        first, last = self.samples[0], self.samples[-1]
        took_s = last.at_s - first.at_s
        lags = [sample.lag_s for sample in self.samples]
        return {
            "seconds": took_s,
            "applied_rate": (last.applied - first.applied) / took_s,
            "lag_median_s": statistics.median(lags),
            "lag_max_s": max(lags),
            "rss_anon_max": max(sample.rss_anon for sample in self.samples),
            "aggregator_cpu": (last.aggregator_s - first.aggregator_s) / took_s,
            "mongod_cpu": (last.mongod_s - first.mongod_s) / took_s,
            "grows": grows(lags),
        }


@contextmanager
def watched(tree: Tree, every_s: float = EVERY_S) -> Iterator[Watch]:
    """Samples are taken while the block runs."""
    watch = Watch(tree)
    watch.take()
    ends = threading.Event()

    def work() -> None:
        while not ends.wait(every_s):
            watch.take()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield watch
    finally:
        ends.set()
        thread.join()


def grows(lags: Sequence[float]) -> bool:
    """Whether the lag is longer in the last third than in the one before."""
    third = len(lags) // 3
    return third > 0 and statistics.median(lags[-third:]) - statistics.median(lags[third : 2 * third]) > GROWTH_S
