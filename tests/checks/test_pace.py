"""How many links are due: evenly, once in a period, without bursts, whatever the clock does."""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec
import pytest

from app.checks.pace import BATCH_MAX, LATE_S, Place, next_step

DAY = 86_400
WEEK = 7 * DAY
NOW = 1_800_000_000.0


def live(
    links: int, every_s: int, *, step_s: float, until_s: float, pauses: dict[float, float] | None = None
) -> Iterator[tuple[float, int, Place]]:
    """(seconds since the begin, links taken, the place behind them) of a program that looks every `step_s`."""
    place: Place | None = None
    at, met, pauses = 0.0, 0, dict(pauses or {})
    while at < until_s:
        step = next_step(place, now_s=NOW + at, links=links, every_s=every_s)
        place = step.place
        if step.count:
            if place.behind == "":
                met = 0
            found = min(step.count, links - met)
            met += found
            place = step.done(f"/{met:09}" if found else place.behind, is_last=found < step.count)
            yield at, found, place
        if not step.count or step.count < BATCH_MAX:
            at += step_s
        for begin in [begin for begin in pauses if begin <= at]:
            at += pauses.pop(begin)


@pytest.mark.parametrize("links", [1, 2, 7, 1_000, 100_000])
def test_every_link_is_met_once_in_a_period_and_the_next_one_follows(links: int) -> None:
    rounds: dict[int, int] = {}
    for _, found, place in live(links, WEEK, step_s=5.0 if links > 10 else 600.0, until_s=2 * WEEK + DAY):
        rounds[place.began] = rounds.get(place.began, 0) + found
    first, second, *_ = sorted(rounds)
    assert (rounds[first], rounds[second]) == (links, links)
    assert abs(second - first - WEEK) <= max(60, WEEK * 0.001)


@pytest.mark.parametrize(("links", "every_s"), [(1_000_000, WEEK), (100_000, WEEK), (10_000_000, WEEK)])
def test_links_are_spread_evenly(links: int, every_s: int) -> None:
    """In each ten minutes as many as belong to them, and never more at once than the time between two looks brings."""
    per_s = links / every_s
    minutes = [0] * (6 * 3)
    for at, found, _ in live(links, every_s, step_s=5.0, until_s=3 * 3_600):
        minutes[int(at // 600)] += found
        assert found <= per_s * 5 + 1
    for count in minutes:
        assert abs(count - per_s * 600) <= per_s * 5 + 2


def test_what_was_missed_is_no_burst() -> None:
    """A day away is caught up with by a minute's worth; the round takes a day longer."""
    per_s = 1_000_000 / WEEK
    before = {at: found for at, found, _ in live(1_000_000, WEEK, step_s=5.0, until_s=2 * DAY, pauses={3_600.0: DAY})}
    behind = sum(found for at, found in before.items() if DAY + 3_600 <= at < DAY + 3_660)
    assert behind <= per_s * (LATE_S + 60) + 2
    assert max(before.values()) <= per_s * (LATE_S + 5) + 2


@pytest.mark.parametrize("links", [100_000_000, 2_000_000_000])
def test_one_step_has_a_limit(links: int) -> None:
    step = next_step(Place(int(NOW), "/a", NOW - 3_600), now_s=NOW, links=links, every_s=DAY)
    assert step.count == BATCH_MAX


def test_without_links_there_is_no_round_and_the_first_one_is_due_at_once() -> None:
    place = None
    for day in range(30):
        step = next_step(place, now_s=NOW + day * DAY, links=0, every_s=WEEK)
        assert step.count == 0
        place = step.place
    step = next_step(place, now_s=NOW + 30 * DAY, links=1, every_s=WEEK)
    assert (step.count, step.place.began) == (1, int(NOW + 30 * DAY))


def test_a_round_that_is_over_waits_for_its_period() -> None:
    over = Place(int(NOW), "/z", NOW + 5, is_over=True)
    assert next_step(over, now_s=NOW + WEEK - 1, links=9, every_s=WEEK) == next_step(
        over, now_s=NOW + 10, links=9, every_s=WEEK
    )
    begun = next_step(over, now_s=NOW + WEEK, links=9, every_s=WEEK)
    assert (begun.count, begun.place) == (1, Place(int(NOW + WEEK), "", NOW + WEEK))


def test_a_clock_that_steps_stops_nothing_and_makes_no_burst() -> None:
    place = Place(int(NOW), "/a", NOW)
    back = next_step(place, now_s=NOW - 30 * DAY, links=1_000_000, every_s=WEEK)
    assert back.count == 0
    on = next_step(back.place, now_s=NOW - 30 * DAY + 10, links=1_000_000, every_s=WEEK)
    assert on.count == int(10 * 1_000_000 / WEEK)
    over = msgspec.structs.replace(place, is_over=True)
    assert next_step(over, now_s=NOW - 30 * DAY, links=9, every_s=WEEK).count == 1, "its end may never come"
    forth = next_step(place, now_s=NOW + 365 * DAY, links=1_000_000, every_s=WEEK)
    assert forth.count <= 1_000_000 / WEEK * LATE_S + 1


def test_no_step_of_a_life_of_chance_is_out_of_bounds() -> None:
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    place: Place | None = None
    now_s = NOW
    for _ in range(20_000):
        now_s += rng.choice([0.0, 1.0, 5.0, 5.0, 5.0, 60.0, 3_600.0, -3_600.0, 9 * DAY, -9 * DAY])
        links = rng.choice([0, 1, 3, 1_000, 1_000_000, 10_000_000])
        step = next_step(place, now_s=now_s, links=links, every_s=WEEK)
        one_s = WEEK / max(links, 1)
        assert 0 <= step.count <= min(BATCH_MAX, LATE_S / one_s + 1), seed
        assert step.count == 0 or (step.place.taken is not None and step.place.taken <= now_s), seed
        place = step.done("/x", is_last=rng.random() < 0.05) if step.count else step.place
