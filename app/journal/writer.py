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

import os
import struct
import threading
import zlib
from collections.abc import Callable
from typing import Any

import cython
from cython import compiled

from app.journal.format import (
    FIXED_BYTES,
    HEAD_BYTES_MAX,
    SEAL,
    SEGMENT_BYTES,
    SEGMENT_HEADER_BYTES,
    segment_seed,
    source_seed,
)
from app.journal.segments import Segment, SegmentStore, bytes_used
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
_IDLE_MS = 3_600_000  # a source that nobody clicked for so long is sealed, so that addresses do not linger
_NO_ROOM_S = 0.2  # between tries while the disk or the limit forbids a segment


@cython.cclass
class Journal:
    """The journal of one process.

    Args:
        source: where it writes.
        lock: the descriptor that holds the source's lock; None: the caller sees to it.
        make_source: makes another source and its lock; called in the upkeep thread when this one must be given up.

    Attributes:
        appended: records written since the start.
        dropped: records lost because there was no room.
        renewed: sources given up since the start.
        bytes_max: segments are made only while the journals of this node stay below this many bytes.
    """

    appended = cython.declare(cython.longlong, visibility="public")
    dropped = cython.declare(cython.longlong, visibility="public")
    renewed = cython.declare(cython.int, visibility="public")
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
    _seed: Any
    _source_seed: Any
    _segments: Any
    _successor: Any
    _source_lock: Any
    _left_locks: Any
    _make_source: Any
    _retired: Any
    _lock: Any
    _wanted: Any
    if compiled:
        _view: cython.uchar[::1]
        _base: cython.p_uchar

    def __init__(
        self,
        source: Source,
        lock: int | None = None,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        bytes_max: int = 64 * 1024**3,
        make_source: Callable[[], tuple[Source, int]] | None = None,
    ) -> None:
        self.appended = 0
        self.dropped = 0
        self.renewed = 0
        self.bytes_max = bytes_max
        self._size = segment_bytes
        self._last_ms = 0
        self._position = 0
        self._limit = 0
        self._segment = None
        self._next = None
        self._map = None
        self._words = None
        self._seed = 0
        self._successor: tuple[Source, int, Segment] | None = None
        self._left_locks: list[int] = []
        self._make_source = make_source
        self._retired: list[Segment] = []
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._enter(source, lock)
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
            start: cython.ulonglong = cython.cast(cython.ulonglong, _crc32(body, self._seed)) << 32 | length + 1
            cython.cast(cython.pointer(cython.ulonglong), self._base + position)[0] = start
        else:
            body = _pack_fixed(now_ms, link, variant, flags, peer) + head
            self._map[position + 8 : end] = body
            self._words[position >> 3] = _crc32(body, self._seed) << 32 | length + 1
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
        """Bytes of all segments of this node on disk, applied ones that wait for reuse included."""
        return int(bytes_used(self.source.folder.parent))

    @property
    def bytes_left(self) -> int:
        """Bytes by which the journals of this node may grow: to their limit, or until the disk is full."""
        disk = os.statvfs(self.source.folder)
        return max(0, min(int(self.bytes_max) - self.bytes_used, disk.f_bavail * disk.f_frsize))

    def tick(self, now_ms: int) -> None:
        """Once a second, in the thread that appends: seals what has lain for an hour, goes on in a new source."""
        if self._successor is not None or (
            now_ms - self._last_ms >= _IDLE_MS and self._segment is not None and self._position > SEGMENT_HEADER_BYTES
        ):
            self._roll()

    def upkeep(self, timeout_s: float) -> None:
        """One turn of the upkeep thread: waits until a segment is wanted or time is up, prepares, syncs."""
        self._wanted.wait(timeout_s)
        self._wanted.clear()
        self.prepare()
        self.sync()
        if self._next is None:
            threading.Event().wait(_NO_ROOM_S)  # or each dropped record would ask the disk again

    def prepare(self) -> None:
        """Makes the next segment if there is none, and a successor if this source must be given up."""
        with self._lock:
            if self._next is None:
                self._next = self._segments.make(0 if self._segment is None else self._segment.sequence + 1)
            is_given_up = self._successor is None and self._make_source is not None and self.source.is_given_up()
        self._segments.tidy()
        if is_given_up:
            self._prepare_successor()

    def sync(self) -> None:
        """To disk: everything appended before the call."""
        with self._lock:
            retired, self._retired = self._retired, []
            left_locks, self._left_locks = self._left_locks, []
            current = self._segment
            descriptor = -1 if current is None else os.dup(current.descriptor)
        for segment in retired:
            os.fdatasync(segment.descriptor)
            segment.close()
        for lock in left_locks:
            os.close(lock)  # now the source is dead: whoever reads it reads it to its end
        if descriptor >= 0:
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)

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
            if self._source_lock is not None:
                os.close(self._source_lock)
                self._source_lock = None

    def _prepare_successor(self) -> None:
        """Makes another source with its first segment; `tick` goes on in it."""
        source, lock = self._make_source()
        segment = SegmentStore(source, self._size, self.bytes_max).make(0)
        if segment is None:
            os.close(lock)
            source.retire()
            return
        self._successor = (source, lock, segment)

    def _enter(self, source: Source, lock: int | None) -> None:
        """From now on segments are of this source."""
        self.source = source
        self._source_lock = lock
        self._source_seed = source_seed(source.name)
        self._segments = SegmentStore(source, self._size, self.bytes_max)

    def _roll(self) -> bool:
        """Seals the current segment and goes on in the next, of a new source if there is one; False without one."""
        with self._lock:
            following = self._next
            if self._successor is not None:
                if following is not None:
                    self._retired.append(following)
                if self._source_lock is not None:
                    self._left_locks.append(self._source_lock)
                source, lock, following = self._successor
                self._successor = None
                self._enter(source, lock)
                self.renewed += 1
            if following is None:
                self._wanted.set()
                return False
            self._next = None
            if self._segment is not None:
                self._words[self._position >> 3] = self._seed << 32 | SEAL
                self._retired.append(self._segment)
            self._detach()
            self._segment = following
            self._seed = segment_seed(self._source_seed, following.sequence)
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
