"""The command: which cases it measures, and one real comparison as short as can be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cases import CASES
from bench.profiler import leaves
from bench.redirects import main, select
from bench.servers import GO, NGINX, NODE, TORNADO, available
from tests.needs import needs


def test_cases_that_share_servers_are_measured_together() -> None:
    chosen = select(None)
    assert {case.name for case in CASES} - {case.name for case in chosen} == {"ten-million"}
    links = [case.links for case in chosen]
    assert links == sorted(links)


def test_unknown_case_ends_with_the_known_ones() -> None:
    with pytest.raises(SystemExit, match="no case nonsense; there are one, links"):
        select(["links", "nonsense"])


def test_missing_tool_is_named(tmp_path: Path) -> None:
    reasons = available(str(tmp_path))
    assert reasons[TORNADO] == ""
    assert reasons[NGINX] == "nginx is missing (make bench-tools)"
    assert reasons[GO] == "go is missing (make bench-tools)"
    assert reasons[NODE] == "node is missing (make bench-tools)"


@needs("cc")
def test_short_comparison_is_kept_and_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--case", "links", "--servers", "Tornado", "--rounds", "4", "--seconds", "0.1"]
    words += ["--patience", "0", "--out", str(tmp_path)]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert f"| {TORNADO} |" in shown.out
    assert shown.out.strip() == (tmp_path / "redirects.md").read_text().strip()
    kept = json.loads((tmp_path / "redirects.json").read_text())
    assert [run["statuses"].keys() for run in kept["links"]["rows"][TORNADO]] == [{"302"}, {"302"}]
    assert main(["--report", "--json", "--out", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out) == kept


def test_innermost_functions_are_counted() -> None:
    text = leaves("main;a;b 3\nmain;b 2\nmain;a 5\n")
    assert text.splitlines() == [" 50.00%  b", " 50.00%  a"]
