"""An append-only click log on local disk: format, writer, reader."""

from app.journal.fault import note_faults
from app.journal.format import (
    FIXED_BYTES,
    NO_LINK,
    REDIRECT_GET,
    REDIRECT_HEAD,
    SEGMENT_BYTES,
    Outcome,
    RawRecord,
    Record,
    Scan,
    encode_record,
    flags_of,
    scan,
    segment_seed,
    source_seed,
)
from app.journal.reader import DAMAGE_WAIT_READS, READ_BYTES, Reader, oldest_ms
from app.journal.source import Source, create_source, list_sources
from app.journal.writer import Journal

__all__ = [
    "DAMAGE_WAIT_READS",
    "FIXED_BYTES",
    "NO_LINK",
    "READ_BYTES",
    "REDIRECT_GET",
    "REDIRECT_HEAD",
    "SEGMENT_BYTES",
    "Journal",
    "Outcome",
    "RawRecord",
    "Reader",
    "Record",
    "Scan",
    "Source",
    "create_source",
    "encode_record",
    "flags_of",
    "list_sources",
    "note_faults",
    "oldest_ms",
    "scan",
    "segment_seed",
    "source_seed",
]
