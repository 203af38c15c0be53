"""A backup as bytes. Every byte of it is covered by a checksum, and what is cut off is missed.

    file      = start, blocks, nothing behind them
    start     0  14  "BOLTLINKBACKUP"
             14   2  version of the format, big endian
    block     0   1  kind: 1 head (the first), 2 documents, 3 end (the last)
              1   4  length of the payload in bytes, big endian
              5   4  length of its content
              9  16  BLAKE2b of start, the block's number (8 bytes), its bytes 0-8 and its payload
             25      payload: the content, one zstd frame that says how long it is

    content of head        BSON of `Head`: when, by which release, which collections with which indexes
    content of documents   2 bytes: number of the collection in the head; then BSON documents as MongoDB sent them
    content of end         BSON: documents of each collection, and SHA-256 of every byte before this block

A block's number is in its checksum, so none can be left out, repeated or moved. Both sides hold one block at a time.
Written and read with plain files in any thread; kill -9 leaves a file without its end, which no reader takes.
May import: the standard library, bson, msgspec, zstandard.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol, TypeVar

import bson
import msgspec
import zstandard

__all__ = [
    "FORMAT_VERSION",
    "Block",
    "BlockReader",
    "BlockWriter",
    "Collection",
    "DamagedError",
    "Head",
    "NewerError",
    "Totals",
    "split_documents",
]

FORMAT_VERSION = 1
CONTENT_BYTES_MAX = 33 * 1024 * 1024  # MongoDB's largest answer is 16 MiB and one document of 16
LEVEL = 3  # zstd: 300 MB/s of buckets on one core; level 9 makes 5 % less of them at a fifth of the speed
_MAGIC = b"BOLTLINKBACKUP"
_START = struct.Struct(">14sH")
_FIELDS = struct.Struct(">BII")
_NUMBER = struct.Struct(">Q")
_COLLECTION = struct.Struct(">H")
_LENGTH = struct.Struct("<i")
_DIGEST_BYTES = 16
_EMPTY_DOCUMENT_BYTES = 5
T = TypeVar("T")


class DamagedError(Exception):
    """The file is not what was written; `offset` is where the block begins that shows it."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(f"damaged at byte {offset}: {reason}")
        self.offset = offset
        self.reason = reason


class NewerError(Exception):
    """A newer release wrote the file, in a format of which this one knows nothing."""

    def __init__(self, what: str, found: int, known: int) -> None:
        super().__init__(f"written by a newer release ({what} {found}, this program knows {known}): install that one")
        self.found = found
        self.known = known


class Kind(IntEnum):
    """Of a block."""

    HEAD = 1
    DOCUMENTS = 2
    END = 3


class Collection(msgspec.Struct, frozen=True):
    """A collection and its indexes, as MongoDB's `listIndexes` shows them, `_id` left out."""

    name: str
    indexes: list[dict[str, Any]] = []


class Head(msgspec.Struct, frozen=True):
    """What a backup says of itself: the moment in Unix seconds, release, schema's version, what it holds."""

    moment_s: float
    release: str
    schema: int
    has_clicks: bool
    collections: list[Collection]


class Totals(msgspec.Struct, frozen=True):
    """The end: documents of each collection, in the head's order, and the digest of everything before."""

    documents: list[int]
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Block:
    """Documents of one collection, or None where the content is the head or the end; `number` counts from 0."""

    number: int
    collection: int | None
    content: memoryview


class _Writable(Protocol):
    def write(self, data: bytes, /) -> object: ...


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class BlockWriter:
    """Writes one backup to `file`: head, documents, end, in this order.

    Attributes:
        documents: of each collection so far.
        size_bytes: of the file so far.
        content_bytes: of the documents so far, before they are packed.
    """

    def __init__(self, file: _Writable, head: Head) -> None:
        self.documents = [0] * len(head.collections)
        self.size_bytes = 0
        self.content_bytes = 0
        self._file = file
        self._packer = zstandard.ZstdCompressor(level=LEVEL)
        self._whole = hashlib.sha256()
        self._number = 0
        self._start = _START.pack(_MAGIC, FORMAT_VERSION)
        self._put(self._start)
        self._block(Kind.HEAD, bson.encode(msgspec.to_builtins(head)))

    def add(self, collection: int, documents: bytes) -> None:
        """Adds a batch of documents, as `find_raw_batches` gives them."""
        self.documents[collection] += sum(1 for _ in split_documents(documents))
        self.content_bytes += len(documents)
        self._block(Kind.DOCUMENTS, _COLLECTION.pack(collection) + documents)

    def end(self) -> str:
        """Writes the end; returns the digest that names this backup, in hexadecimal."""
        digest = self._whole.digest()
        self._block(Kind.END, bson.encode({"documents": self.documents, "sha256": digest}))
        return digest.hex()

    def _block(self, kind: Kind, content: bytes) -> None:
        payload = self._packer.compress(content)
        fields = _FIELDS.pack(kind, len(payload), len(content))
        self._put(fields + _digest(self._start, self._number, fields, payload))
        self._put(payload)
        self._number += 1

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._whole.update(data)
        self.size_bytes += len(data)


