"""Ratios compare runs of the same round; what makes a comparison worthless is said; figures are reached or not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.cases import CASES, MIXED, Case
from bench.load import Run
from bench.report import case_table, findings, goal_lines, ratios, report
from bench.servers import COMPILED, INTERPRETED, NGINX

RUN = Run(
    rate=100.0,
    answered=200,
    errors=0,
    p50=1.0,
    p95=2.0,
    p99=3.0,
    p999=4.0,
    max=5.0,
    statuses={"302": 200},
    cpu_us=10.0,
)
LINKS = next(case for case in CASES if case.name == "links")
API = next(case for case in CASES if case.name == "api")


def at(rates: list[float], **changes: object) -> list[Run]:
    return [replace(RUN, rate=rate, number=number, **changes) for number, rate in enumerate(rates)]  # type: ignore[arg-type]


def test_ratio_is_taken_round_by_round() -> None:
    assert ratios("rate", at([50.0, 100.0]), at([100.0, 400.0])) == [0.5, 0.25]


def test_server_that_was_left_out_of_a_round_is_compared_in_the_others() -> None:
    base = at([100.0, 200.0, 400.0])
    assert ratios("rate", [replace(RUN, rate=100.0, number=2)], base) == [0.25]
    assert ratios("rate", [replace(RUN, rate=100.0, number=3)], base) == []


def test_ratio_by_cpu_is_better_when_less_is_spent() -> None:
    assert ratios("cpu", [replace(RUN, cpu_us=20.0)], [replace(RUN, cpu_us=10.0)]) == [0.5]


def test_table_shows_median_and_the_middle_half() -> None:
    text = case_table(LINKS, {NGINX: at([100.0, 100.0, 100.0]), COMPILED: at([90.0, 110.0, 100.0], clicks=200)})
    assert f"| {COMPILED} | 100 | 1.00 (0.95–1.05) |" in text
    assert "\n- " not in text


def test_load_that_may_be_the_limit_is_marked() -> None:
    text = case_table(LINKS, {NGINX: at([100.0], load_share=0.97)})
    assert "| 97% (limit) |" in text


def test_case_without_its_base_has_no_ratio() -> None:
    assert f"| {COMPILED} | 100 | – |" in case_table(LINKS, {COMPILED: at([100.0])})


def test_mixture_is_compared_with_the_same_server_without() -> None:
    rows = {COMPILED: at([100.0]), COMPILED + MIXED: at([95.0], statuses={"302": 199, "200": 1})}
    assert "| 0.95 (0.95–0.95) |" in case_table(API, rows)
    assert findings(API, rows) == []


@pytest.mark.parametrize(
    ("run", "text"),
    [
        (replace(RUN, errors=1), "1 errors"),
        (replace(RUN, statuses={"302": 150, "404": 50}), "'404': 50"),
        (replace(RUN, clicks=199), "199 clicks in the journal, 200 answers"),
        (replace(RUN, clicks=201), "201 clicks in the journal, 200 answers"),
    ],
)
def test_worthless_run_is_named(run: Run, text: str) -> None:
    (found,) = findings(LINKS, {COMPILED: [RUN, replace(run, number=2)]})
    assert found.startswith(f"links, {COMPILED}, round 2: ")
    assert text in found


def test_clicks_of_wrk_may_be_those_under_way() -> None:
    case = next(case for case in CASES if case.tool == "wrk")
    run = replace(RUN, statuses={"2xx or 3xx": 200})
    assert findings(case, {COMPILED: [replace(run, clicks=264)]}) == []
    assert findings(case, {COMPILED: [replace(run, clicks=265)]}) != []
    assert findings(case, {COMPILED: [replace(run, clicks=199)]}) != []


def test_memory_is_said_where_there_are_more_links_than_shipped_for() -> None:
    million = next(case for case in CASES if case.name == "million")
    rows = {COMPILED: [replace(RUN, anonymous_bytes=300_000_000), replace(RUN, anonymous_bytes=301_000_000)]}
    assert f"- {COMPILED} held 300 MB after its first run, 301 after its last (RssAnon)" in case_table(million, rows)
    assert "RssAnon" not in case_table(LINKS, rows)


def test_figure_is_reached_or_not() -> None:
    rows = {NGINX: at([100.0]), COMPILED: at([105.0]), INTERPRETED: at([84.0])}
    lines = goal_lines({"links": rows})
    assert f"| 1,000 links | {INTERPRETED} / {NGINX} | >= 0.85x | 0.84x | **no** |" in lines
    assert f"| 1,000 links | {COMPILED} / {NGINX} | >= 1.05x | 1.05x | yes |" in lines


def test_report_holds_the_cases_that_were_measured_in_order() -> None:
    text = report({"one": {NGINX: [RUN]}, "links": {NGINX: [RUN]}}, "a machine")
    assert text.startswith("a machine\n")
    assert text.index("### One hot link") < text.index("### 1,000 links")
    assert "### 16" not in text


def test_names_of_cases_are_unique_and_their_goals_are_of_their_rows() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    for case in CASES:
        rows = {server + kind for server in case.servers for kind in case.kinds}
        assert {name for goal in case.goals for name in (goal.server, goal.versus)} <= rows
        assert is_compared(case)


def is_compared(case: Case) -> bool:
    return case.is_own_base or case.base in case.servers
