"""How long the API holds the loop is seen by the process itself."""

from __future__ import annotations

import pytest

from bench.stalls import CASES, measure


@pytest.mark.system
@pytest.mark.timeout(120)
@pytest.mark.usefixtures("own_cpus")
def test_each_case_is_answered_and_seen_from_inside() -> None:
    rows = measure(1, compiled=False)
    assert set(rows) == {case.name for case in CASES}
    assert all(row["held_ms"] < row["p50_ms"] for row in rows.values())
    assert any(row["held_ms"] > 0 for row in rows.values()), "encoding a thousand rows takes longer than a step"
