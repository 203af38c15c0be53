"""Long work goes in turns, so that whoever else asks this process waits for one of them and not for all.

In: the clock. Out: when to give the loop back. May import: the standard library.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

__all__ = ["TURN_S", "Turn"]

TURN_S = 0.002  # a redirect that comes meanwhile waits for it


class Turn:
    """What one task does before the others have their turn; `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._end_s = clock() + TURN_S

    @property
    def is_over(self) -> bool:
        """Whether it is time for `end`."""
        return self._clock() >= self._end_s

    async def end(self) -> None:
        """Lets the others run; then the next turn begins."""
        await asyncio.sleep(0)
        self._end_s = self._clock() + TURN_S
