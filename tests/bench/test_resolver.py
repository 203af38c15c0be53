"""Which layer answered is said beside each rate, and what is not reached is marked."""

from __future__ import annotations

import pytest

from bench.resolver import CASES, main, table


def row(rate: float, *, is_reached: bool) -> dict[str, object]:
    run = {"cpu_us": 30.0, "server_share": 1.0, "load_share": 0.4, "p50": 2.0, "p99": 5.0, "anonymous_bytes": 44e6}
    layers = {"l1 hit": 1.0, "redis hit": 7.0, "mongodb hit": 1.0, "mongodb miss": 1.0}
    return {"runs": [run], "layers": layers, "rate": rate, "is_reached": is_reached}


def test_a_line_for_each_process() -> None:
    rows = {"boltlink compiled": row(26_000.0, is_reached=True), "boltlink interpreted": row(9e3, is_reached=False)}
    lines = table({"redis": {"heading": "a machine", "rows": rows}}).splitlines()
    assert lines[0] == "a machine"
    assert (
        "| boltlink compiled | 26,000 | 25,000 | 30.0 | 100% | 40% | 2.00 | 5.00 | 10.0% | 70.0% | 20.0% | 44"
        in lines[4]
    )
    assert "| 9,000 | 25,000 (**not reached**) |" in lines[5]


def test_an_unknown_case_ends_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--case", "nonsense"])
    said = capsys.readouterr().err
    assert all(case.name in said for case in CASES)
