"""An append-only click log on local disk: format, writer, reader."""

from app.journal.format import (
    NO_LINK,
    REDIRECT_GET,
    REDIRECT_HEAD,
    SEGMENT_BYTES,
    Outcome,
    Record,
    Scan,
    encode_record,
    flags_of,
    scan,
)
from app.journal.reader import Reader
from app.journal.source import Source, create_source, list_sources
from app.journal.writer import Journal

__all__ = [
    "NO_LINK",
    "REDIRECT_GET",
    "REDIRECT_HEAD",
    "SEGMENT_BYTES",
    "Journal",
    "Outcome",
    "Reader",
    "Record",
    "Scan",
    "Source",
    "create_source",
    "encode_record",
    "flags_of",
    "list_sources",
    "scan",
]
