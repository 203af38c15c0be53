"""The page of `boltlink monit` at any size, and the metrics of one program. A whole run: tests/system/test_monit.py."""

from __future__ import annotations

import json
import math
import os

import pytest

from app.cli.monit import _print
from app.cli.monit.page import draw
from app.cli.monit.readings import ProcessRow, Reading
from app.cli.monit.terminal import read_keys


def reading(webs: int, links: int) -> Reading:
    rows = [
        ProcessRow(f"web_{n}", 1_000 + n, "RUNNING", 90_000, 12.0, 72_000_000, n, True, 6_170.4, 2.5e-5, 120)
        for n in range(webs)
    ]
    rows.insert(0, ProcessRow("aggregator", None, "STOPPED", 0, 0.0, 0, 0))
    hot = [(f"go.example.com/{'long' * 20}{n}", 1_000 - n) for n in range(links)]
    return Reading(0.0, "http://127.0.0.1:8000", rows, 6_170.4 * webs, {"lag_s": 0.4}, {"redis": True}, hot)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (200, 60)])
@pytest.mark.parametrize(("webs", "links"), [(1, 0), (8, 3), (64, 20)])
def test_a_page_fits_its_terminal_and_shows_the_chosen_process(width: int, height: int, webs: int, links: int) -> None:
    chosen = f"web_{webs - 1}"
    lines = draw(reading(webs, links), width, height, chosen=chosen).plain.split("\n")
    assert len(lines) == height
    assert max(map(len, lines)) <= width
    assert sum(line.startswith("> ") for line in lines) == 1
    assert any(line.startswith(f"> {chosen} ") for line in lines)
    assert "q quit" in lines[-1]
    assert min(links, 3) <= sum(" go.example.com/" in line for line in lines)


def test_a_page_for_machines_is_json_though_the_slowest_took_for_ever(capsys: pytest.CaptureFixture[str]) -> None:
    row = ProcessRow("web_0", 1, "RUNNING", 1, 0.0, 0, 0, p99_s=math.inf)
    _print(Reading(0.0, "http://x", [row], hot=[("a", 1)]), as_json=True, svg=None)
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found["processes"][0]["p99_s"] is None
    assert found["hot"] == [["a", 1]]


def test_the_smallest_terminal_shows_every_column_whole() -> None:
    row = ProcessRow("aggregator_1", 1, "RUNNING", 35_999, 400.0, 450_000_000, 12, True, 99_999.0, 1.23e-3, 12_000)
    _, titles, shown, *_ = draw(Reading(0.0, "http://x", [row]), 80, 24).plain.split("\n")
    assert titles.endswith(" uptime")
    cells = ["aggregator_1", "RUNNING", "400", "450", "MB", "99,999", "1.23", "ms", "12,000", "12", "09:59:59"]
    assert shown.split() == cells


def test_what_is_not_well_is_said() -> None:
    text = draw(reading(1, 0), 80, 24, chosen="").plain
    assert "STOPPED" in text
    assert "25 µs" in text
    away = Reading(0.0, "http://x", [ProcessRow("web_0", 1, "RUNNING", 1, 0.0, 1, 0, False)], stores={"redis": False})
    text = draw(away, 80, 24, message="restart web_0? y/n").plain
    assert "not ready" in text
    assert "redis away" in text
    assert text.endswith("restart web_0? y/n")


@pytest.mark.parametrize(
    ("pressed", "keys"),
    [
        ("\x1b[B", ["down"]),
        ("\x1b", ["escape"]),
        ("\x1b[B" * 500 + "\x1bOAr", ["down"] * 500 + ["up", "r"]),  # held down, over a slow line
        ("jjkl", ["down", "down", "up", "l"]),
        ("ry", ["r"]),  # the y would answer a question that nobody has read
        ("é\x03", ["é"]),
        ("\x1b[1;5Bq", ["\x1b[1;5B"]),
        ("\x03", ["q"]),
    ],
)
def test_keys_come_in_order_however_many_at_once(pressed: str, keys: list[str]) -> None:
    theirs, ours = os.pipe()
    try:
        assert read_keys(theirs, 0) == []
        os.write(ours, pressed.encode())
        assert read_keys(theirs, 5) == keys
    finally:
        os.close(ours)
    assert read_keys(theirs, 5) == ["q"], "the terminal is gone"
    os.close(theirs)
