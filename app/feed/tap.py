"""Looks at records while they are folded, as far as somebody watches their links; otherwise it costs nothing.

In: who watches what, as web processes say once a second; chunks of folded records. Out: a `Glimpse` of them, bounded
whatever comes in: LINK_MAX visits of a link in a second, WATCHED_MAX of links that are watched one by one, and ALL_MAX
of the others for those who watch everything. What is more is counted, and who watches is told.

Wishes end WANTED_S after they were last heard. Pure, but for a clock that is passed in. May import: journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from app.feed.events import ALL_LINKS, Glimpse, Seen
from app.journal import NO_LINK, REDIRECT_GET, RawRecord

__all__ = ["ALL_MAX", "LINK_MAX", "WANTED_S", "WATCHED_MAX", "Tap"]

LINK_MAX = 50
ALL_MAX = 500
WATCHED_MAX = 1_000  # 1 % of a core, with those of ALL_MAX
WANTED_S = 3.0
WISHES_MAX = 1_000  # links; further ones are not looked at
_ALL = ALL_LINKS.to_bytes(8, "big")


class Tap:
    """The tap of one aggregator.

    Args:
        describe: what is told of a record; None when it is nobody's business.
        monotonic: seconds that only grow.
    """

    def __init__(self, describe: Callable[[RawRecord], Seen | None], *, monotonic: Callable[[], float]) -> None:
        self._describe = describe
        self._monotonic = monotonic
        self._until: dict[bytes, float] = {}
        self._second = -1
        self._shown: dict[bytes, int] = {}  # in this second, by link
        self._watched = 0  # in this second, of links that are watched one by one
        self._others = 0

    @property
    def is_wanted(self) -> bool:
        """Whether anybody watches anything."""
        return bool(self._until) and self._turn()

    def want(self, links: Iterable[int]) -> None:
        """Somebody watches these links; ALL_LINKS is everything."""
        until = self._monotonic() + WANTED_S
        for link in links:
            name = link.to_bytes(8, "big")
            if name in self._until or len(self._until) < WISHES_MAX:
                self._until[name] = until

    def take(self, records: Sequence[RawRecord], end: int, into: Glimpse) -> None:
        """Adds what is to be told of the first `end` records."""
        if not self.is_wanted:
            return
        watched, is_all = self._until, _ALL in self._until
        left_out = 0
        for record in islice(records, end):
            link = record[2]
            if record[4] != REDIRECT_GET or link == NO_LINK:
                continue
            is_watched = link in watched
            if not (is_watched or is_all):
                continue
            if not self._has_room(link, is_watched):
                left_out += is_all
                if is_watched:
                    into.left_out[int.from_bytes(link, "big")] += 1
            elif (seen := self._describe(record)) is not None:
                self._count(link, is_watched)
                into.seen.append(seen)
        if left_out:
            into.left_out[ALL_LINKS] += left_out

    def _turn(self) -> bool:
        """Begins a new second, if it is one; whether any wish is left."""
        now_s = self._monotonic()
        if int(now_s) != self._second:
            self._second = int(now_s)
            self._until = {link: until for link, until in self._until.items() if until > now_s}
            self._shown.clear()
            self._watched = self._others = 0
        return bool(self._until)

    def _has_room(self, link: bytes, is_watched: bool) -> bool:
        is_room = self._watched < WATCHED_MAX if is_watched else self._others < ALL_MAX
        return is_room and self._shown.get(link, 0) < LINK_MAX

    def _count(self, link: bytes, is_watched: bool) -> None:
        self._shown[link] = self._shown.get(link, 0) + 1
        if is_watched:
            self._watched += 1
        else:
            self._others += 1
