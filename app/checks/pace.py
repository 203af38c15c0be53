"""How many links are due: evenly over the period, whatever stops in between. Pure.

    a round    meets every link once, in the order of keys; it begins when the last one is over and its period, too
    due        one link each period / number of links, so a million in a week are 1.7 a second
    late       what could not be done in time is caught up with as far as LATE_S reach; behind that the round goes on as
               if no time had passed, and takes longer: a program that was away for a day makes no burst of that day
    no links   no round

`taken` is a time in the plan, not of a clock: up to then everything that is due was taken. A clock that steps back has
it begin there again; one that steps forward is a stop. May import: msgspec.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

__all__ = ["BATCH_MAX", "LATE_S", "Place", "Step", "next_step"]

BATCH_MAX = 500  # links of one step: 20 ms
LATE_S = 60.0


class Place(msgspec.Struct, frozen=True):
    """Where a round is: behind which key, and up to when; times are Unix seconds.

    Attributes:
        began: the round's name, too.
        taken: None before the first link, which is due at once; only then has the round begun.
    """

    began: int
    behind: str = ""
    taken: float | None = None
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What to do now: `count` links behind `place`; 0 is to wait."""

    place: Place
    count: int

    def done(self, behind: str, *, is_last: bool) -> Place:
        """The place behind these links."""
        return msgspec.structs.replace(self.place, behind=behind, is_over=is_last)


def next_step(place: Place | None, *, now_s: float, links: int, every_s: int) -> Step:
    """What is due.

    Args:
        place: None before the first round of all.
        links: about how many there are.
    """
    is_begun = place is not None and place.taken is not None
    if place is None or not is_begun or (place.is_over and not place.began <= now_s < place.began + every_s):
        place = Place(int(now_s))
    if place.is_over or not links:
        return Step(place, 0)
    if place.taken is None:
        return Step(msgspec.structs.replace(place, taken=now_s), 1)
    one_s = every_s / links
    taken = min(max(place.taken, now_s - LATE_S - one_s), now_s)
    count = min(int((now_s - taken) / one_s), BATCH_MAX)
    return Step(msgspec.structs.replace(place, taken=taken + count * one_s), count)
