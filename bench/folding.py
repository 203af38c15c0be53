"""How many clicks a second one core reads from a journal and folds: `python -m bench.folding [--json]`.

Each case writes a real journal, then reads and folds it in batches, as the aggregator does, without storing them. CPU
time, so that what else the machine does plays no part; the best of three rounds. Links are Zipf(1.1) over 100,000.

    1k, 100k       so many different heads of browsers, each visitor from an address of its own
    proxied        100,000 heads as a proxy passes them on: each names its client, none comes twice
    hostile        one client makes up agent, referrer, language and slug of every request
    hostile-8k     the same in heads of 8 KB
    mixed          each tenth request is hostile: what is remembered of the others must stay
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import random
import string
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from app.agents import CountryFinder, TraitsReader
from app.analytics import Batch, Bucket, Folding
from app.journal import NO_LINK, REDIRECT_GET, Journal, Outcome, Reader, create_source, flags_of
from bench.heads import browser_heads, zipf
from bench.machine import keep_json, machine_line
from workers.aggregator import calm_collector

RECORDS = 60_000
LINKS = 100_000
VISITORS = 500_000
ROUNDS = 3
TIME_MS = 1_700_049_600_000
DAY = TIME_MS // 86_400_000
SALTS = {DAY: b"s" * 32}
NOT_FOUND = flags_of(Outcome.NOT_FOUND, is_head=False)
Made = tuple[bytes, bytes, int, bytes]  # head, link, flags, peer


def peer_of(number: int) -> bytes:
    """The address of a visitor, 10.x.x.x."""
    return bytes(10) + b"\xff\xff\x0a" + number.to_bytes(3, "big")


def browsers(count: int, *, by_proxy: bool = False) -> Iterator[Made]:
    """Clicks by people."""
    rng = random.Random(1)
    heads = [b"GET /abcdefg HTTP/1.1\r\n" + head for head in browser_heads(count, by_proxy=by_proxy)]
    for number in zipf(LINKS, RECORDS):
        peer = peer_of(0 if by_proxy else rng.randrange(VISITORS))
        yield rng.choice(heads), (number + 1).to_bytes(8, "big"), REDIRECT_GET, peer


def hostile(head_bytes: int = 0) -> Iterator[Made]:
    """One client who makes everything up; half of its slugs are links."""
    rng = random.Random(2)

    def text(size: int) -> str:
        return "".join(rng.choices(string.ascii_letters + string.digits + " /.;", k=size))

    padding = "x" * head_bytes
    for _ in range(RECORDS // (10 if head_bytes else 1)):
        agent = f"Mozilla/5.0 ({text(40)}) AppleWebKit/537.36 {text(200)}"
        fields = f"User-Agent: {agent}\r\nReferer: https://{rng.getrandbits(64):x}.example/{text(60)}\r\n"
        language = f"Accept-Language: {text(2)}-{text(2)},{text(2)}\r\nX: {padding}\r\n\r\n"
        head = f"GET /{rng.getrandbits(40):x} HTTP/1.1\r\nHost: sho.rt\r\n{fields}{language}".encode()
        known = rng.random() < 0.5
        link = rng.randint(1, LINKS).to_bytes(8, "big") if known else NO_LINK
        yield head, link, REDIRECT_GET if known else NOT_FOUND, peer_of(7)


def mixed() -> Iterator[Made]:
    """Clicks by people, with a hostile one among ten."""
    bad = hostile()
    for number, made in enumerate(browsers(1_000)):
        yield next(bad) if number % 10 == 0 else made


CASES: dict[str, Callable[[], Iterator[Made]]] = {
    "1k": lambda: browsers(1_000),
    "100k": lambda: browsers(100_000),
    "proxied": lambda: browsers(100_000, by_proxy=True),
    "hostile": hostile,
    "hostile-8k": lambda: hostile(8_000),
    "mixed": mixed,
}


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
        for head, link, flags, peer in CASES[case]():
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


def main() -> None:
    """Prints a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--case", choices=CASES, action="append")
    chosen = parser.parse_args()
    calm_collector()
    found = {case: measure(case) for case in chosen.case or CASES}
    result = {"machine": machine_line(), "thousand records a second of one core": found}
    if chosen.json:
        print(json.dumps(result))
        return
    print(result["machine"])
    print(f"{'case':12}" + "".join(f"{name:>12}" for name in next(iter(found.values()))))
    for case, row in found.items():
        print(f"{case:12}" + "".join(f"{value:>11.0f}k" for value in row.values()))
    keep_json("folding", result)


if __name__ == "__main__":
    main()
