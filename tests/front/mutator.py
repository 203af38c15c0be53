"""Makes streams that are nearly right out of the corpus: knows lines, names, numbers, ends and targets of requests.

Pure, and the same for the same random numbers. A random byte seldom gets past a request line; these changes do.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from itertools import accumulate

__all__ = ["Mutator"]

BYTES_MAX = 40_000
OK = b"GET /abc7 HTTP/1.1\r\nHost: s.example\r\n\r\n"
_ENDS = b"\r\n|\n|\r|\r\r\n|\n\r|\r\n\r\n|\n\n|\r\n |\r\n\t||\x0b|\x0c|\x85".split(b"|")
_DANGEROUS = b'\0\t\n\x0b\x0c\r\x1f "#%(),/:;=?@A[\\]_`a{|}~09\x7f\x80\x85\xa0\xff'
_TEXTS = b"\r\n|\r\n\r\n|\r\n |0\r\n\r\n|%0d%0a|%00|%2f|//|../|://|HTTP/1.0|HTTP/1.1".split(b"|")
_BYTES = (*(bytes([byte]) for byte in _DANGEROUS), *_TEXTS)
_METHODS = b"GET|HEAD|POST|PUT|DELETE|OPTIONS|TRACE|CONNECT|get|G|GET\t| GET".split(b"|")
_LINES = tuple(
    b"""\
