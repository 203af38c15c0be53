"""When which fault happens: pure, from a seed.

Every fault comes once in each round, in an order of its own; so a short run has had all, a long run has had them in
many orders. Pauses are short enough that faults meet: the next begins while the last is not mended, or in the very
moment in which something comes back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from tests.chaos.faults import Fault

PAUSES_S = ((0.0, 0.3), (0.3, 1.5), (1.5, 5.0))  # on its heels, while it is mended, in quiet; each as likely


@dataclass(frozen=True, slots=True)
class Step:
    """One fault to come.

    Attributes:
        pause_s: since the last one began.
        hold_s: how long it lasts, for those that last.
        seed: for what the fault itself chooses.
    """

    fault: Fault
    pause_s: float
    hold_s: float
    seed: int


def schedule(faults: Sequence[Fault], random: Random) -> Iterator[Step]:
    """Steps without end."""
    while True:
        for fault in random.sample(faults, len(faults)):
            pause_s = random.uniform(*random.choice(PAUSES_S))
            yield Step(fault, pause_s, random.uniform(*fault.hold_s), random.getrandbits(32))
