"""Reads a source from a position on: what its writer has appended, and no more.

In: the segments of a source. Out: records in order, and the position behind them, which goes into the checkpoint.

    living source   ends where a length is still zero; what cannot be read there is waited for DAMAGE_WAIT_READS reads,
                    because another CPU may see a length before the bytes it covers
    dead source     read to its end; what cannot be read is stepped over, counted once and logged by the caller

Damage is a stretch that holds no whole record where one should be, a segment that is missing below existing ones, is
cut short or begins with something else. Nothing waits for what is gone, and what follows is read.

A position may come from a checkpoint that this journal never reached: of a machine that was set back to an older state,
or of a clone that shares its sources' names. `stands_at_a_record` tells. May import: the standard library.
"""

from __future__ import annotations

import mmap
import os
import struct
from contextlib import suppress

from app.journal.format import (
    SEAL,
    SEGMENT_BYTES,
    SEGMENT_HEADER_BYTES,
    RawRecord,
    Record,
    Scan,
    header_is_whole,
    scan,
    segment_seed,
    source_seed,
)
from app.journal.source import Source

__all__ = ["DAMAGE_WAIT_READS", "READ_BYTES", "Reader", "oldest_ms"]

DAMAGE_WAIT_READS = 10  # at the aggregator's pace: a second
_START = struct.Struct("<IIQ")
READ_BYTES = 1024 * 1024  # read at once: 10 ms of folding, and the records in memory never take more


def oldest_ms(source: Source, position: int, *, segment_bytes: int = SEGMENT_BYTES) -> int | None:
    """The time of the record at `position`, or of the first one behind it; None when there is none yet.

    Reads 16 bytes, so it may be asked of every source each second. Of a source whose position nobody knows, ask for 0:
    its applied segments are gone.
    """
    sequence, offset = divmod(position, segment_bytes)
    for other in source.segments():
        if other < sequence:
            continue
        start = max(offset, SEGMENT_HEADER_BYTES) if other == sequence else SEGMENT_HEADER_BYTES
        with suppress(FileNotFoundError), source.segment_path(other).open("rb") as file:
            file.seek(start)
            length, _, time_ms = _START.unpack(file.read(_START.size).ljust(_START.size, b"\0"))
            if 0 < length < SEAL:
                return int(time_ms)
    return None


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
        self._seed = source_seed(source.name)
        self._mapped: tuple[int, mmap.mmap, memoryview] | None = None
        self._torn_at = -1
        self._torn_reads = 0
        self._odd: set[int] = set()

    @property
    def is_torn(self) -> bool:
        """Whether the last read ended at something that cannot be read and is waited for."""
        return self._torn_at >= 0

    def read(self, records_max: int) -> list[Record]:
        """At most `records_max` records from `position` on; moves it behind them."""
        return [Record._make(record) for record in self.read_raw(records_max=records_max)]

    def read_raw(self, bytes_max: int = READ_BYTES, *, records_max: int | None = None) -> list[RawRecord]:
        """About `bytes_max` bytes of records from `position` on; moves it behind them."""
        was_live = self.source.is_live()  # before reading: what a writer appended before it died is seen
        self.is_finished = False
        until = self.position + bytes_max
        records: list[RawRecord] = []
        while self.position < until:
            sequence, offset = divmod(self.position, self.segment_bytes)
            segment = self._map(sequence)
            if segment is None:
                if not self._skip_missing(sequence, was_live):
                    break
                continue
            state = Scan(max(offset, SEGMENT_HEADER_BYTES))
            records += scan(
                segment,
                sequence * self.segment_bytes,
                state,
                segment_seed(self._seed, sequence),
                is_dead=not was_live,
                skip_torn=not was_live or (self._torn_at == self.position and self._torn_reads >= DAMAGE_WAIT_READS),
                bytes_max=until - self.position,
            )
            if records_max is not None and len(records) >= records_max:
                self._stop_before(records, records_max, sequence, state)
                break
            self.damaged += state.damaged
            self.position = sequence * self.segment_bytes + state.offset
            self._note_torn(state.is_torn)
            if state.is_sealed or (not was_live and self.position < until and self._has_later(sequence)):
                self.position = (sequence + 1) * self.segment_bytes
            elif self.position < until:
                if not records and self._is_gone(sequence):
                    continue
                self.is_finished = not was_live
                if self.is_finished and state.is_torn:
                    self._note_odd(sequence)
                break
        return records

    def stands_at_a_record(self) -> bool:
        """Whether `position` is where this source's records end, or one begins.

        Reads its segment from the beginning, up to 16 MiB: ask where a position comes from elsewhere.
        """
        sequence, offset = divmod(self.position, self.segment_bytes)
        segments = self.source.segments()
        if sequence not in segments:
            is_next = bool(segments) and sequence == segments[-1] + 1 and offset <= SEGMENT_HEADER_BYTES
            return not segments or sequence < segments[0] or is_next
        segment = self._map(sequence)
        if segment is None or offset <= SEGMENT_HEADER_BYTES:
            return segment is not None
        state = Scan()
        base, seed = sequence * self.segment_bytes, segment_seed(self._seed, sequence)
        while state.offset < offset and not state.is_sealed:
            before = state.offset
            scan(segment, base, state, seed, is_dead=True, skip_torn=True, bytes_max=min(READ_BYTES, offset - before))
            if state.offset == before:
                return False  # the end, before the position
        return state.offset == offset

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

    def _stop_before(self, records: list[RawRecord], records_max: int, sequence: int, state: Scan) -> None:
        """Keeps `records_max` records; the others are read again."""
        if len(records) > records_max:
            self.position = records[records_max][0]
            del records[records_max:]
        else:
            self.position = sequence * self.segment_bytes + state.offset
            self.damaged += state.damaged

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
        view = memoryview(mapped)
        if size < self.segment_bytes or not header_is_whole(view, sequence):
            self._note_odd(sequence)
        self._mapped = (sequence, mapped, view)
        return view

    def _is_gone(self, sequence: int) -> bool:
        """Whether another aggregator gave the mapped segment back meanwhile: what is mapped is another one's by now."""
        if self.source.segment_path(sequence).exists():
            return False
        self.close()
        return True

    def _has_later(self, sequence: int) -> bool:
        """Whether anything stands in a later segment.

        One that was only made ahead is no reason to go on: this source may be a clone's copy, and its original, which
        lives, is still to fill the segment before it.
        """
        return any(other > sequence and not self._is_blank(other) for other in self.source.segments())

    def _is_blank(self, sequence: int) -> bool:
        with suppress(FileNotFoundError), self.source.segment_path(sequence).open("rb") as file:
            file.seek(SEGMENT_HEADER_BYTES)
            while chunk := file.read(READ_BYTES):
                if chunk.count(0) != len(chunk):
                    return False
        return True

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

    def _note_odd(self, sequence: int) -> None:
        """Counts once what is wrong with a segment as a whole: its beginning, its length, its last record."""
        if sequence not in self._odd:
            self._odd.add(sequence)
            self.damaged += 1

    def _note_torn(self, is_torn: bool) -> None:
        """Counts how often in a row a read ended at the same unreadable record."""
        if is_torn and self.position == self._torn_at:
            self._torn_reads += 1
        else:
            self._torn_at, self._torn_reads = (self.position if is_torn else -1), 0
