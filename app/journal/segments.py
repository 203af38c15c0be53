"""Segments of a living source: made ahead, given back by the aggregator, zeroed and used again. Runs in a thread.

    00000005.seg.new   being made: space is taken from the disk, then it gets its name
    00000005.seg       mapped and written, or waiting for that
    00000001.free      applied; it still holds heads and addresses
    00000001.zero      zeroed, and used again before a new one is made: its pages are warm

What was applied is zeroed at once, not when it is used again, so that addresses do not linger in a file that nobody
needs. The bound is one of the whole journal: what other processes left behind, and is not applied yet, counts as well.
May import: the standard library.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from app.journal.format import SEGMENT_HEADER_BYTES, segment_header
from app.journal.source import Source

__all__ = ["Segment", "SegmentStore", "bytes_used"]

ZERO_STEP_BYTES = 256 * 1024
ZERO_KEPT_MAX = 2  # more are given back to the disk
_SEGMENT_NAMES = (".seg", ".free", ".zero", ".new")


class Segment:
    """One mapped segment, for writing."""

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
        """Unmaps."""
        self.words.release()
        self.map.close()
        os.close(self.descriptor)


class SegmentStore:
    """The segments of one source.

    Args:
        segment_bytes: of each.
        bytes_max: none is made that would take the journals of this node beyond it.
    """

    def __init__(self, source: Source, segment_bytes: int, bytes_max: int) -> None:
        self._source = source
        self._segment_bytes = segment_bytes
        self._bytes_max = bytes_max

    def make(self, sequence: int) -> Segment | None:
        """A zero-filled segment with its header, under its final name; None when the disk or the limit forbids it."""
        path = str(self._source.segment_path(sequence))
        made = str(self._reusable() or f"{path}.new")
        if made.endswith(".new") and bytes_used(self._source.folder.parent) + self._segment_bytes > self._bytes_max:
            return None
        try:
            segment = Segment(made, sequence, self._segment_bytes)
        except OSError:
            return None
        segment.map[:SEGMENT_HEADER_BYTES] = segment_header(sequence)
        os.rename(made, path)
        segment.path = path
        return segment

    def tidy(self) -> None:
        """Zeroes what was applied, and deletes what is too much of it."""
        for path in sorted(self._source.folder.glob("*.free")):
            if len(list(self._source.folder.glob("*.zero"))) >= ZERO_KEPT_MAX:
                path.unlink()
                continue
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                _fill_zero(descriptor, self._segment_bytes)
            finally:
                os.close(descriptor)
            path.rename(path.with_suffix(".zero"))

    def _reusable(self) -> Path | None:
        return min(self._source.folder.glob("*.zero"), default=None)


def bytes_used(journal: Path) -> int:
    """Bytes of all sources' segments on disk, those that wait for reuse included."""
    total = 0
    for source in _entries(journal):
        for entry in _entries(source.path):
            if entry.name.endswith(_SEGMENT_NAMES):
                try:
                    total += entry.stat(follow_symlinks=False).st_size
                except FileNotFoundError:
                    continue  # just retired
    return total


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _fill_zero(descriptor: int, size: int) -> None:
    """Writes zeros by pwrite, which releases the GIL; a store into the map would hold it for milliseconds."""
    zeros = bytes(ZERO_STEP_BYTES)
    for offset in range(0, size, ZERO_STEP_BYTES):
        os.pwrite(descriptor, zeros[: min(ZERO_STEP_BYTES, size - offset)], offset)
