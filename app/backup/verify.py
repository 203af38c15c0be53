"""Reads a backup from its first byte to its last, and says what it holds; nothing of it is used before that.

In: a file, or a stream that is kept in a nameless file first. Out: what was verified. May import: the standard library.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from app.backup.format import BlockReader, Head

__all__ = ["Contents", "spool", "verify"]

READ_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Contents:
    """What a whole backup holds.

    Attributes:
        name: its digest, in hexadecimal.
        documents: of each collection, in the head's order.
        blocks: of documents; they are numbered from 1.
    """

    head: Head
    name: str
    documents: list[int]
    blocks: int
    size_bytes: int


def verify(file: BinaryIO, on_progress: Callable[[int], None] = lambda position: None) -> Contents:
    """Reads all of `file` from where it stands; `on_progress` hears of each block how far that is.

    Raises:
        DamagedError: it is not what was written.
        NewerError: a newer release wrote it.
    """
    reader = BlockReader(file)
    count = 0
    for _ in reader.blocks():
        count += 1
        on_progress(reader.position)
    assert reader.totals is not None
    totals = reader.totals
    return Contents(reader.head, totals.sha256.hex(), totals.documents, count, reader.position)


def spool(stream: IO[bytes], folder: Path) -> BinaryIO:
    """Keeps a stream, which can be read once only, in a file without a name that is gone with this process."""
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  the caller closes it
    shutil.copyfileobj(stream, file, READ_BYTES)
    file.seek(0)
    return file
