"""Stops asking a store that does not answer, so that nobody waits for it.

In: the outcome of each call. Out: whether the next call may be made.

    CLOSED     calls go through; FAILURES_MAX failures in a row open it
    OPEN       no call is made for OPEN_S seconds
    HALF_OPEN  one call goes through as a probe: its success closes, its failure opens again

May import: the standard library.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

__all__ = ["Breaker", "BreakerState"]

FAILURES_MAX = 5  # at 250 ms each, with batches in parallel: open within half a second of an outage
OPEN_S = 1.0


class BreakerState(IntEnum):
    """In the order of their values in metrics."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """One store's breaker in one process. `now` is a monotonic clock in seconds."""

    def __init__(self, store: str, now: Callable[[], float]) -> None:
        self.store = store
        self.state = BreakerState.CLOSED
        self.failures = 0
        self._now = now
        self._opened_s = 0.0

    def admits(self) -> bool:
        """Whether a call may be made now; an OPEN breaker whose time is over admits one probe."""
        if self.state is BreakerState.CLOSED:
            return True
        if self.state is BreakerState.OPEN and self._now() - self._opened_s >= OPEN_S:
            self.state = BreakerState.HALF_OPEN
            return True
        return False

    def on_success(self) -> None:
        """A call was answered."""
        self.failures = 0
        self.state = BreakerState.CLOSED

    def on_failure(self) -> None:
        """A call failed or took too long."""
        self.failures += 1
        if self.state is BreakerState.HALF_OPEN or self.failures >= FAILURES_MAX:
            self.state = BreakerState.OPEN
            self._opened_s = self._now()
