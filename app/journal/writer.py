"""Appends one record for each request to the mapped segment of this process.

In: a request's head and what it was answered with, from the front. Out: bytes in the page cache, which survive the
process; the aggregator reads them there. Nothing here waits: a record is copied into memory that a thread mapped,
filled with zeros and touched before. Layout: `app.journal.format`.

    hot path          append: copy, then checksum and length in one store (so a record without a length was not written)
    upkeep (thread)   prepare: the next segment; sync: fdatasync, once a second; both release the GIL

kill -9 at any point leaves the records whose length was stored. When no segment can be had (disk full, limit), records
are dropped and counted and redirects go on.
Why a map and not write(2): docs/performance.md#journal. May import: the standard library.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import zlib
from typing import Any

import cython
from cython import compiled

from app.journal.format import (
    FIXED_BYTES,
    HEAD_BYTES_MAX,
    SEAL,
    SEGMENT_BYTES,
    SEGMENT_HEADER_BYTES,
    segment_header,
)
from app.journal.source import Source

if compiled:
    from cython.cimports.cpython.bytes import PyBytes_FromStringAndSize
    from cython.cimports.libc.string import memcpy, memset

__all__ = ["Journal"]

_pack_fixed = struct.Struct("<Q8sHBx4x16s").pack
_crc32 = zlib.crc32
_FIXED = cython.declare(cython.Py_ssize_t, FIXED_BYTES)
_HEAD_MAX = cython.declare(cython.Py_ssize_t, HEAD_BYTES_MAX)
_TAIL = 8  # room for the seal behind the last record
ZERO_STEP_BYTES = 256 * 1024
FREE_KEPT_MAX = 2  # applied segments kept for reuse; their pages are warm


class _Segment:
    """One mapped segment."""

    def __init__(self, path: str, sequence: int, size: int) -> None:
        self.path = path
        self.sequence = sequence
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(self.descriptor, 0, size)  # a full disk fails here, not as SIGBUS in a store
            self.map = mmap.mmap(self.descriptor, size)
        except BaseException:
            os.close(self.descriptor)
            os.unlink(path)
            raise
        self.words = memoryview(self.map).cast("Q")

    def close(self) -> None:
        self.words.release()
        self.map.close()
        os.close(self.descriptor)


@cython.cclass
class Journal:
    """The journal of one process.

    Attributes:
        appended: records written since the start.
        dropped: records lost because there was no room.
        bytes_max: segments are made only while the source stays below this many bytes.
    """

    appended = cython.declare(cython.longlong, visibility="public")
    dropped = cython.declare(cython.longlong, visibility="public")
    bytes_max = cython.declare(object, visibility="public")
    source = cython.declare(object, visibility="public")
    _size: cython.Py_ssize_t
    _position: cython.Py_ssize_t
    _limit: cython.Py_ssize_t
    _last_ms: cython.longlong
    _segment: Any
    _next: Any
    _map: Any
    _words: Any
    _synced: Any
    _retired: Any
    _lock: Any
    _wanted: Any
    if compiled:
        _view: cython.uchar[::1]
        _base: cython.p_uchar

    def __init__(self, source: Source, *, segment_bytes: int = SEGMENT_BYTES, bytes_max: int = 64 * 1024**3) -> None:
        self.source = source
        self.appended = 0
        self.dropped = 0
        self.bytes_max = bytes_max
        self._size = segment_bytes
        self._last_ms = 0
        self._position = 0
        self._limit = 0
        self._segment = None
        self._next = None
        self._map = None
        self._words = None
        self._retired: list[_Segment] = []
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self.prepare()
        self._roll()
        self.prepare()

    def append(
        self, head: bytes, time_ms: cython.longlong, link: bytes, variant: cython.int, flags: cython.int, peer: bytes
    ) -> bool:
        """Journals one request; False when there was no room and it was dropped.

        Args:
            head: the request's head; cut at HEAD_BYTES_MAX.
            time_ms: since 1970; a clock that steps back is held at the last time.
            link: its first 8 bytes are the link id.
            variant: 0 to 65535.
            flags: see `flags_of`.
            peer: 16 bytes.
        """
        length: cython.Py_ssize_t = len(head)
        position: cython.Py_ssize_t = self._position
        end: cython.Py_ssize_t
        now_ms: cython.longlong = time_ms
        if now_ms < self._last_ms:
            now_ms = self._last_ms
        else:
            self._last_ms = now_ms
        if length > _HEAD_MAX:
            head = head[:HEAD_BYTES_MAX]
            length = _HEAD_MAX
        end = position + _FIXED + length
        if end > self._limit:
            if not self._roll():
                self.dropped += 1
                return False
            position = self._position
            end = position + _FIXED + length
        if compiled:
            body: bytes = PyBytes_FromStringAndSize(cython.NULL, _FIXED - 8 + length)
            record: cython.p_uchar = body
            content: cython.p_uchar = head
            identity: cython.p_uchar = link
            address: cython.p_uchar = peer
            memcpy(record, cython.address(now_ms), 8)
            memcpy(record + 8, identity, 8)
            memset(record + 16, 0, 8)
            record[16] = variant & 255
            record[17] = variant >> 8 & 255
            record[18] = flags
            memcpy(record + 24, address, 16)
            memcpy(record + _FIXED - 8, content, length)
            memcpy(self._base + position + 8, record, _FIXED - 8 + length)
            start: cython.ulonglong = cython.cast(cython.ulonglong, _crc32(body)) << 32 | length + 1
            cython.cast(cython.pointer(cython.ulonglong), self._base + position)[0] = start
        else:
            body = _pack_fixed(now_ms, link, variant, flags, peer) + head
            self._map[position + 8 : end] = body
            self._words[position >> 3] = _crc32(body) << 32 | length + 1
        self._position = (end + 7) & -8
        self.appended += 1
        return True

    @property
    def position(self) -> int:
        """Where the next record goes, as a position of the source."""
        sequence: int = 0 if self._segment is None else self._segment.sequence
        position: int = sequence * self._size + self._position
        return position

    @property
    def bytes_used(self) -> int:
        """Bytes of all segments on disk, applied ones that wait for reuse included."""
        names: list[str] = os.listdir(self.source.folder)
        return (len(names) - 1) * int(self._size)  # all but the lock

    def upkeep(self, timeout_s: float) -> None:
        """One turn of the upkeep thread: waits until a segment is wanted or time is up, prepares, syncs."""
        self._wanted.wait(timeout_s)
        self._wanted.clear()
        self.prepare()
        self.sync()

    def prepare(self) -> None:
        """Makes the next segment if there is none, from an applied one where possible; deletes surplus ones."""
        free = sorted(self.source.folder.glob("*.free"))
        with self._lock:
            if self._next is None:
                sequence = 0 if self._segment is None else self._segment.sequence + 1
                self._next = self._make(sequence, free)
        for path in free[FREE_KEPT_MAX:]:
            path.unlink(missing_ok=True)

    def sync(self) -> None:
        """To disk: everything appended before the call."""
        with self._lock:
            retired, self._retired = self._retired, []
            current = self._segment
            descriptor = -1 if current is None else os.dup(current.descriptor)
        for segment in retired:
            os.fdatasync(segment.descriptor)
            segment.close()
        if descriptor >= 0:
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)

    def seal(self) -> None:
        """Ends the current segment, so that the aggregator can free it; the next record opens another."""
        if self._segment is not None and self._position > SEGMENT_HEADER_BYTES:
            self._roll()

    def close(self) -> None:
        """Syncs and unmaps; appends after it are dropped."""
        self.sync()
        with self._lock:
            self._limit = 0
            unused, self._next = self._next, None
            current, self._segment = self._segment, None
            self._detach()
            if current is not None:
                current.close()
            if unused is not None:
                unused.close()
                os.unlink(unused.path)

    def _make(self, sequence: int, free: list[Any]) -> Any:
        """A zero-filled segment with its header, under its final name; None when the disk or the limit forbids it."""
        path = str(self.source.segment_path(sequence))
        if free:
            reused = free.pop(0)
            segment = _Segment(str(reused), sequence, self._size)
            _fill_zero(segment.descriptor, self._size)
            segment.map[:SEGMENT_HEADER_BYTES] = segment_header(sequence)
            os.rename(reused, path)
            segment.path = path
            return segment
        if self.bytes_used + self._size > self.bytes_max:
            return None
        try:
            segment = _Segment(path + ".new", sequence, self._size)
        except OSError:
            return None
        segment.map[:SEGMENT_HEADER_BYTES] = segment_header(sequence)
        os.rename(path + ".new", path)
        segment.path = path
        return segment

    def _roll(self) -> bool:
        """Seals the current segment and goes on in the next; False when there is none."""
        with self._lock:
            following = self._next
            if following is None:
                self._wanted.set()
                return False
            self._next = None
            if self._segment is not None:
                self._words[self._position >> 3] = SEAL
                self._retired.append(self._segment)
            self._detach()
            self._segment = following
            self._map = following.map
            self._words = following.words
            if compiled:
                self._view = following.map
                self._base = cython.address(self._view[0])
            self._position = SEGMENT_HEADER_BYTES
            self._limit = self._size - _TAIL
        self._wanted.set()
        return True

    def _detach(self) -> None:
        """Lets go of the views of the current map, so that it can be unmapped."""
        self._map = None
        self._words = None
        if compiled:
            self._view = None


def _fill_zero(descriptor: int, size: int) -> None:
    """Writes zeros by pwrite, which releases the GIL; a store into the map would hold it for milliseconds."""
    zeros = bytes(ZERO_STEP_BYTES)
    for offset in range(0, size, ZERO_STEP_BYTES):
        os.pwrite(descriptor, zeros[: min(ZERO_STEP_BYTES, size - offset)], offset)
