"""One scene: a tree under load, faults by the schedule, and at the end of each act the account of every click.

    act     visitors ask, faults happen and meet; then everything is whole, visitors end, `boltlink audit` compares
    scene   acts on one tree, whose accounts go on from act to act

Hot links are answered without a server error whatever store is away; excused is only who cannot know (`excused`): a web
process that was started with nothing in memory, by supervisord or with the scene, while a store was away.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.chaos.cluster import Cluster
from tests.chaos.load import Load, Notes
from tests.chaos.schedule import Step
from tests.conftest import wait_for

WHOLE_S = 120.0  # a bound on waiting, not on speed
STEP_S = 0.02  # between two looks whether what was hit serves again
AT_ONCE_MAX = 3  # faults that are not mended yet
WARM_S = 8.0  # until a web process was asked for each of 60 links, also if 100 requests a second reach it: 1 - 1e-4
COUNTS_S = 5.0
SETTLE_S = 10.0  # clicks are in the statistics within two seconds
NEAR_S = 10.0
CALM_S = 1.5  # after a store answers again: a breaker that opened looks once a second


@dataclass(frozen=True, slots=True)
class Happened:
    """One fault that was. Times by time.monotonic.

    Attributes:
        ended: when it was lifted; of a kill, when it was done.
        again: when what was hit served again.
    """

    fault: str
    takes: frozenset[str]
    begun: float
    ended: float
    again: float

    @property
    def again_ms(self) -> float:
        """Milliseconds until what was hit served again."""
        return (self.again - self.ended) * 1e3


@dataclass
class Outcome:
    """What a scene was; `began` is when its web processes had just started, by time.monotonic."""

    name: str
    seed: int
    notes: Notes = field(default_factory=Notes)
    happened: list[Happened] = field(default_factory=list)
    counted: int = 0
    lost: int = 0
    doubled: int = 0
    dropped: int = 0
    expects_drops: bool = False
    differing: list[Any] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    @property
    def complaints(self) -> list[str]:
        """What may not be."""
        facts = {
            f"{self.lost} lost, {self.dropped} dropped: {self.differing[:5]}": self.lost != self.dropped,
            f"{self.dropped} dropped": (self.dropped > 0) != self.expects_drops,
            f"{self.doubled} doubled: {self.differing[:5]}": self.doubled > 0,
            f"wrong answers: {self.notes.wrong[:5]}": bool(self.notes.wrong),
            f"{len(self.blunders)} answers without an excuse: {self._near(self.blunders[:5])}": bool(self.blunders),
            "no redirect at all": not self.notes.received,
        }
        return [f"{self.name}, seed {self.seed}: {text}" for text, is_so in facts.items() if is_so]

    def _near(self, failures: list[tuple[float, int]]) -> list[str]:
        """Each with its status, and seconds since what happened shortly before began and was mended."""
        return [
            f"{status} "
            + ", ".join(
                f"{at - one.begun:.2f}/{at - one.again:.2f} s after {one.fault}"
                for one in self.happened
                if one.begun <= at <= one.again + NEAR_S
            )
            for at, status in failures
        ]

    @property
    def blunders(self) -> list[tuple[float, int]]:
        """Answers that were neither redirects nor excused."""
        start = Happened("start", frozenset({"web"}), self.began, self.began, self.began)
        spans = list(excused([start, *self.happened]))
        return [
            (at, status)
            for at, status in self.notes.failures
            if status != 503 or not any(since <= at <= until for since, until in spans)
        ]


def excused(happened: list[Happened]) -> Iterator[tuple[float, float]]:
    """When a link may not be knowable: a web process that was started has nothing in memory, and a store is away."""
    lost = [(one.begun, one.again + WARM_S) for one in happened if "web" in one.takes]
    away = [(one.begun, one.again + CALM_S) for one in happened if one.takes & {"redis", "mongodb"}]
    for since, until in lost:
        for left, back in away:
            if since <= back and left <= until:
                yield max(since, left), max(until, back)


class Stage:
    """Where acts are played.

    Args:
        rate: redirects a second.
        clock_steps: the programs' time of day may be ahead of ours. Times within a source never fall, so statistics
            say that they reach further than we look, and may lack the last clicks when they are asked at once.
    """

    def __init__(
        self, name: str, cluster: Cluster, seed: int, *, rate: int, note_bytes: int = 8, clock_steps: bool = False
    ) -> None:
        self.cluster = cluster
        self._clock_steps = clock_steps
        self.load = Load(cluster.tree.port, cluster.links, seed, rate=rate, note_bytes=note_bytes)
        self.outcome = Outcome(name, seed, notes=self.load.notes)

    def play(self, steps: Iterator[Step], *, until: float) -> None:
        """One act: faults until the time is up, then calm and the account."""
        self.load.start()
        try:
            with ThreadPoolExecutor(AT_ONCE_MAX) as pool:
                self._hurt(steps, until, pool)
            wait_for(self.cluster.is_whole, limit_s=WHOLE_S)
        finally:
            self.load.stop()
        self.account()

    def account(self) -> None:
        """Compares what visitors noted with the statistics, by the command that a person would use."""
        path = self.cluster.tree.state.parent / "expected"
        self.outcome.notes.write(path)
        self._audit(path)
        if self._clock_steps:
            with suppress(AssertionError):  # what is lost stays lost, however often one asks
                wait_for(lambda: self.outcome.lost == 0 or self._audit(path) == 0, limit_s=SETTLE_S, step_s=0.5)
        with suppress(AssertionError):  # counted once a second by each process; what stays different is complained of
            wait_for(lambda: self.cluster.count("dropped") == self.outcome.lost, limit_s=COUNTS_S)
        self.outcome.dropped = self.cluster.count("dropped")

    def _audit(self, path: Path) -> int:
        """How many are lost by what the statistics say now."""
        done = self.cluster.tree.command("audit", "--expect", str(path), "--limit", str(WHOLE_S), "--json")
        assert done.stdout, done.stderr
        found = json.loads(done.stdout)
        self.outcome.counted, self.outcome.differing = found["counted"], found["differing"]
        self.outcome.lost, self.outcome.doubled = found["lost"], found["doubled"]
        return self.outcome.lost

    def _hurt(self, steps: Iterator[Step], until: float, pool: ThreadPoolExecutor) -> None:
        running: list[Future[None]] = []
        for step in steps:
            if time.monotonic() + step.pause_s >= until:
                break
            time.sleep(step.pause_s)
            if step.fault.is_alone:
                _finish(running)
                wait_for(self.cluster.is_whole, limit_s=WHOLE_S)
            running.append(pool.submit(self._perform, step))
            if step.fault.is_alone or len(running) == AT_ONCE_MAX:
                _finish(running)
        _finish(running)

    def _perform(self, step: Step) -> None:
        begun = time.monotonic()
        with step.fault.deed(self.cluster, Random(step.seed)) as serves:
            ended = time.monotonic()
            if step.hold_s:
                time.sleep(step.hold_s)
            else:
                wait_for(serves, limit_s=WHOLE_S, step_s=STEP_S)
                again = time.monotonic()
        if step.hold_s:
            ended = time.monotonic()
            wait_for(serves, limit_s=WHOLE_S, step_s=STEP_S)
            again = time.monotonic()
        self.outcome.happened.append(Happened(step.fault.name, step.fault.takes, begun, ended, again))


def _finish(running: list[Future[None]]) -> None:
    """Waits for all; raises what one raised."""
    for future in running:
        future.result()
    running.clear()
