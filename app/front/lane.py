"""The fast lane: what runs for every redirect that memory can answer, and nothing else.

In: bytes as a client sent them, and the descriptor to answer on. Out: one journal record, then the answer, written at
once. No await, no allocation that is not needed: `Lane` is the state that this takes, `Gate` keeps it up to date.
What is not one plain head of a link in `table.hot` is left untouched (MISSED) for `Connection` to judge.

One typed source: compiled by Cython where there is a C compiler, interpreted elsewhere (docs/performance.md).
`lane.pxd` tells the other compiled modules of the front the types of the fields. May import: redirect, journal.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

import cython
from cython import compiled

from app.front.head import plain, plain_or_close
from app.journal import REDIRECT_GET, REDIRECT_HEAD
from app.observe import REDIRECT_EDGES_S
from app.redirect import ENTRY_LOCATION, PREFIX, Table

if compiled:
    from cython.cimports.app.front.head import Plain, scan
    from cython.cimports.cpython.bytes import PyBytes_FromStringAndSize
    from cython.cimports.libc.string import memcpy
    from cython.cimports.posix.time import CLOCK_REALTIME, clock_gettime, timespec
    from cython.cimports.posix.unistd import write as c_write

__all__ = ["CLOSES", "KEPT", "LATENCY_SAMPLE", "MISSED", "Lane"]

#: What became of the bytes: not answered here, answered, answered and the connection ends.
MISSED, KEPT, CLOSES = 0, 1, 2
LATENCY_SAMPLE = 64  # one hit in so many is timed, and counts for all of them

_write = os.write
_now_ns = time.time_ns
_perf = time.perf_counter
_PREFIX = cython.declare(bytes, PREFIX)
_SAMPLE_MASK = cython.declare(cython.int, LATENCY_SAMPLE - 1)
_LOCATION = cython.declare(cython.Py_ssize_t, ENTRY_LOCATION)
_GET = cython.declare(cython.int, REDIRECT_GET)
_HEAD = cython.declare(cython.int, REDIRECT_HEAD)
if compiled:
    _OUT_BYTES = cython.declare(cython.Py_ssize_t, 16384)  # a Location is at most 8 KiB and a query is never added here
    _out = cython.declare(cython.uchar[16384])


class Lane:
    """The state of the fast lane of one process.

    Attributes:
        hits: redirects answered here.
        second: the monotonic second, set once a second; good enough for time-outs.
        prefixes: raw Host header -> prefix of a key; only hosts that were judged once.
        suffix: the end of an answer, with the Date; `suffix_close` the same with `Connection: close`.
        unsent: after KEPT or CLOSES, the bytes that the socket did not take.
        latency: timed hits by bucket of REDIRECT_EDGES_S, and `latency_s` their sum.
    """

    if not compiled:
        # fmt: off
        __slots__ = (
            "append", "hits", "latency", "latency_s", "prefixes", "second", "suffix", "suffix_close", "table", "unsent",
        )
        # fmt: on

    def __init__(
        self,
        *,
        table: Table,
        prefixes: dict[bytes, bytes],
        append: Callable[[bytes, int, bytes, int, int, bytes], bool],
    ) -> None:
        self.table = table
        self.prefixes = prefixes
        self.append = append
        self.suffix = self.suffix_close = self.unsent = b""
        self.hits = self.second = 0
        self.latency = [0] * (len(REDIRECT_EDGES_S) + 1)
        self.latency_s = 0.0

    def answer(  # noqa: PLR0912  a call costs the interpreter 50 ns
        self, data: bytes, peer: bytes, descriptor: cython.int, may_close: cython.bint
    ) -> cython.int:
        """Answers `data` if it is exactly one plain head of a link that is known.

        Args:
            data: everything that is unread.
            peer: 16 bytes.
            descriptor: a non-blocking socket; -1: everything goes to `unsent`.
            may_close: whether a head with `Connection: close` is answered here, too.
        """
        started: cython.double = 0.0
        closes: cython.bint = False
        sent: cython.Py_ssize_t = 0
        size: cython.Py_ssize_t
        if compiled:
            bounds = cython.declare(Plain)
            if not scan(data, may_close, cython.address(bounds)):
                return MISSED
            start: cython.p_char = data
            key: bytes = PyBytes_FromStringAndSize(start + bounds.slug, bounds.slug_end - bounds.slug)
            host: bytes = PyBytes_FromStringAndSize(start + bounds.host, bounds.host_end - bounds.host)
            prefix = self.prefixes.get(host)
            closes = bounds.close
        else:
            found: Any = plain_or_close(data) if may_close else plain(data)
            if found is None:
                return MISSED
            key = found[0]
            prefix = self.prefixes.get(found[1])
            closes = may_close and found[2]
        if prefix is None:
            return MISSED
        if prefix:
            key = prefix + key
        hot: dict[bytes, bytes] = self.table.hot
        entry: bytes | None = hot.get(key)
        if entry is None:
            return MISSED
        self.hits += 1
        if not self.hits & _SAMPLE_MASK:
            started = _perf()
        suffix: bytes = self.suffix_close if closes else self.suffix
        self.append(data, _now_ms(), entry, 0, _GET if data[0] == 71 else _HEAD, peer)
        if compiled:
            size = _join(entry, suffix)
            if descriptor >= 0 and size:
                sent = max(0, c_write(descriptor, _out, size))
            if sent != size or not size:
                self.unsent = (_PREFIX + entry[_LOCATION:] + suffix)[sent:]
        else:
            answer = _PREFIX + entry[_LOCATION:] + suffix
            if descriptor >= 0:
                try:
                    sent = _write(descriptor, answer)
                except OSError:  # full or broken: the transport waits, or reports it
                    sent = 0
            if sent != len(answer):
                self.unsent = answer[sent:]
        if started:
            self.observe(_perf() - started)
        return CLOSES if closes else KEPT

    def observe(self, seconds: float) -> None:
        """One timed hit, standing for LATENCY_SAMPLE of them."""
        self.latency[bisect_left(REDIRECT_EDGES_S, seconds)] += LATENCY_SAMPLE
        self.latency_s += seconds * LATENCY_SAMPLE


@cython.cfunc
@cython.inline
def _now_ms() -> cython.longlong:
    """Unix time in ms."""
    if compiled:
        moment = cython.declare(timespec)
        clock_gettime(CLOCK_REALTIME, cython.address(moment))
        return moment.tv_sec * 1000 + moment.tv_nsec // 1000000
    return _now_ns() // 1_000_000


if compiled:

    @cython.cfunc
    @cython.inline
    @cython.exceptval(check=False)
    def _join(entry: bytes, suffix: bytes) -> cython.Py_ssize_t:
        """Puts an answer together in `_out`; its size, or 0 when it does not fit."""
        start: cython.p_uchar = _PREFIX
        middle: cython.p_uchar = entry
        end: cython.p_uchar = suffix
        a: cython.Py_ssize_t = len(_PREFIX)
        b: cython.Py_ssize_t = len(entry) - _LOCATION
        c: cython.Py_ssize_t = len(suffix)
        if a + b + c > _OUT_BYTES:
            return 0
        memcpy(_out, start, a)
        memcpy(_out + a, middle + _LOCATION, b)
        memcpy(_out + a + b, end, c)
        return a + b + c
