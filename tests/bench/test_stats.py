"""Statistics are timed through a real tree, of documents that add up."""

from __future__ import annotations

import pytest

from bench.stats import CASES, main, measure, percentiles, table

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


def test_each_case_is_timed_and_tells_the_clicks_that_were_made() -> None:
    kept = measure(2, 20, days=100, clicks=2_880_000, quiet_s=0.0)
    assert set(kept["cases"]) == set(CASES)
    assert abs(kept["clicks"] - 2_880_000) < 100_000  # 20 a minute
    year = kept["cases"]["days of a year"]
    assert year["clicks"] == kept["clicks"]
    assert 0 < year["p50_ms"] <= year["p95_ms"] <= year["p99_ms"]
    assert kept["cases"]["a tag, days of a year"]["clicks"] > year["clicks"] * 0.9
    text = table({"heading": "a machine", **kept})
    assert all(f"| {name} |" in text for name in CASES)


def test_percentiles_are_of_sorted_times() -> None:
    assert percentiles([float(number) for number in range(101)]) == {"p50_ms": 50, "p95_ms": 95, "p99_ms": 99}
    assert percentiles([7.0]) == {"p50_ms": 7, "p95_ms": 7, "p99_ms": 7}


def test_wrong_words_are_refused() -> None:
    with pytest.raises(SystemExit):
        main(["--requests", "many"])
