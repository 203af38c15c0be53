"""The journal: what is appended is read back, in order and once, whatever happened in between."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.journal import (
    REDIRECT_GET,
    REDIRECT_HEAD,
    Journal,
    Outcome,
    Reader,
    Scan,
    Source,
    create_source,
    encode_record,
    flags_of,
    scan,
    segment_seed,
    source_seed,
)
from app.journal.format import SEGMENT_HEADER_BYTES, segment_header

SIZE = 64 * 1024
PEER = bytes(range(16))
SEED = 0x5EED
LINK = (7).to_bytes(8, "big")


def make(folder: Path, *, bytes_max: int = 2**40) -> tuple[Journal, int]:
    source, lock = create_source(folder, "web_0", os.urandom(8))
    return Journal(source, segment_bytes=SIZE, bytes_max=bytes_max), lock


def reader_of(journal: Journal, position: int = 0) -> Reader:
    return Reader(journal.source, position, segment_bytes=SIZE)


def seed_of(source: Source, sequence: int = 0) -> int:
    return segment_seed(source_seed(source.name), sequence)


def test_a_record_is_read_back_as_it_was_appended(tmp_path: Path) -> None:
    journal, lock = make(tmp_path)
    assert journal.append(b"GET /a HTTP/1.1\r\n\r\n", 1_000, LINK, 3, REDIRECT_HEAD, PEER)
    (record,) = reader_of(journal).read(10)
    assert (record.time_ms, record.link, record.variant, record.peer) == (1_000, LINK, 3, PEER)
    assert record.head == b"GET /a HTTP/1.1\r\n\r\n"
    assert record.is_head
    assert record.outcome is Outcome.REDIRECT
    journal.close()
    os.close(lock)


def test_writer_and_format_agree_on_every_byte(tmp_path: Path) -> None:
    journal, lock = make(tmp_path)
    parts = [(b"h" * n, 5 + n, n.to_bytes(8, "big"), n, flags_of(Outcome.GONE, is_head=False), PEER) for n in range(40)]
    for part in parts:
        journal.append(*part)
    written = journal.source.segment_path(0).read_bytes()
    seed = seed_of(journal.source)
    expected = segment_header(0) + b"".join(encode_record(*part, seed) for part in parts)
    assert written == expected + bytes(SIZE - len(expected))
    journal.close()
    os.close(lock)


def test_reading_goes_on_over_many_segments_and_batches(tmp_path: Path) -> None:
    journal, lock = make(tmp_path)
    reader = reader_of(journal)
    seen = []
    for number in range(2_000):
        assert journal.append(b"x" * (number % 700), number, LINK, 0, REDIRECT_GET, PEER)
        journal.prepare()
        if number % 37 == 0:
            seen += [record.time_ms for record in reader.read(11)]
    while more := reader.read(100):
        seen += [record.time_ms for record in more]
    assert seen == list(range(2_000))
    assert reader.position == journal.position
    assert reader.damaged == 0
    journal.close()
    os.close(lock)


def test_time_never_falls(tmp_path: Path) -> None:
    journal, lock = make(tmp_path)
    for time_ms in (5, 3, 9):
        journal.append(b"", time_ms, LINK, 0, 0, PEER)
    assert [record.time_ms for record in reader_of(journal).read(9)] == [5, 5, 9]
    journal.close()
    os.close(lock)


def test_a_head_is_cut_at_its_limit(tmp_path: Path) -> None:
    journal, lock = make(tmp_path)
    journal.append(b"y" * 20_000, 1, LINK, 0, 0, PEER)
    assert [len(record.head) for record in reader_of(journal).read(9)] == [8 * 1024]
    journal.close()
    os.close(lock)


def test_no_room_drops_and_counts_and_goes_on_later(tmp_path: Path) -> None:
    journal, lock = make(tmp_path, bytes_max=2 * SIZE)
    kept = sum(journal.append(b"z" * 1_000, n, LINK, 0, 0, PEER) for n in range(300))
    assert 0 < kept < 300
    assert journal.dropped == 300 - kept
    reader = reader_of(journal)
    assert len(reader.read(1_000)) == kept
    assert reader.release_applied(reader.position) == 1
    journal.prepare()
    assert journal.append(b"z", 301, LINK, 0, 0, PEER)
    assert [record.time_ms for record in reader.read(9)] == [301]
    journal.close()
    os.close(lock)


def test_a_reused_segment_shows_nothing_of_its_former_records(tmp_path: Path) -> None:
    journal, lock = make(tmp_path)
    reader = reader_of(journal)
    for turn in range(6):
        count = 0
        while journal.position < (turn + 1) * SIZE:
            assert journal.append(b"same length", count, LINK, turn, 0, PEER)
            count += 1
        assert {record.variant for record in reader.read(10_000)} == {turn}
        reader.release_applied(reader.position)
        journal.prepare()
    assert len(list(journal.source.folder.iterdir())) <= 6
    journal.close()
    os.close(lock)


def test_a_dead_source_is_finished_and_a_living_one_is_not(tmp_path: Path) -> None:
    journal, lock = make(tmp_path)
    journal.append(b"h", 1, LINK, 0, 0, PEER)
    reader = reader_of(journal)
    assert (len(reader.read(10)), reader.is_finished) == (1, False)
    os.close(lock)
    assert (len(reader.read(10)), reader.is_finished) == (0, True)
    reader.close()
    journal.close()
    journal.source.retire()
    assert not journal.source.folder.exists()


def test_a_clones_copy_ends_where_its_original_goes_on(tmp_path: Path) -> None:
    journal, lock = make(tmp_path)
    journal.append(b"h", 1, LINK, 0, 0, PEER)
    assert journal.source.segments() == [0, 1]  # the next one was made ahead
    copy = Source(journal.source.name, tmp_path / "copy")
    shutil.copytree(journal.source.folder, copy.folder)
    reader = Reader(copy, 0, segment_bytes=SIZE)
    assert (len(reader.read(10)), reader.is_finished, reader.position) == (1, True, journal.position)
    reader.close()
    journal.close()
    os.close(lock)


def test_a_source_that_is_given_up_is_left_for_a_new_one(tmp_path: Path) -> None:
    numbers = iter(range(9))
    source, lock = create_source(tmp_path, "web_0", bytes(8))
    journal = Journal(
        source,
        lock,
        segment_bytes=SIZE,
        make_source=lambda: create_source(tmp_path, "web_0", (1 + next(numbers)).to_bytes(8, "big")),
    )
    journal.append(b"h", 1, LINK, 0, 0, PEER)
    source.give_up()
    journal.prepare()  # makes the new one
    journal.append(b"h", 2, LINK, 0, 0, PEER)
    journal.tick(2)  # goes on in it
    journal.append(b"h", 3, LINK, 0, 0, PEER)
    assert (journal.renewed, journal.source.name) == (1, "web_0-0000000000000001")
    old = Reader(source, 0, segment_bytes=SIZE)
    assert source.is_live()  # until what it holds is on disk
    journal.sync()
    assert ([record.time_ms for record in old.read(9)], old.is_finished) == ([1, 2], True)
    assert [record.time_ms for record in reader_of(journal).read(9)] == [3]
    old.close()
    journal.close()


def test_a_source_that_nobody_clicks_for_an_hour_is_sealed(tmp_path: Path) -> None:
    journal, lock = make(tmp_path)
    journal.append(b"h", 1_000, LINK, 0, 0, PEER)
    journal.tick(1_000 + 3_599_999)
    assert journal.position < SIZE
    journal.tick(1_000 + 3_600_000)
    assert journal.position == SIZE + SEGMENT_HEADER_BYTES
    reader = reader_of(journal)
    assert len(reader.read(9)) == 1
    assert reader.release_applied(reader.position) == 1  # and what it held is zeroed
    journal.prepare()
    assert not any(path.read_bytes()[SEGMENT_HEADER_BYTES:].strip(b"\0") for path in journal.source.folder.glob("0*"))
    journal.close()
    os.close(lock)


@pytest.mark.parametrize("where", [0, 4, 8, 40, 48, 60])
def test_a_damaged_record_is_stepped_over_once(tmp_path: Path, where: int) -> None:
    journal, lock = make(tmp_path)
    for number in range(10):
        journal.append(b"head of twenty bytes", number, LINK, 0, 0, PEER)
    path = journal.source.segment_path(0)
    record_bytes = len(encode_record(b"head of twenty bytes", 0, LINK, 0, 0, PEER, 0))
    with path.open("r+b") as file:
        file.seek(SEGMENT_HEADER_BYTES + 3 * record_bytes + where)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 0x55]))
    os.close(lock)
    reader = reader_of(journal)
    assert [record.time_ms for record in reader.read(100)] == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert reader.damaged == 1
    assert reader.is_finished
    journal.close()


def test_a_living_source_waits_for_a_torn_record_and_then_steps_over_it(tmp_path: Path) -> None:
    journal, lock = make(tmp_path)
    journal.append(b"abc", 1, LINK, 0, 0, PEER)
    with journal.source.segment_path(0).open("r+b") as file:
        file.seek(SEGMENT_HEADER_BYTES + 8)
        file.write(b"\xff")
    journal.append(b"abc", 2, LINK, 0, 0, PEER)
    reader = reader_of(journal)
    assert reader.read(10) == []
    seen = [record.time_ms for _ in range(20) for record in reader.read(10)]
    assert seen == [2]
    assert reader.damaged == 1
    journal.close()
    os.close(lock)


@pytest.mark.parametrize("hole", [8, 65_536 - 8, 65_536, 65_536 + 8, 200_000])
def test_a_record_is_found_behind_a_hole_of_any_length(hole: int) -> None:
    record = encode_record(b"abc", 7, LINK, 0, 0, PEER, SEED)
    segment = segment_header(0) + bytes(hole) + record + bytes(300_000)
    state = Scan()
    found = scan(memoryview(segment), 0, state, SEED, is_dead=True, skip_torn=True)
    assert [raw[:2] for raw in found] == [(SEGMENT_HEADER_BYTES + hole, 7)]
    assert (state.offset, state.damaged) == (SEGMENT_HEADER_BYTES + hole + len(record), 1)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=12), st.data())
def test_any_damage_costs_only_what_it_touches(heads: list[bytes], data: st.DataObject) -> None:
    segment = bytearray(4096)
    segment[:SEGMENT_HEADER_BYTES] = segment_header(0)
    at, spans = SEGMENT_HEADER_BYTES, []
    for number, head in enumerate(heads):
        record = encode_record(head, number, LINK, 0, 0, PEER, SEED)
        segment[at : at + len(record)] = record
        spans.append((at, at + 48 + len(head)))
        at += len(record)
    start = data.draw(st.integers(SEGMENT_HEADER_BYTES, at))
    noise = data.draw(st.binary(max_size=24))
    before = bytes(segment)
    segment[start : start + len(noise)] = noise
    touched = {i for i, b in enumerate(before) if segment[i] != b}
    state = Scan()
    seen = {record[1] for record in scan(memoryview(bytes(segment)), 0, state, SEED, is_dead=True, skip_torn=True)}
    whole = {n for n, (a, b) in enumerate(spans) if not touched.intersection(range(a, b))}
    assert whole <= seen


def test_sources_of_other_names_are_none(tmp_path: Path) -> None:
    (tmp_path / "stray").mkdir()
    assert Source("stray", tmp_path / "stray").segments() == []
    from app.journal import list_sources

    assert list_sources(tmp_path) == []
    assert list_sources(tmp_path / "nothing") == []
