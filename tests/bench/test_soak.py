"""A minute of the whole product under mixed traffic; and what counts as growth."""

from __future__ import annotations

from typing import Any

from bench.soak.gauge import Sample, growths
from bench.soak.report import faults_of, table

LENGTH_S = 400.0


def samples(name: str, *memory: float, descriptors: tuple[int, ...] = ()) -> list[Sample]:
    """One sample in the middle of each quarter, in MB."""
    fds = descriptors or (20,) * len(memory)
    return [
        Sample(50.0 + 100 * n, name, pid=7, memory=int(value * 1e6), descriptors=fds[n], threads=3, restarts=n)
        for n, value in enumerate(memory)
    ]


def result(**changes: Any) -> dict[str, Any]:
    """A soak without a fault."""
    growth = growths(samples("web_0", 40, 60, 60, 61), LENGTH_S)
    return {
        "machine": "a machine",
        "minutes": 60,
        "redirects": 1000,
        "counted": 1000,
        "statuses": {"302": 1000, "404": 50},
        "wrong": 0,
        "wrong_first": [],
        "quantiles_ms": {"p50": 1.0},
        "calls": {"create": 3},
        "calls_failed": [],
        "calls_ms": {"p50": 10.0},
        "reloads_s": [5.0, 5.0, 5.0],
        "growths": growth,
        "samples": [{"name": "web_0", "restarts": 3}],
    } | changes


def grows(*held: Sample) -> bool:
    (row,) = growths(held, LENGTH_S).values()
    return bool(row["grows"])


def test_growth_is_between_the_second_and_the_last_quarter() -> None:
    assert not grows(*samples("web_0", 40, 60, 60, 61))
    assert not grows(*samples("web_0", 10, 60, 64, 67.9))
    assert grows(*samples("web_0", 60, 60, 64, 68.5))
    assert not grows(*samples("aggregator", 100, 150, 150, 164))
    assert grows(*samples("aggregator", 100, 150, 150, 166))


def test_of_engines_only_descriptors_are_judged() -> None:
    assert not grows(*samples("mongod", 100, 200, 300, 400))
    assert grows(*samples("mongod", 100, 100, 100, 100, descriptors=(20, 20, 30, 40)))


def test_a_program_that_was_not_there_is_not_judged() -> None:
    assert growths(samples("web_0", 40, 60), LENGTH_S) == {}


def test_each_fault_is_named() -> None:
    assert faults_of(result()) == []
    assert faults_of(result(counted=999)) == ["1000 redirects were received, 999 are counted"]
    assert faults_of(result(counted=1001)) != []
    assert faults_of(result(wrong=2, wrong_first=["404 instead of 302"])) == ["2 requests failed: 404 instead of 302"]
    assert faults_of(result(calls_failed=["list: 500"])) == ["1 calls failed: list: 500"]
    assert faults_of(result(statuses={"302": 1000, "503": 1})) == []
    assert faults_of(result(statuses={"302": 1000, "503": 2})) == ["2 of 1002 answers were 503"]
    assert faults_of(result(samples=[{"name": "web_0", "restarts": 4}])) == ["web_0 was restarted 4 times"]
    growing = growths(samples("web_0", 40, 60, 80, 100), LENGTH_S)
    assert faults_of(result(growths=growing)) == ["web_0 grows"]


def test_table_names_faults() -> None:
    text = table(result() | {"faults": ["web_0 grows"]})
    assert "1,000 redirects received, 1,000 counted; 0 requests failed, 0 answered by 503" in text
    assert "| web_0 | 60.0 | 61.0 | 20 | 20 |  |" in text
    assert text.endswith("FAULT: web_0 grows")
