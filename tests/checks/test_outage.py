"""Many hosts that fail in a row say more of this machine than of their pages."""

from __future__ import annotations

import pytest

from app.checks.judging import Finding, Verdict
from app.checks.outage import HOSTS_MAX, Outlook

FAILS = Finding(Verdict.FAILS, "cannot be reached")
UNKNOWN = Finding(Verdict.UNKNOWN, "cannot be reached")


def failing(count: int, scheme: str = "https") -> Outlook:
    outlook = Outlook()
    for n in range(count):
        assert outlook.weigh(f"{scheme}://h{n}.example/", FAILS) == FAILS
    return outlook


def test_one_host_more_than_fail_by_chance_is_an_outage_for_all_of_them() -> None:
    outlook = failing(HOSTS_MAX)
    for n in (HOSTS_MAX, 0, HOSTS_MAX + 1, HOSTS_MAX):
        assert outlook.weigh(f"https://h{n}.example/", FAILS) == UNKNOWN


def test_a_host_that_fails_time_and_again_is_one() -> None:
    outlook = Outlook()
    for n in range(10 * HOSTS_MAX):
        assert outlook.weigh(f"https://a.example/{n}", FAILS) == FAILS


@pytest.mark.parametrize("verdict", [Verdict.FINE, Verdict.GONE])
def test_a_host_that_answers_shows_that_there_is_a_way_out(verdict: Verdict) -> None:
    outlook = failing(HOSTS_MAX)
    assert outlook.weigh("https://b.example/", FAILS) == UNKNOWN
    answer = Finding(verdict, "it answers")
    assert outlook.weigh("https://here.example/", answer) == answer
    for n in range(HOSTS_MAX):
        assert outlook.weigh(f"https://h{n}.example/", FAILS) == FAILS


@pytest.mark.parametrize("verdict", [Verdict.CLOSED, Verdict.UNKNOWN])
def test_what_says_nothing_of_a_page_shows_nothing(verdict: Verdict) -> None:
    outlook = failing(HOSTS_MAX)
    silence = Finding(verdict, "it answers 503")
    assert outlook.weigh("https://busy.example/", silence) == silence
    assert outlook.weigh("https://b.example/", FAILS) == UNKNOWN


def test_a_wall_before_one_scheme_is_seen_behind_answers_by_the_other() -> None:
    outlook = failing(HOSTS_MAX, "http")
    outlook.weigh("https://here.example/", Finding(Verdict.FINE, "it answers 200"))
    assert outlook.weigh("http://b.example/", FAILS) == UNKNOWN
    assert outlook.weigh("https://b.example/", FAILS) == FAILS
