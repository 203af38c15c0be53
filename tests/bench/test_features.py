"""Every part of the lane is measured as it is, and costs what it adds."""

from __future__ import annotations

import pytest

from bench.features import EMPTY, NOTHING, STEPS, costs, measure, table

LINES = {
    EMPTY: 100.0,
    NOTHING: 150.0,
    "a strict head": 400.0,
    "look-ups": 500.0,
    "answer": 800.0,
    "journal": 1_100.0,
    "write": 3_100.0,
}


def test_each_part_of_the_real_lane_is_measured() -> None:
    lines = measure(0.0)
    assert set(STEPS) < set(lines)
    assert all(value > 0 for value in lines.values())


def test_a_part_costs_what_it_adds_and_a_stand_in_nothing() -> None:
    assert costs(LINES) == {
        "a strict head": 300,
        "look-ups": 100,
        "answer": 250,
        "journal": 350,
        "write": 2_000,
    }
    assert sum(costs(LINES).values()) == LINES["write"] - LINES[EMPTY]


@pytest.mark.parametrize("name", STEPS)
def test_every_part_has_its_row(name: str) -> None:
    lines = {**LINES, "of it the checksum (zlib)": 300.0, "a new Date, once a second": 3_500.0}
    assert f"\n| {name} | {STEPS[name]} |" in table({"heading": "a machine", "lines": {"compiled": lines}})
