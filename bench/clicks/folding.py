"""How many clicks a second one core reads from a journal and folds.

Each case writes a real journal, then reads and folds it in batches, as the aggregator does, without storing them. CPU
time, so that what else the machine does plays no part; the best of three rounds. May import: the program, traffic.
"""

from __future__ import annotations

import ipaddress
import os
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from app.agents import CountryFinder, TraitsReader
from app.analytics import Batch, Bucket, Folding
from app.journal import Journal, Reader, create_source
from app.process import calm_collector
from bench.clicks.traffic import TRAFFIC
from workers.aggregator import COLLECT_OBJECTS

__all__ = ["CASES", "measure_folding"]

RECORDS = 60_000
ROUNDS = 3
TIME_MS = 1_700_049_600_000
DAY = TIME_MS // 86_400_000
SALTS = {DAY: b"s" * 32}
#: Traffic, and what it is.
CASES = {
    "1k": "1,000 heads of browsers, each visitor from an address of its own",
    "100k": "100,000 heads",
    "proxied": "100,000 heads as a proxy passes them on: each names its client",
    "hostile": "one client makes up agent, referrer, language and slug of every request",
    "hostile-8k": "the same in heads of 8 KB",
    "mixed": "each tenth request is hostile: what is remembered of the others stays",
}


def measure_folding() -> dict[str, dict[str, float]]:
    """What `measure` found, by case."""
    calm_collector(COLLECT_OBJECTS)
    return {case: measure(case) for case in CASES}


def folding_of(case: str) -> Folding:
    """As a node is set up for the case."""
    trusted = (ipaddress.ip_network("10.0.0.0/32"),) if case == "proxied" else ()
    return Folding(traits=TraitsReader(), countries=CountryFinder(None, print), trusted=trusted)


def measure(case: str) -> dict[str, float]:
    """Thousands of records a second of one core: read, read and folded, also with the buckets brought up to date."""
    with tempfile.TemporaryDirectory() as folder:
        source, lock = create_source(Path(folder), "web_0", os.urandom(8))
        journal = Journal(source, lock)
        count = 0
        for head, link, flags, peer in islice(TRAFFIC[case](), RECORDS // (10 if case == "hostile-8k" else 1)):
            assert journal.append(head, TIME_MS, link, 0, flags, peer)
            journal.prepare()
            count += 1
        folding = folding_of(case)
        fold_all(source_reader(journal), folding, with_buckets=False)  # what is remembered, is
        rounds = [
            (
                cpu_s(lambda: read_all(source_reader(journal))),
                cpu_s(lambda: fold_all(source_reader(journal), folding, with_buckets=False)),
                cpu_s(lambda: fold_all(source_reader(journal), folding, with_buckets=True)),
            )
            for _ in range(ROUNDS)
        ]
        journal.close()
    names = ("read", "folded", "in buckets")
    return {name: count / min(times) / 1000 for name, times in zip(names, zip(*rounds, strict=True), strict=True)}


def source_reader(journal: Journal) -> Reader:
    """A new reader of everything."""
    return Reader(journal.source, 0)


def read_all(reader: Reader) -> None:
    """Reads to the end."""
    while reader.read_raw():
        pass
    reader.close()


def fold_all(reader: Reader, folding: Folding, *, with_buckets: bool) -> None:
    """Reads and folds to the end, in batches as the aggregator cuts them."""
    buckets: dict[tuple[int, int], Bucket] = {}
    batch = Batch()

    def end_batch() -> Batch:
        if with_buckets:
            for key, delta in batch.deltas.items():
                bucket = buckets.get(key)
                if bucket is None:
                    bucket = buckets[key] = Bucket()
                bucket.add(delta)
        return Batch()

    while records := reader.read_raw():
        begin = 0
        while (begin := folding.add(batch, records, SALTS, begin=begin)) < len(records):
            batch = end_batch()
    end_batch()
    reader.close()


def cpu_s(work: Callable[[], None]) -> float:
    """CPU time of this process."""
    before = time.process_time()
    work()
    return time.process_time() - before
