"""Growth is what remains when the table has settled; the figure is reached or not."""

from __future__ import annotations

import pytest

from bench.memory import SETTLED, Sample, growth, is_reached, table


def samples(*anonymous: float) -> list[Sample]:
    """In MB, each 100,000 requests after the one before."""
    return [
        {"requests": number * 100_000, "anonymous": int(value * 1e6), "file": 0, "shared": 0}
        for number, value in enumerate(anonymous)
    ]


def test_growth_is_counted_from_when_the_table_has_settled() -> None:
    filling = [40.0, 70.0, 80.0]
    assert len(filling) == 1 + SETTLED
    assert growth(samples(*filling, 80.0, 80.0, 80.0)) == 0
    assert growth(samples(*filling, 80.0, 80.5, 81.0)) == pytest.approx(5e6)
    assert growth(samples(*filling)) == 0


def test_one_step_is_no_growth() -> None:
    assert growth(samples(40.0, 70.0, 80.0, 80.0, 80.0, 80.0, 80.0, 83.5)) == 0


def test_too_much_is_not_reached_and_growth_neither() -> None:
    filling = [40.0, 70.0, 80.0]
    assert is_reached(samples(*filling, 80.0, 80.0, 80.0))
    assert not is_reached(samples(*filling, 130.0, 130.0, 130.0))
    assert not is_reached(samples(*filling, 80.0, 81.0, 82.0))


def test_table_says_what_was_held_and_whether_that_is_the_figure() -> None:
    text = table({"heading": "a machine", "links": 1_000, "samples": samples(40.0, 70.0, 80.0, 80.0, 80.0)})
    assert "| 200,000 | 80.0 | 0.0 | 0.0 |" in text
    assert "1,000 links; at most 80.0 MB anonymous (to reach: < 120), growing by 0.00 MB" in text
    assert text.endswith(": reached\n")
