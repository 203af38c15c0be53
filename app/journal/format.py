"""The journal's layout on disk, and how to read it back. Pure: bytes in, records out.

A source is one run of one web process: `<state>/journal/<source>/00000000.seg, 00000001.seg, …`, each SEGMENT_BYTES
long and zero-filled before use. Byte order little-endian, but the link id, which is kept as its 8 bytes.

    segment   0  8  magic "BLTJRNL1"
              8  8  sequence number, as in the file's name
             16    records, each at a multiple of 8

    record    0  4  length of the head in bytes, + 1       written last: 0 means "not written yet"
              4  4  CRC-32 of all that follows up to the head's end
              8  8  time, ms since 1970, never falling within a source
             16  8  link id (zeros: no link)
             24  2  variant
             26  1  flags: bit 0 HEAD, bits 1-3 Outcome
             27  1  zero
             28  4  zero
             32 16  peer address (IPv4 as ::ffff:a.b.c.d)
             48     head, at most HEAD_BYTES_MAX; zeros up to the next multiple of 8

The length 0xFFFFFFFF seals a segment: what follows is in the next one. A position is global within a source:
sequence * SEGMENT_BYTES + offset, so it only grows. A killed process leaves whole records and perhaps one without a
length; a power cut may leave holes and torn records, which `scan` steps over and counts.
May import: the standard library.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

__all__ = [
    "FIXED_BYTES",
    "HEAD_BYTES_MAX",
    "NO_LINK",
    "RECORD_ALIGN",
    "REDIRECT_GET",
    "REDIRECT_HEAD",
    "SEAL",
    "SEGMENT_BYTES",
    "SEGMENT_HEADER_BYTES",
    "Outcome",
    "Record",
    "Scan",
    "encode_record",
    "flags_of",
    "scan",
    "segment_header",
]

SEGMENT_BYTES = 16 * 1024 * 1024  # a quarter second of records at 100,000/s; made ahead in 1 ms
SEGMENT_HEADER_BYTES = 16
RECORD_ALIGN = 8
FIXED_BYTES = 48
HEAD_BYTES_MAX = 8 * 1024  # a longer head is cut: nothing that is counted stands behind it
SEAL = 0xFFFFFFFF
NO_LINK = bytes(8)

_MAGIC = b"BLTJRNL1"
_NOT_ZERO = re.compile(rb"[^\0]").search
_HEADER = struct.Struct("<8sQ")
_START = struct.Struct("<II")
_BODY = struct.Struct("<Q8sHBx4x16s")
assert _START.size + _BODY.size == FIXED_BYTES


class Outcome(IntEnum):
    """What a request was answered with."""

    REDIRECT = 0
    NOT_FOUND = 1
    GONE = 2
    UNAVAILABLE = 3
    PASSWORD = 4  # the form was shown, at first or after a wrong try


def flags_of(outcome: Outcome, *, is_head: bool) -> int:
    """A record's flags byte."""
    return outcome << 1 | is_head


REDIRECT_GET = flags_of(Outcome.REDIRECT, is_head=False)
REDIRECT_HEAD = flags_of(Outcome.REDIRECT, is_head=True)


class Record(NamedTuple):
    """One request as journaled; `link` is 0 when none was concerned."""

    position: int
    time_ms: int
    link: int
    variant: int
    flags: int
    peer: bytes
    head: bytes

    @property
    def is_head(self) -> bool:
        """The method was HEAD, which is no click."""
        return bool(self.flags & 1)

    @property
    def outcome(self) -> Outcome:
        """What was answered."""
        return Outcome(self.flags >> 1 & 7)


@dataclass(slots=True)
class Scan:
    """Where a scan stands.

    Attributes:
        offset: of the first byte not yet read.
        is_sealed: the segment holds no more.
        damaged: stretches stepped over because no record could be read from them.
    """

    offset: int = SEGMENT_HEADER_BYTES
    is_sealed: bool = False
    damaged: int = 0


def segment_header(sequence: int) -> bytes:
    """The first SEGMENT_HEADER_BYTES of a segment."""
    return _HEADER.pack(_MAGIC, sequence)


def encode_record(head: bytes, time_ms: int, link: bytes, variant: int, flags: int, peer: bytes) -> bytes:
    """A whole record, padded; the writer stores the same bytes, its length last."""
    head = head[:HEAD_BYTES_MAX]
    body = _BODY.pack(time_ms, link, variant, flags, peer) + head
    record = _START.pack(len(head) + 1, zlib.crc32(body)) + body
    return record + bytes(-len(record) % RECORD_ALIGN)


def scan(segment: memoryview, base: int, state: Scan, *, is_dead: bool, skip_torn: bool) -> Iterator[Record]:
    """Yields records from `state.offset` on; when one is yielded, the offset is already behind it.

    Args:
        segment: the bytes of one segment.
        base: the position of its first byte.
        state: where to go on; changed.
        is_dead: nobody writes any more, so a zero length with records behind it is a hole rather than the end.
        skip_torn: what has a length but cannot be read is stepped over rather than waited for.
    """
    while state.offset + 4 <= len(segment) and not state.is_sealed:
        offset = state.offset
        (length,) = struct.unpack_from("<I", segment, offset)
        if length == SEAL:
            state.is_sealed = True
            return
        record = _read(segment, offset, length, base) if length else None
        if record is not None:
            state.offset = offset + _padded(len(record.head))
            yield record
            continue
        following = _resume(segment, offset, base) if (skip_torn if length else is_dead) else None
        if following is None:
            return
        state.damaged += 1
        state.offset = following


def _padded(head_bytes: int) -> int:
    return (FIXED_BYTES + head_bytes + RECORD_ALIGN - 1) // RECORD_ALIGN * RECORD_ALIGN


def _read(segment: memoryview, offset: int, length: int, base: int) -> Record | None:
    """The record at `offset`, or None if its length or checksum is wrong."""
    stop = offset + FIXED_BYTES + length - 1
    if not 0 < length <= HEAD_BYTES_MAX + 1 or stop > len(segment):
        return None
    (checksum,) = struct.unpack_from("<I", segment, offset + 4)
    if zlib.crc32(segment[offset + 8 : stop]) != checksum:
        return None
    time_ms, link, variant, flags, peer = _BODY.unpack_from(segment, offset + 8)
    head = bytes(segment[offset + FIXED_BYTES : stop])
    return Record(base + offset, time_ms, int.from_bytes(link, "big"), variant, flags, peer, head)


def _resume(segment: memoryview, offset: int, base: int) -> int | None:
    """The offset of the next whole record or seal behind `offset`; None when there is none."""
    at = offset + RECORD_ALIGN
    while (found := _NOT_ZERO(segment, at)) is not None:
        at = found.start() // RECORD_ALIGN * RECORD_ALIGN
        if at + 4 > len(segment):
            return None
        (length,) = struct.unpack_from("<I", segment, at)
        if length == SEAL or _read(segment, at, length, base) is not None:
            return at
        at += RECORD_ALIGN
    return None
