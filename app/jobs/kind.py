"""What a release knows to do, and one attempt at it.

A kind is registered by its name, with the type of its payload. A name that a release does not know is a newer one's, or
an older one's: its jobs are left alone. Pure. May import: msgspec, queue.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from app.jobs.outcomes import LostClaimError
from app.jobs.queue import Claimed

__all__ = ["AT_ONCE", "Kind", "Task"]

AT_ONCE = 64  # jobs of one program: each mostly waits for somebody else


class Task:
    """One attempt, as its work sees it."""

    def __init__(self, job: Claimed, held_until_s: float, monotonic: Callable[[], float]) -> None:
        self.job = job
        self.held_until_s = held_until_s
        self._monotonic = monotonic

    def check(self) -> None:
        """To be asked right before an effect that others see; raises LostClaimError."""
        if self._monotonic() >= self.held_until_s:
            raise LostClaimError


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What a release knows to do.

    Attributes:
        name: as jobs hold it.
        payload: a Struct.
        work: does one job; what it returns is kept with the job, and it raises `app.jobs.outcomes`.
        attempts_max: the last one that fails makes the job dead.
        first_s, factor, most_s: of the waiting after a failed attempt, half of which is chance.
        limit_s: of one attempt.
        lane_max, group_max: jobs of one lane, and of one group of lanes, that a program does at once.
        most: jobs of this kind that a program does at once.
        may_wait: nobody minds how long; such a job is never late.
        kept_s: for how long one that is done can be looked at; None: as long as others.
    """

    name: str
    payload: type[msgspec.Struct]
    work: Callable[[Any, Task], Awaitable[Mapping[str, Any]]]
    attempts_max: int = 12
    first_s: float = 5.0
    factor: float = 3.0
    most_s: float = 6 * 3600.0
    limit_s: float = 30.0
    lane_max: int = 4
    group_max: int = 8
    most: int = AT_ONCE
    may_wait: bool = False
    kept_s: float | None = None

    def wait_s(self, attempts: int, chance: float) -> float:
        """How long to wait after so many failed attempts; `chance` is in [0, 1)."""
        longest = min(self.most_s, self.first_s * self.factor ** min(attempts - 1, 50))
        return longest * (0.5 + chance / 2)
