"""The journal's layout on disk, and how to read it back. Pure: bytes in, records out.

A source is one run of one web process: `<state>/journal/<source>/00000000.seg, 00000001.seg, …`, each SEGMENT_BYTES
long and zero-filled before use. Byte order little-endian, but the link id, which is kept as its 8 bytes.

    segment   0  8  magic "BLTJRNL2"
              8  8  sequence number, as in the file's name
             16    records, each at a multiple of 8

    record    0  4  length of the head in bytes, + 1       written last: 0 means "not written yet"
              4  4  checksum of all that follows up to the head's end
              8  8  time, ms since 1970, never falling within a source
             16  8  link id (zeros: no link)
             24  2  variant
             26  1  flags: bit 0 HEAD, bits 1-3 Outcome
             27  1  zero
             28  4  zero
             32 16  peer address (IPv4 as ::ffff:a.b.c.d)
             48     head, at most HEAD_BYTES_MAX; zeros up to the next multiple of 8

    seal      0  4  0xFFFFFFFF: what follows is in the next segment
              4  4  checksum of nothing

The checksum is a CRC-32 that begins with the segment's seed, which source and sequence number make. So a record counts
only where it was written: not in a segment that was used again and whose zeros a power cut took back; not in a head,
where a client wrote what looks like records and a reader that looks for the next whole one would find them.

A position is global within a source: sequence * SEGMENT_BYTES + offset, so it only grows. A killed process leaves whole
records and perhaps one without a length; a power cut may leave holes and torn records, which `scan` steps over and
counts. May import: the standard library.
"""

from __future__ import annotations

import re
import struct
import zlib
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
    "RawRecord",
    "Record",
    "Scan",
    "encode_record",
    "encode_seal",
    "flags_of",
    "header_is_whole",
    "scan",
    "segment_header",
    "segment_seed",
    "source_seed",
]

SEGMENT_BYTES = 16 * 1024 * 1024  # a quarter second of records at 100,000/s; made ahead in 1 ms
SEGMENT_HEADER_BYTES = 16
RECORD_ALIGN = 8
FIXED_BYTES = 48
HEAD_BYTES_MAX = 8 * 1024  # a longer head is cut: nothing that is counted stands behind it
SEAL = 0xFFFFFFFF
NO_LINK = bytes(8)

_MAGIC = b"BLTJRNL2"
_NOT_ZERO = re.compile(rb"[^\0]").search
_ZEROS = bytes(64 * 1024)  # compared with; 2 ms for a segment of zeros, where the expression alone takes 200
_HEADER = struct.Struct("<8sQ")
_START = struct.Struct("<II")
_BODY = struct.Struct("<Q8sHBx4x16s")
_WHOLE = struct.Struct("<IIQ8sHBx4x16s")
assert _START.size + _BODY.size == _WHOLE.size == FIXED_BYTES

