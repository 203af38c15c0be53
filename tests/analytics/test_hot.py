"""The hottest links: a minute's window, a bound that hides no hot link, and files of several aggregators."""

from __future__ import annotations

import json
import os
from pathlib import Path

from app.analytics import NO_LINK_ID, BucketKey, Delta, HotLinks, read_hot
from app.analytics.hot import LINKS_MAX, SHOWN_MAX, SLOT_S, STALE_S, WINDOW_S


class Clock:
    """Seconds that a test sets."""

    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def deltas(clicks: dict[int, int], *, bots: int = 0) -> dict[BucketKey, Delta]:
    made = {}
    for link, count in clicks.items():
        made[link, 20_000] = delta = Delta()
        delta.clicks, delta.bots = count, bots
    return made


def test_clicks_of_people_and_bots_count_for_a_minute(tmp_path: Path) -> None:
    clock = Clock()
    hot = HotLinks(tmp_path / "a.json", monotonic=clock)
    hot.add(deltas({7: 5, NO_LINK_ID: 99}, bots=2))
    clock.now_s += WINDOW_S / 2
    hot.add(deltas({7: 1, 8: 20}))
    assert hot.top() == [(8, 20), (7, 8)]
    clock.now_s += WINDOW_S / 2
    assert hot.top() == [(8, 20), (7, 1)]
    clock.now_s += 10 * WINDOW_S
    assert hot.top() == []


def test_a_flood_of_links_stays_within_bounds_and_hides_no_hot_one(tmp_path: Path) -> None:
    clock = Clock()
    hot = HotLinks(tmp_path / "a.json", monotonic=clock)
    for batch in range(20):
        hot.add(deltas({1: 50} | {1_000 + batch * 1_000 + n: 1 for n in range(1_000)}))
    assert max(map(len, hot._slots)) <= LINKS_MAX
    assert hot.top()[0] == (1, 1_000)
    assert len(hot.top()) == SHOWN_MAX


def test_files_of_all_aggregators_are_added_and_old_ones_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "hot"
    assert read_hot(folder) == []
    clock = Clock()
    for name, clicks in (("aggregator_0", {1: 10, 2: 3}), ("aggregator_1", {1: 1}), ("aggregator_2", {9: 99})):
        hot = HotLinks(folder / f"{name}.json", monotonic=clock)
        hot.add(deltas(clicks))
        hot.write()
    old = json.loads((folder / "aggregator_2.json").read_text())
    (folder / "aggregator_2.json").write_text(json.dumps({**old, "at": old["at"] - STALE_S - SLOT_S}))
    (folder / "aggregator_3.json").write_text("{")
    assert read_hot(folder) == [(1, 11), (2, 3)]
    assert sorted(os.listdir(folder)) == [f"aggregator_{n}.json" for n in range(4)]
