"""The file: what is written is read, and nothing else: no flipped bit, no cut, no block out of its place."""

from __future__ import annotations

import hashlib
import io
import random

import bson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from app.backup import BlockReader, BlockWriter, Collection, DamagedError, Head, NewerError, verify
from app.backup.format import FORMAT_VERSION, split_documents

START_BYTES = 16
INDEX = {"key": {"n": 1, "_id": -1}, "name": "n_1__id_-1", "unique": True}
HEAD = Head(
    moment_s=1_764_000_000.5,
    release="0.1.0",
    schema=1,
    has_clicks=True,
    collections=[Collection("links", [INDEX]), Collection("users"), Collection("salts")],
)


def batch(first: int, count: int) -> bytes:
    return b"".join(bson.encode({"_id": number, "text": "x" * (number % 50)}) for number in range(first, first + count))


def make() -> tuple[bytes, list[int]]:
    """A backup of three blocks of documents, and where its parts begin."""
    file = io.BytesIO()
    writer = BlockWriter(file, HEAD)
    edges = [0, START_BYTES, writer.size_bytes]
    for collection, first, count in ((0, 0, 100), (0, 100, 7), (1, 0, 30)):
        writer.add(collection, batch(first, count))
        edges.append(writer.size_bytes)
    writer.end()
    return file.getvalue(), edges


def test_what_was_written_is_read() -> None:
    data, _ = make()
    reader = BlockReader(io.BytesIO(data))
    assert reader.head == HEAD
    found = [(block.number, block.collection, bytes(block.content)) for block in reader.blocks()]
    assert found == [(1, 0, batch(0, 100)), (2, 0, batch(100, 7)), (3, 1, batch(0, 30))]
    contents = verify(io.BytesIO(data))
    assert (contents.documents, contents.blocks, contents.size_bytes) == ([107, 30, 0], 3, len(data))


def test_an_empty_database_is_a_backup_too() -> None:
    file = io.BytesIO()
    name = BlockWriter(file, Head(0.0, "1", 1, has_clicks=False, collections=[])).end()
    contents = verify(io.BytesIO(file.getvalue()))
    assert (contents.name, contents.documents, contents.blocks) == (name, [], 0)


def test_every_flipped_bit_is_found() -> None:
    data, _ = make()
    rng = random.Random(1)
    for offset in range(len(data)):
        flipped = bytearray(data)
        flipped[offset] ^= 1 << rng.randrange(8)
        with pytest.raises((DamagedError, NewerError)):
            verify(io.BytesIO(bytes(flipped)))


def test_every_cut_is_found() -> None:
    data, edges = make()
    for size in [*edges, *range(0, len(data), 7), len(data) - 1]:
        with pytest.raises(DamagedError):
            verify(io.BytesIO(data[:size]))


def test_blocks_left_out_repeated_or_moved_are_found() -> None:
    data, edges = make()
    start, blocks = data[: edges[2]], [data[a:b] for a, b in zip(edges[2:], [*edges[3:], len(data)], strict=True)]
    for order in ([0, 1, 3], [0, 1, 1, 2, 3], [1, 0, 2, 3], [0, 1, 2, 3, 3], [3], []):
        with pytest.raises(DamagedError):
            verify(io.BytesIO(start + b"".join(blocks[number] for number in order)))
    assert verify(io.BytesIO(start + b"".join(blocks))).blocks == 3


def test_a_block_of_another_backup_is_found() -> None:
    data, edges = make()
    file = io.BytesIO()
    writer = BlockWriter(file, HEAD)
    writer.add(0, batch(500, 100))
    foreign = file.getvalue()[edges[2] :]
    with pytest.raises(DamagedError, match="does not fit"):
        verify(io.BytesIO(data[: edges[2]] + foreign + data[edges[3] :]))


def test_newer_format_is_refused_by_its_start_alone() -> None:
    data, _ = make()
    newer = data[:14] + (FORMAT_VERSION + 1).to_bytes(2, "big")
    with pytest.raises(NewerError, match=f"format {FORMAT_VERSION + 1}, this program knows {FORMAT_VERSION}"):
        BlockReader(io.BytesIO(newer))


def test_a_length_that_lies_asks_for_no_memory() -> None:
    data, edges = make()
    huge = bytearray(data)
    huge[edges[2] + 1 : edges[2] + 5] = b"\xff\xff\xff\xff"
    with pytest.raises(DamagedError, match="too large"):
        verify(io.BytesIO(bytes(huge)))


def sealed(payload: bytes, content_bytes: int) -> bytes:
    """A backup whose first block somebody made who can compute checksums."""
    start = b"BOLTLINKBACKUP" + FORMAT_VERSION.to_bytes(2, "big")
    fields = b"\x01" + len(payload).to_bytes(4, "big") + content_bytes.to_bytes(4, "big")
    digest = hashlib.blake2b(start + bytes(8) + fields + payload, digest_size=16).digest()
    return start + fields + digest + payload


@pytest.mark.parametrize("says_bytes", [0, 1_000, 1_000_001])
def test_a_frame_that_holds_more_than_its_block_says_is_not_unpacked(says_bytes: int) -> None:
    payload = zstandard.ZstdCompressor().compress(bytes(1_000_000))
    for frame in (payload, zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1_000_000))):
        with pytest.raises(DamagedError, match="not as long as it says"):
            BlockReader(io.BytesIO(sealed(frame, says_bytes)))


@given(st.binary(max_size=200))
def test_nonsense_is_no_backup(data: bytes) -> None:
    with pytest.raises(DamagedError):
        verify(io.BytesIO(data))


@given(st.binary(max_size=60))
def test_what_is_no_row_of_documents_is_refused(data: bytes) -> None:
    try:
        parts = list(split_documents(data))
    except ValueError:
        return
    assert b"".join(bytes(part) for part in parts) == data


def test_a_pipe_that_gives_little_at_once_is_read_whole() -> None:
    data, _ = make()

    class Trickle(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(3, size or 0))

    assert verify(Trickle(data)).size_bytes == len(data)
