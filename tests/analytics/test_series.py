"""Packed pairs are put into units as one by one would."""

from __future__ import annotations

from bisect import bisect_right

from hypothesis import given
from hypothesis import strategies as st

from app.analytics.bucket import pack_minutes, unpack_minutes
from app.analytics.series import Series, unpack_pairs

counts = st.dictionaries(st.integers(0, 50_000), st.integers(1, 2**40), max_size=50)


@given(counts)
def test_columns_are_what_is_yielded_one_by_one(minutes: dict[int, int]) -> None:
    units, clicks = unpack_pairs(pack_minutes(minutes))
    assert list(zip(units.tolist(), clicks.tolist(), strict=True)) == list(unpack_minutes(pack_minutes(minutes)))


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


def test_nothing_is_nothing() -> None:
    series = Series(0, 100)
    series.add(b"", 0)
    assert series.by_unit([0, 50]) == [0, 0]
