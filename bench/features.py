"""What each part of a redirect costs: the lane is called as a connection would call it, with parts taken away.

`python -m bench.features [--seconds N] [--json]`

Each line is a call of `Lane.answer` with the real table, journal and heads, compiled and interpreted; what a part costs
is the difference to the line before. No load, no loop and no kernel but for the last line's write(2): what a server
spends beside this on receiving is the same for every one.
May import: front, journal, redirect, machine, heads.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

from app.front.lane import KEPT, MISSED, Lane
from app.journal import Journal, create_source
from app.redirect import AnswerBook, Table
from bench.heads import HOST, browser_heads
from bench.load import CONNECTIONS
from bench.machine import ROOT, SERVER_CPU, keep_json, machine_line, pinned
from bench.pages import add_outputs, put_table

__all__ = ["costs", "main", "measure", "open_journal", "table"]

LINKS = 1_000
PASSES_MIN = 3
EMPTY, NOTHING = "(an empty call)", "(a journal that does nothing)"
CHECKSUM, DATE = "of it the checksum (zlib)", "a new Date, once a second"
STEPS = {
    "a strict head": "judged: line ends, one Host, nothing that changes framing",
    "look-ups": "host and link, in two dictionaries",
    "answer": "clock, count, Location and Date put together",
    "journal": "record, checksum, copied to the mapped segment",
    "write": "write(2) to one of 64 connections, nobody to be woken",
}


def main(words: Sequence[str] | None = None) -> int:
    """Measures both ways of running and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.features", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="of each line (default 1)")
    parser.add_argument("--inside", action="store_true", help="measure in this process only; JSON")
    add_outputs(parser)
    options = parser.parse_args(words)
    if options.inside:
        print(json.dumps(measure(options.seconds)))
        return 0
    kept: dict[str, Any] = {"heading": machine_line(), "lines": {}}
    for name in ("interpreted", "compiled"):
        lines = _measure_apart(options.seconds, is_compiled=name == "compiled")
        if lines:
            kept["lines"][name] = lines
    keep_json("features", kept, options.out)
    text = table(kept)
    (options.out / "features.md").write_text(text)
    if options.docs:
        put_table("bench.features", text)
    print(json.dumps(kept) if options.json else text)
    return 0


def _measure_apart(seconds: float, *, is_compiled: bool) -> dict[str, float]:
    """In a process that imports the source with or without compiled modules; empty where there are none."""
    if is_compiled and not list((ROOT / "app").rglob("*.so")):
        return {}
    with tempfile.TemporaryDirectory() as name:
        source = ROOT
        if not is_compiled:
            source = Path(name)
            for package in ("app", "bench"):
                ignored = shutil.ignore_patterns("*.so", "__pycache__", "results")
                shutil.copytree(ROOT / package, source / package, ignore=ignored)
        command = pinned(SERVER_CPU, sys.executable, "-m", "bench.features", "--inside", f"--seconds={seconds}")
        environ = {**os.environ, "PYTHONPATH": str(source)}
        done = subprocess.run(command, cwd=source, env=environ, capture_output=True, text=True, check=True)
    lines: dict[str, float] = json.loads(done.stdout)
    return lines


def measure(seconds: float) -> dict[str, float]:
    """Nanoseconds of a call, for each step of STEPS, and of single parts."""
    requests = [f"GET /b{number % LINKS} HTTP/1.1\r\n".encode() + head for number, head in enumerate(browser_heads())]
    full = Table(LINKS * 2)
    for number in range(LINKS):
        entry = (
            number.to_bytes(8, "big") + int(time.time()).to_bytes(4, "big") + b"https://example.com/page/%d" % number
        )
        full.put(b"b%d" % number, entry)
    none, known = Table(LINKS), {HOST.encode(): b""}
    found: dict[str, float] = {}
    with ExitStack() as stack:
        journal, clients = stack.enter_context(open_journal()), _Clients(stack)

        def lane(links: Table, prefixes: dict[bytes, bytes], append: Any) -> Lane:
            made = Lane(table=links, prefixes=prefixes, append=append)
            book = AnswerBook(time.time())
            made.suffix, made.suffix_close = book.suffix, book.suffix_close
            return made

        variants = {
            "a strict head": (lane(none, {}, None), [-1], MISSED),
            "look-ups": (lane(none, known, None), [-1], MISSED),
            "answer": (lane(full, known, _nothing), [-1], KEPT),
            "journal": (lane(full, known, journal.append), [-1], KEPT),
            "write": (lane(full, known, journal.append), clients.descriptors, KEPT),
        }
        for name, (made, descriptors, expected) in variants.items():
            assert made.answer(requests[0], bytes(16), -1, False) == expected, name
            pairs = list(zip(requests, cycle(descriptors), strict=False))
            found[name] = _time(partial(_loop, made.answer, pairs), len(pairs), seconds, clients.read_all)
        for name, stand_in in ((EMPTY, _empty), (NOTHING, partial(_call_nothing, bytes(16)))):
            found[name] = _time(partial(_loop, stand_in, pairs), len(pairs), seconds)
    bodies = [bytes(40) + request for request in requests]
    found[CHECKSUM] = _time(lambda: [zlib.crc32(body) for body in bodies], len(bodies), seconds)
    book = AnswerBook(time.time())
    found[DATE] = _time(lambda: book.refresh(time.time()), 1, seconds)
    return found


