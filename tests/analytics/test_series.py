"""Packed pairs are put into units as one by one would."""

from __future__ import annotations

from bisect import bisect_right

from hypothesis import given, settings
from hypothesis import strategies as st

from app.analytics.bucket import pack_minutes, unpack_minutes
from app.analytics.series import CHUNK_BYTES, Series, unpack_pairs

counts = st.dictionaries(st.integers(0, 50_000), st.integers(1, 2**40), max_size=50)


@settings(deadline=None)  # numpy is loaded within the first one
@given(st.lists(counts.filter(bool), min_size=1, max_size=5))
def test_columns_are_what_is_yielded_one_by_one(parts: list[dict[int, int]]) -> None:
    packed = [pack_minutes(minutes) for minutes in parts]
    units, clicks, lengths = unpack_pairs(packed)
    expected = [pair for part in packed for pair in unpack_minutes(part)]
    assert list(zip(units.tolist(), clicks.tolist(), strict=True)) == expected
    assert lengths.tolist() == [len(minutes) for minutes in parts]


@settings(deadline=None)
@given(
    st.lists(st.tuples(counts, st.integers(0, 10_000), st.sampled_from([1, 15])), max_size=4),
    st.integers(0, 100_000),
    st.integers(1, 500_000),
    st.lists(st.integers(1, 50_000), max_size=30),
    st.integers(0, 500_000),
)
def test_each_pair_within_counts_in_its_unit(
    parts: list[tuple[dict[int, int], int, int]], start: int, length: int, steps: list[int], until: int
) -> None:
    begins = [start]
    for step in steps:
        begins.append(begins[-1] + step)
    series, expected = Series(start, start + length), [0] * len(begins)
    for minutes, base, step in parts:
        series.add(pack_minutes(minutes), base, step, until)
        for unit, count in minutes.items():
            minute = base + unit * step
            if start <= minute < min(start + length, until):
                expected[bisect_right(begins, minute) - 1] += count
    assert series.by_unit(begins) == expected


def test_much_is_unpacked_chunk_by_chunk() -> None:
    day = pack_minutes(dict.fromkeys(range(1_440), 300))
    days = 3 * CHUNK_BYTES // len(day)
    series = Series(0, days * 1_440)
    for number in range(days):
        series.add(day, number * 1_440)
    assert series._packed_bytes < CHUNK_BYTES
    assert series.by_unit(range(0, days * 1_440, 1_440)) == [300 * 1_440] * days


def test_nothing_is_nothing() -> None:
    series = Series(0, 100)
    series.add(b"", 0)
    assert series.by_unit([0, 50]) == [0, 0]
