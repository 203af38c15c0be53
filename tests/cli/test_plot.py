"""Counts as bars, columns and sparks."""

from __future__ import annotations

from app.cli.plot import BAR_CHARACTERS, COLUMN_ROWS, bar, bars, columns, grouped, spark


def test_a_bar_is_as_long_as_its_share_to_an_eighth() -> None:
    assert bar(1, 1) == "█" * BAR_CHARACTERS
    assert bar(1, 2) == "█" * (BAR_CHARACTERS // 2)
    assert bar(1, BAR_CHARACTERS * 8) == "▏"
    assert bar(0, 7) == ""


def test_each_value_has_its_line() -> None:
    assert bars(["a", "b"], [2, 0]).plain == f"a  {'█' * BAR_CHARACTERS}  2\nb  0\n"
    assert bars([], []).plain == ""


def test_neighbours_are_summed_until_they_fit() -> None:
    assert grouped([1, 2, 3, 4, 5], 2) == [6, 9]
    assert grouped([1, 2, 3], 3) == [1, 2, 3]
    assert grouped([], 3) == []


def test_columns_rise_to_the_largest_sum_and_name_both_ends() -> None:
    lines = columns([f"{n:02}" for n in range(100)], [0] * 98 + [1, 3], 105).plain.splitlines()
    assert len(lines) == COLUMN_ROWS + 1
    assert lines[0] == "3  " + " " * 99 + "█"
    assert lines[COLUMN_ROWS - 3] == "   " + " " * 98 + "▅█"  # a third of 64 eighths
    assert lines[COLUMN_ROWS - 1] == "0  " + " " * 98 + "██"
    assert lines[-1] == "   00" + " " * 96 + "99"
    assert max(map(len, columns(["a", "b"] * 2_000, [1] * 4_000, 80).plain.splitlines())) <= 80


def test_a_spark_shows_whatever_is_not_nothing() -> None:
    assert spark([0, 1, 1_000, 500]) == " ▁█▄"
    assert spark([]) == ""