def _loop(answer: Callable[[bytes, bytes, int, bool], Any], pairs: list[tuple[bytes, int]]) -> None:
    peer = bytes(16)
    for request, descriptor in pairs:
        answer(request, peer, descriptor, False)


def _nothing(*_: Any) -> bool:
    """Takes the journal's place."""
    return True


def _call_nothing(entry: bytes, request: bytes, peer: bytes, _descriptor: int, _may_close: bool) -> None:
    """What the stand-in for the journal costs, arguments and all."""
    _nothing(request, 0, entry, 0, 0, peer)


def _empty(_request: bytes, _peer: bytes, _descriptor: int, _may_close: bool) -> None:
    """Stands for the call itself."""


def _time(call: Callable[[], Any], calls: int, seconds: float, between: Callable[[], Any] = lambda: None) -> float:
    """Nanoseconds for each of `calls`: the fastest tenth of many passes, because others only make it slower."""
    passes: list[float] = []
    end = time.perf_counter() + seconds
    while len(passes) < PASSES_MIN or time.perf_counter() < end:
        began = time.perf_counter()
        call()
        passes.append((time.perf_counter() - began) / calls * 1e9)
        between()
    return statistics.quantiles(passes, n=10, method="inclusive")[0]


@contextmanager
def open_journal() -> Iterator[Journal]:
    """A journal with its upkeep thread, whose segments are given back at once."""
    with tempfile.TemporaryDirectory() as name:
        source, lock = create_source(Path(name), "bench", bytes(8))
        journal = Journal(source)
        ends = threading.Event()

        def keep() -> None:
            while not ends.is_set():
                journal.upkeep(0.05)
                for sequence in source.segments()[:-2]:
                    source.release(sequence)

        thread = threading.Thread(target=keep)
        thread.start()
        try:
            yield journal
        finally:
            ends.set()
            thread.join()
            journal.close()
            os.close(lock)


class _Clients:
    """Connections over the loopback, as many as the load has; what is written to them is read between passes."""

    def __init__(self, stack: ExitStack) -> None:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._theirs = [
            stack.enter_context(socket.create_connection(listener.getsockname())) for _ in range(CONNECTIONS)
        ]
        self._ours = [stack.enter_context(listener.accept()[0]) for _ in range(CONNECTIONS)]
        for end in (*self._theirs, *self._ours):
            end.setblocking(False)
        self.descriptors = [end.fileno() for end in self._ours]

    def read_all(self) -> None:
        """Empties them."""
        for end in self._theirs:
            with contextlib.suppress(BlockingIOError):
                while end.recv(1 << 20):
                    pass


def costs(lines: dict[str, float]) -> dict[str, float]:
    """What each step adds to the one before."""
    before = lines[EMPTY]
    found = {}
    for name in STEPS:
        found[name], before = lines[name] - before, lines[name]
    stand_in = max(0.0, lines[NOTHING] - lines[EMPTY])
    found["answer"] -= stand_in
    found["journal"] += stand_in
    return found


def table(kept: dict[str, Any]) -> str:
    """Markdown, in microseconds."""
    kinds: dict[str, dict[str, float]] = kept["lines"]
    by_kind = {kind: costs(lines) for kind, lines in kinds.items()}
    lines = [kept["heading"], "", f"| part | what | {' µs | '.join(kinds)} µs |", "|---|---|" + "--:|" * len(kinds)]
    for name, what in STEPS.items():
        lines.append(
            f"| {name} | {what} | " + " | ".join(f"{found[name] / 1000:.2f}" for found in by_kind.values()) + " |"
        )
    sums = " | ".join(f"{sum(found.values()) / 1000:.2f}" for found in by_kind.values())
    lines.append(f"| **all** | a redirect, from bytes to write(2) | {sums} |")
    for name in (CHECKSUM, DATE):
        lines.append(f"| {name} | | " + " | ".join(f"{found[name] / 1000:.2f}" for found in kinds.values()) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
