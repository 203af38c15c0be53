"""Reads a source from a position on: what its writer has appended, and no more.

In: the segments of a source. Out: records in order, and the position behind them, which goes into the checkpoint.

    living source   ends where a length is still zero; what cannot be read there is waited for DAMAGE_WAIT_READS reads,
                    because another CPU may see a length before the bytes it covers
    dead source     read to its end; what cannot be read is stepped over, counted once and logged by the caller

A missing segment below existing ones is damage as well: its records are gone and nothing waits for them.
May import: the standard library.
"""

from __future__ import annotations

import mmap
import os

from app.journal.format import SEGMENT_BYTES, SEGMENT_HEADER_BYTES, Record, Scan, scan
from app.journal.source import Source

__all__ = ["Reader"]

DAMAGE_WAIT_READS = 10  # at the aggregator's pace: a second


class Reader:
    """One source, read by one aggregator.

    Attributes:
        position: of the next record; set it back to read again.
        damaged: stretches stepped over since this reader was made.
        is_finished: the source is dead and was read to its end.
    """

    def __init__(self, source: Source, position: int, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.source = source
        self.position = position
        self.damaged = 0
        self.is_finished = False
        self.segment_bytes = segment_bytes
        self._mapped: tuple[int, mmap.mmap, memoryview] | None = None
        self._stuck_at = -1
        self._stuck_reads = 0

    def read(self, records_max: int) -> list[Record]:
        """At most `records_max` records from `position` on; moves it behind them."""
        was_live = self.source.is_live()  # before reading: what a writer appended before it died is seen
        records: list[Record] = []
        while len(records) < records_max:
            sequence, offset = divmod(self.position, self.segment_bytes)
            segment = self._map(sequence)
            if segment is None:
                if not self._skip_missing(sequence, was_live):
                    break
                continue
            state = Scan(max(offset, SEGMENT_HEADER_BYTES))
            torn = not was_live or self._is_stuck(self.position)
            for record in scan(segment, sequence * self.segment_bytes, state, is_dead=not was_live, skip_torn=torn):
                records.append(record)
                if len(records) >= records_max:
                    break
            self.damaged += state.damaged
            self.position = sequence * self.segment_bytes + state.offset
            if len(records) >= records_max:
                break
            if state.is_sealed or (not was_live and self._has_later(sequence)):
                self.position = (sequence + 1) * self.segment_bytes
                continue
            if not was_live:
                self.is_finished = True
            break
        return records

    def close(self) -> None:
        """Unmaps."""
        if self._mapped is not None:
            _, mapped, view = self._mapped
            self._mapped = None
            view.release()
            mapped.close()

    def release_applied(self, applied: int) -> int:
        """Frees the segments that lie wholly below the position `applied`; returns how many."""
        freed = 0
        for sequence in self.source.segments():
            if (sequence + 1) * self.segment_bytes > applied:
                break
            if self._mapped is not None and self._mapped[0] == sequence:
                self.close()
            self.source.release(sequence)
            freed += 1
        return freed

    def _map(self, sequence: int) -> memoryview | None:
        if self._mapped is not None and self._mapped[0] == sequence:
            return self._mapped[2]
        self.close()
        try:
            descriptor = os.open(self.source.segment_path(sequence), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            size = os.fstat(descriptor).st_size
            if size < SEGMENT_HEADER_BYTES:
                return None
            mapped = mmap.mmap(descriptor, min(size, self.segment_bytes), prot=mmap.PROT_READ)
        finally:
            os.close(descriptor)
        self._mapped = (sequence, mapped, memoryview(mapped))
        return self._mapped[2]

    def _has_later(self, sequence: int) -> bool:
        return any(other > sequence for other in self.source.segments())

    def _skip_missing(self, sequence: int, was_live: bool) -> bool:
        """Goes on behind a segment that is not there; False when there is nothing behind it."""
        later = [other for other in self.source.segments() if other > sequence]
        if later:
            self.damaged += 1
            self.position = later[0] * self.segment_bytes
            return True
        if not was_live:
            self.is_finished = True
        return False

    def _is_stuck(self, position: int) -> bool:
        """Whether a living source has stood at an unreadable record for DAMAGE_WAIT_READS reads."""
        if position == self._stuck_at:
            self._stuck_reads += 1
        else:
            self._stuck_at, self._stuck_reads = position, 0
        return self._stuck_reads >= DAMAGE_WAIT_READS