Content-Length: 0
Content-Length: 5
Content-Length: 39
Content-Length: 1048577
Content-Length: 5, 5
Transfer-Encoding: chunked
Transfer-Encoding: identity
transfer-encoding: Chunked\x20
Transfer-Encoding : chunked
Host: s.example
Host: other.example:80
Host:
Host: a,b
host: [::1]
Host: u@s.example
Connection: close
Connection: keep-alive
connection: Keep-Alive, Close
Connection: upgrade
Connection: te
Upgrade: h2c
Expect: 100-continue
TE: trailers
Trailer: X
Keep-Alive: 5
Proxy-Connection: close
User-Agent: Mozilla/5.0
Accept: */*
Accept-Encoding: gzip
Accept-Language: de
Referer: https://x.example/
X: y
 folded
\tfolded
nocolon
X : y
: y

5
hello
0
ff
1;ext=x
GET /abc7 HTTP/1.1
HEAD /abc7 HTTP/1.1
GET /abc7 HTTP/1.0
GET /nosuch HTTP/1.1
GET /api/x HTTP/1.1
GET /%61bc7 HTTP/1.1
GET http://s.example/abc7 HTTP/1.1
POST /api/x HTTP/1.1
OPTIONS * HTTP/1.1""".split(b"\n")
)
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_NUMBER = re.compile(rb"[0-9]+")

Change = Callable[["Mutator", bytes], bytes]


class Mutator:
    """`make()` gives the next stream."""

    def __init__(self, rng: random.Random, seeds: Sequence[bytes], weights: Sequence[int]) -> None:
        self.rng = rng
        self._seeds = seeds
        self._weights = list(accumulate(weights))

    def make(self) -> bytes:
        """One stream: a seed, or several, changed a few times."""
        raw = self._pick()
        for _ in range(self.rng.choice((1, 1, 1, 1, 2, 2, 3, 5))):
            raw = self.rng.choice(_CHANGES)(self, raw)[:BYTES_MAX]
        return raw

    def cut(self, raw: bytes) -> list[bytes]:
        """The stream in packets: often whole, seldom byte by byte."""
        kind = self.rng.random()
        if kind < 0.5 or len(raw) < 2:
            return [raw] if raw else []
        if kind < 0.55 and len(raw) < 400:
            return [raw[at : at + 1] for at in range(len(raw))]
        at = sorted(self.rng.sample(range(1, len(raw)), min(len(raw) - 1, self.rng.choice((1, 1, 2, 5)))))
        return [raw[a:b] for a, b in zip([0, *at], [*at, len(raw)], strict=True)]

    def _pick(self) -> bytes:
        return self.rng.choices(self._seeds, cum_weights=self._weights)[0]

    def _lines(self, raw: bytes) -> list[bytes]:
        return [line for line in _LINE.findall(raw) if line] or [b""]

    # Changes of whole requests.

    def _splice(self, raw: bytes) -> bytes:
        other = self._pick()
        return raw[: self.rng.randrange(len(raw) + 1)] + other[self.rng.randrange(len(other) + 1) :]

    def _join(self, raw: bytes) -> bytes:
        other = self.rng.choice((OK, OK, self._pick()))
        return raw + other if self.rng.random() < 0.7 else other + raw

    def _truncate(self, raw: bytes) -> bytes:
        return raw[: self.rng.randrange(len(raw) + 1)]

    # Changes of lines.

    def _with_lines(self, raw: bytes, change: Callable[[list[bytes], int], None]) -> bytes:
        lines = self._lines(raw)
        change(lines, self.rng.randrange(len(lines)))
        return b"".join(lines)

    def _repeat_line(self, raw: bytes) -> bytes:
        count = self.rng.choice((1, 1, 1, 2, 5, 90, 900))
        return self._with_lines(raw, lambda lines, at: lines.insert(at, lines[at] * count))

    def _drop_line(self, raw: bytes) -> bytes:
        return self._with_lines(raw, lambda lines, at: lines.__delitem__(at))

    def _move_line(self, raw: bytes) -> bytes:
        return self._with_lines(raw, lambda lines, at: lines.insert(self.rng.randrange(len(lines)), lines.pop(at)))

    def _insert_line(self, raw: bytes) -> bytes:
        line = self.rng.choice(_LINES) + (b"\r\n" if self.rng.random() < 0.9 else self.rng.choice(_ENDS))
        return self._with_lines(raw, lambda lines, at: lines.insert(at + (self.rng.random() < 0.8), line))

    def _borrow_line(self, raw: bytes) -> bytes:
        line = self.rng.choice(self._lines(self._pick()))
        return self._with_lines(raw, lambda lines, at: lines.insert(at + 1, line))

    def _end_line(self, raw: bytes) -> bytes:
        def change(lines: list[bytes], at: int) -> None:
            lines[at] = lines[at].rstrip(b"\r\n") + self.rng.choice(_ENDS)

        return self._with_lines(raw, change)

    def _space_colon(self, raw: bytes) -> bytes:
        def change(lines: list[bytes], at: int) -> None:
            space = self.rng.choice((b" ", b"\t", b"\x0b", b"", b"\xa0", b"\r\n "))
            lines[at] = lines[at].replace(b":", self.rng.choice((space + b":", b":" + space, b":" + space * 2)), 1)

        return self._with_lines(raw, change)

    def _fold_case(self, raw: bytes) -> bytes:
        def change(lines: list[bytes], at: int) -> None:
            lines[at] = self.rng.choice((bytes.upper, bytes.lower, bytes.swapcase))(lines[at])

        return self._with_lines(raw, change)

    def _set_method(self, raw: bytes) -> bytes:
        return self.rng.choice(_METHODS) + raw[raw.find(b" ") :] if b" " in raw[:12] else raw

    # Changes of numbers and bytes.

    def _set_number(self, raw: bytes) -> bytes:
        numbers = list(_NUMBER.finditer(raw))
        if not numbers:
            return raw
        match = self.rng.choice(numbers)
        value = int(match[0][:18])
        new = self.rng.choice((value + 1, max(0, value - 1), 0, value * 10, 2**32, 2**64, len(raw) - match.end()))
        text = self.rng.choice((b"%d", b"%d", b"%d", b"0%d", b"+%d", b"-%d", b"0x%x", b"%d.0", b"%x"))
        return raw[: match.start()] + text % new + raw[match.end() :]

    def _set_bytes(self, raw: bytes) -> bytes:
        at = self.rng.randrange(len(raw) + 1)
        end = at + self.rng.choice((0, 0, 1, 1, 2, 4))
        return raw[:at] + self.rng.choice(_BYTES) + raw[end:]

    def _flip_byte(self, raw: bytes) -> bytes:
        at = self.rng.randrange(len(raw) + 1)
        return raw[:at] + bytes([self.rng.randrange(256)]) + raw[at + 1 :]

    def _drop_bytes(self, raw: bytes) -> bytes:
        at = self.rng.randrange(len(raw) + 1)
        return raw[:at] + raw[at + self.rng.choice((1, 1, 2, 3, 8)) :]


_CHANGES: tuple[Change, ...] = (
    Mutator._splice, Mutator._join, Mutator._truncate, Mutator._repeat_line, Mutator._drop_line, Mutator._move_line,
    Mutator._insert_line, Mutator._insert_line, Mutator._insert_line, Mutator._borrow_line, Mutator._end_line,
    Mutator._end_line, Mutator._space_colon, Mutator._fold_case, Mutator._set_method, Mutator._set_number,
    Mutator._set_bytes, Mutator._set_bytes, Mutator._set_bytes, Mutator._flip_byte, Mutator._drop_bytes,
)  # fmt: skip
