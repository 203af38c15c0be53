"""No click is lost and none is counted twice, whatever is killed, stopped, emptied or restarted: the real tree."""

from __future__ import annotations

import os
import sys
from random import SystemRandom

import pytest

from tests.chaos.clock import may_step
from tests.chaos.report import show
from tests.chaos.scenes import play_embedded, play_full_disk, play_sets, play_stepping_clock
from tests.chaos.stage import Outcome
from tests.mounts import needs_mounts_of_root
from tests.needs import skip

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]


@pytest.fixture
def seed() -> int:
    """The one that was asked for, or a new one; the table and each complaint name it."""
    return int(os.environ.get("SEED") or SystemRandom().getrandbits(32))


def accept(outcome: Outcome) -> None:
    sys.stderr.write(f"\n{show([outcome])}\n")
    assert outcome.complaints == []


def test_everything_that_can_happen_to_an_embedded_tree(seed: int) -> None:
    accept(play_embedded(seed, 60))


def test_primaries_of_mongodb_and_redis_step_down_die_and_stop(seed: int) -> None:
    accept(play_sets(seed, 45))


def test_clock_that_steps_moves_no_click_out_of_the_account(seed: int) -> None:
    if not may_step():
        skip("no C compiler to build the clock with")
    accept(play_stepping_clock(seed, 30))


@needs_mounts_of_root
def test_full_disk_drops_and_counts_what_it_cannot_keep(seed: int) -> None:
    accept(play_full_disk(seed))