#: (position, time_ms, link as 8 bytes, variant, flags, peer, head): a Record for those who read 100,000 a second.
RawRecord = tuple[int, int, bytes, int, int, bytes, bytes]


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
    """One request as journaled; `link` is NO_LINK when none was concerned."""

    position: int
    time_ms: int
    link: bytes
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
        is_torn: at `offset` stands something that has a length and cannot be read.
        damaged: stretches stepped over because no record could be read from them.
    """

    offset: int = SEGMENT_HEADER_BYTES
    is_sealed: bool = False
    is_torn: bool = False
    damaged: int = 0


def source_seed(source: str) -> int:
    """What the seeds of a source's segments begin with; the source's name is random, and no client sees it."""
    return zlib.crc32(source.encode())


def segment_seed(source: int, sequence: int) -> int:
    """What checksums of a segment begin with; `source` is from `source_seed`."""
    return zlib.crc32(sequence.to_bytes(8, "little"), source)


def segment_header(sequence: int) -> bytes:
    """The first SEGMENT_HEADER_BYTES of a segment."""
    return _HEADER.pack(_MAGIC, sequence)


def header_is_whole(segment: memoryview, sequence: int) -> bool:
    """Whether a segment begins as it should; its records prove themselves, whatever is said here."""
    return bytes(segment[:SEGMENT_HEADER_BYTES]) == segment_header(sequence)


def encode_record(head: bytes, time_ms: int, link: bytes, variant: int, flags: int, peer: bytes, seed: int) -> bytes:
    """A whole record, padded; the writer stores the same bytes, its length last."""
    head = head[:HEAD_BYTES_MAX]
    body = _BODY.pack(time_ms, link, variant, flags, peer) + head
    record = _START.pack(len(head) + 1, zlib.crc32(body, seed)) + body
    return record + bytes(-len(record) % RECORD_ALIGN)


def encode_seal(seed: int) -> bytes:
    """The seal of a segment."""
    return _START.pack(SEAL, zlib.crc32(b"", seed))


def scan(
    segment: memoryview,
    base: int,
    state: Scan,
    seed: int,
    *,
    is_dead: bool,
    skip_torn: bool,
    bytes_max: int = SEGMENT_BYTES,
) -> list[RawRecord]:
    """Reads records from `state.offset` on, and moves it behind them.

    Args:
        segment: the bytes of one segment.
        base: the position of its first byte.
        state: where to go on; changed.
        seed: from `segment_seed`.
        is_dead: nobody writes any more, so a zero length with records behind it is a hole rather than the end.
        skip_torn: what has a length but cannot be read is stepped over rather than waited for.
        bytes_max: about how many bytes are read at once.
    """
    records: list[RawRecord] = []
    until = min(len(segment), state.offset + bytes_max)
    while state.offset < until and not state.is_sealed:
        state.offset = _read_whole(segment, base, state.offset, until, seed, records)
        if state.offset >= until or state.offset + _START.size > len(segment):
            break
        length, checksum = _START.unpack_from(segment, state.offset)
        if length == SEAL and checksum == seed:
            state.is_sealed = True
            break
        following = _resume(segment, state.offset, seed) if (skip_torn if length else is_dead) else None
        if following is None:
            state.is_torn = bool(length)
            break
        state.damaged += 1
        state.offset = following
    return records


def _read_whole(segment: memoryview, base: int, offset: int, until: int, seed: int, records: list[RawRecord]) -> int:
    """Appends the records from `offset` on as long as they are whole and begin before `until`; where it stopped.

    1.1 µs a record of 600 bytes, half of it the checksum.
    """
    unpack, crc32, append = _WHOLE.unpack_from, zlib.crc32, records.append
    size = len(segment)
    last = min(until, size - FIXED_BYTES + 1)
    while offset < last:
        length, checksum, time_ms, link, variant, flags, peer = unpack(segment, offset)
        stop = offset + (FIXED_BYTES - 1) + length
        if not 0 < length <= HEAD_BYTES_MAX + 1 or stop > size or crc32(segment[offset + 8 : stop], seed) != checksum:
            break
        append((base + offset, time_ms, link, variant, flags, peer, bytes(segment[offset + FIXED_BYTES : stop])))
        offset = (stop + 7) & -RECORD_ALIGN
    return offset


def _is_whole(segment: memoryview, offset: int, seed: int) -> bool:
    """Whether a record or a seal stands at an offset."""
    length, checksum = _START.unpack_from(segment, offset)
    if length == SEAL:
        return bool(checksum == seed)
    stop = offset + FIXED_BYTES - 1 + length
    if not 0 < length <= HEAD_BYTES_MAX + 1 or stop > len(segment):
        return False
    found: int = checksum
    return zlib.crc32(segment[offset + 8 : stop], seed) == found


def _resume(segment: memoryview, offset: int, seed: int) -> int | None:
    """The offset of the next whole record or seal behind `offset`; None when there is none."""
    at = offset + RECORD_ALIGN
    while (found := _next_not_zero(segment, at)) is not None:
        at = found // RECORD_ALIGN * RECORD_ALIGN
        if at + _START.size > len(segment):
            return None
        if _is_whole(segment, at, seed):
            return at
        at += RECORD_ALIGN
    return None


def _next_not_zero(segment: memoryview, offset: int) -> int | None:
    """The offset of the first byte from `offset` on that is not zero; None when there is none."""
    for start in range(offset, len(segment), len(_ZEROS)):
        chunk = bytes(segment[start : start + len(_ZEROS)])
        if chunk != _ZEROS[: len(chunk)] and (found := _NOT_ZERO(chunk)) is not None:
            return start + found.start()
    return None