class BlockReader:
    """Reads one backup from `file` and believes nothing of it.

    Attributes:
        head: as it says; nobody vouches for the rest of the file before `blocks` has ended.
        totals: the end, when `blocks` has ended.
        position: of the next byte.

    Raises:
        DamagedError: also when it is no backup at all.
        NewerError: nothing but the start was read.
    """

    def __init__(self, file: _Readable) -> None:
        self.totals: Totals | None = None
        self.position = 0
        self._file = file
        self._unpacker = zstandard.ZstdDecompressor()
        self._whole = hashlib.sha256()
        self._number = 0
        self._start = self._take(_START.size, 0)
        magic, version = _START.unpack(self._start)
        if magic != _MAGIC:
            raise DamagedError(0, "no backup of BoltLink")
        if version > FORMAT_VERSION:
            raise NewerError("format", version, FORMAT_VERSION)
        kind, content = self._read_block()
        if kind is not Kind.HEAD:
            raise DamagedError(_START.size, "the head is missing")
        self.head = _convert(content, Head, _START.size)

    def blocks(self) -> Iterator[Block]:
        """Documents, block by block; ends only when the whole file is what was written."""
        found = [0] * len(self.head.collections)
        while True:
            offset, number, digest = self.position, self._number, self._whole.digest()
            kind, content = self._read_block()
            if kind is Kind.END:
                self._check_end(offset, _convert(content, Totals, offset), found, digest)
                return
            collection = _COLLECTION.unpack_from(content)[0] if len(content) >= _COLLECTION.size else len(found)
            if kind is not Kind.DOCUMENTS or collection >= len(found):
                raise DamagedError(offset, "no block of documents")
            documents = content[_COLLECTION.size :]
            try:
                found[collection] += sum(1 for _ in split_documents(documents))
            except ValueError as error:
                raise DamagedError(offset, str(error)) from error
            yield Block(number, collection, documents)

    def _check_end(self, offset: int, totals: Totals, found: Sequence[int], digest: bytes) -> None:
        if totals.documents != list(found) or totals.sha256 != digest:
            raise DamagedError(offset, "the end does not fit what stands before it")
        if self._file.read(1):
            raise DamagedError(self.position, "something stands behind the end")
        self.totals = totals

    def _read_block(self) -> tuple[Kind, memoryview]:
        offset = self.position
        fields = self._take(_FIELDS.size, offset)
        kind, payload_bytes, content_bytes = _FIELDS.unpack(fields)
        digest = self._take(_DIGEST_BYTES, offset)
        if max(payload_bytes, content_bytes) > CONTENT_BYTES_MAX:  # before so much memory is asked for
            raise DamagedError(offset, "a block is too large")
        payload = self._take(payload_bytes, offset)
        if _digest(self._start, self._number, fields, payload) != digest:
            raise DamagedError(offset, "a checksum differs")
        try:
            # A frame asks for as much memory as it says itself, whatever limit is given: 4 GiB of zeros are 131 kB.
            if zstandard.frame_content_size(payload) != content_bytes:
                raise DamagedError(offset, "a block is not as long as it says")
            content = self._unpacker.decompress(payload)
            self._number += 1
            return Kind(kind), memoryview(content)
        except (zstandard.ZstdError, ValueError) as error:
            raise DamagedError(offset, "a block cannot be unpacked") from error

    def _take(self, size: int, offset: int) -> bytes:
        parts: list[bytes] = []
        left = size
        while left:
            part = self._file.read(left)
            if not part:
                raise DamagedError(offset, "the file is cut off")
            parts.append(part)
            left -= len(part)
        data = b"".join(parts)
        self._whole.update(data)
        self.position += size
        return data


def split_documents(content: bytes | memoryview) -> Iterator[memoryview]:
    """The BSON documents of a block's content, one by one. Raises ValueError where there is none."""
    view = memoryview(content)
    offset = 0
    while offset < len(view):
        size = _LENGTH.unpack_from(view, offset)[0] if len(view) - offset >= _LENGTH.size else 0
        if not _EMPTY_DOCUMENT_BYTES <= size <= len(view) - offset:
            raise ValueError(f"no document at byte {offset} of the block")
        yield view[offset : offset + size]
        offset += size


def _digest(start: bytes, number: int, fields: bytes, payload: bytes) -> bytes:
    digest = hashlib.blake2b(start + _NUMBER.pack(number) + fields, digest_size=_DIGEST_BYTES)
    digest.update(payload)
    return digest.digest()


def _convert(content: memoryview, model: type[T], offset: int) -> T:
    try:
        return msgspec.convert(bson.decode(content), model)
    except (bson.InvalidBSON, msgspec.ValidationError) as error:
        raise DamagedError(offset, f"its content is wrong: {error}") from error
