"""What the API costs is measured of answers that are right, and what is not reached is marked."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from bench.api import CASES, cases, main, measure, table


@pytest.mark.system
@pytest.mark.timeout(120)
@pytest.mark.usefixtures("own_cpus")
def test_each_case_is_answered_and_timed(tmp_path: Path) -> None:
    kept = measure(cases(2_000), argparse.Namespace(folder=tmp_path, links=2_000, seconds=0.2, interpreted=True))
    assert set(kept) == set(CASES)
    assert all(0 < row["p50_ms"] <= row["p95_ms"] for row in kept.values())
    assert kept["batch"]["per_cpu_second"] > kept["create"]["per_cpu_second"]


def row(title: str, rate: float, *, is_reached: bool) -> dict[str, Any]:
    times = {"cpu_us": 480.0, "p50_ms": 2.0, "p95_ms": 5.0, "per_second": rate / 2, "per_cpu_second": rate}
    return {"title": title, **times, "rate_wanted": 2_000, "p95_wanted_ms": 0.0, "is_reached": is_reached}


def test_what_is_not_reached_is_marked() -> None:
    reached, missed = row("one", 2_100.0, is_reached=True), row("other", 1_900.0, is_reached=False)
    lines = table({"heading": "a machine", "cases": {"one": reached, "other": missed}}).splitlines()
    assert lines[0] == "a machine"
    assert lines[4] == "| one | 1,050 | 2,100 | 2,000 | 480 µs | 2.00 ms | 5.00 ms | – |"
    assert lines[5].endswith("| – | **not reached**")


def test_an_unknown_case_ends_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--case", "nonsense"])
    said = capsys.readouterr().err
    assert all(name in said for name in CASES)
