"""What is noted is judged as it should be: silences, excuses, complaints."""

from __future__ import annotations

from array import array
from random import Random

import pytest

from tests.chaos.faults import EMBEDDED
from tests.chaos.load import Notes
from tests.chaos.schedule import schedule
from tests.chaos.stage import CALM_S, WARM_S, Happened, Outcome, excused


def happened(takes: str, begun: float, again: float) -> Happened:
    return Happened(takes, frozenset({takes}), begun, begun, again)


def outcome(*ones: Happened, failures: list[tuple[float, int]] | None = None) -> Outcome:
    notes = Notes(failures=failures or [])
    notes.received["a"] = 1
    return Outcome("test", 1, notes, list(ones))


def test_silence_is_the_longest_time_between_redirects_that_overlaps() -> None:
    notes = Notes(redirects_at=array("d", [1.0, 2.0, 5.0, 5.5, 9.0]))
    assert notes.longest_silence_s(2.5, 5.2) == 3.0
    assert notes.longest_silence_s(5.1, 5.2) == 0.5
    assert notes.longest_silence_s(5.1, 6.0) == 3.5
    assert notes.redirects_between(2.0, 5.5) == 3


def test_store_that_is_away_excuses_nothing_while_web_processes_live() -> None:
    redis = happened("redis", 10, 14)
    assert outcome(redis, failures=[(12, 503)]).blunders == [(12, 503)]


def test_web_process_that_starts_while_a_store_is_away_is_excused_until_both_are_there() -> None:
    ones = [happened("mongodb", 10, 14), happened("web", 12, 13)]
    assert list(excused(ones)) == [(12, max(13 + WARM_S, 14 + CALM_S))]
    failures = [(11.0, 503), (13.5, 503), (13.6, 404), (30.0, 503)]
    assert outcome(*ones, failures=failures).blunders == [(11.0, 503), (13.6, 404), (30.0, 503)]


def test_web_processes_that_have_just_started_with_the_scene_are_excused_as_others() -> None:
    late = 101 + WARM_S
    found = outcome(
        happened("mongodb", 101, 102), happened("mongodb", late, late + 1), failures=[(101.5, 503), (late + 0.5, 503)]
    )
    found.began = 100
    assert found.blunders == [(late + 0.5, 503)]


def test_mongodb_that_goes_after_redis_lost_what_it_held_is_no_excuse() -> None:
    ones = [happened("redis", 10, 10.2), happened("mongodb", 11, 12)]
    assert outcome(*ones, failures=[(11.5, 503)]).blunders == [(11.5, 503)]


@pytest.mark.parametrize(
    ("lost", "doubled", "dropped", "expects", "count"),
    [(0, 0, 0, False, 0), (1, 0, 0, False, 1), (0, 1, 0, False, 1), (5, 0, 5, True, 0), (5, 0, 4, True, 1)],
)
def test_every_click_that_is_amiss_is_complained_of(
    lost: int, doubled: int, dropped: int, expects: bool, count: int
) -> None:
    found = outcome()
    found.lost, found.doubled, found.dropped, found.expects_drops = lost, doubled, dropped, expects
    assert len(found.complaints) == count


def test_every_round_has_each_fault_once_and_a_seed_gives_the_same() -> None:
    first, second = schedule(EMBEDDED, Random(3)), schedule(EMBEDDED, Random(3))
    steps = [next(first) for _ in range(3 * len(EMBEDDED))]
    assert steps == [next(second) for _ in range(3 * len(EMBEDDED))]
    rounds = [[step.fault.name for step in steps[n : n + len(EMBEDDED)]] for n in range(0, len(steps), len(EMBEDDED))]
    assert all(len(set(names)) == len(EMBEDDED) for names in rounds)
    assert rounds[0] != rounds[1]
