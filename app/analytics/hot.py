"""Which links are clicked most on this node just now, for those who look at it: counts of the last minute, bounded.

In: what an aggregator applied, one count for each link of a batch, so nothing is done for a single click. Out: a file
of one aggregator, whole or not at all, with ids of links; who reads it asks MongoDB for their slugs.

    <run>/hot/aggregator.json   {"at": Unix seconds, "links": [[id, clicks within WINDOW_S], …]}   most clicked first

A link that comes new into a full slot pushes the less counted half out: a flood of links that are clicked once hides
none that is clicked often. May import: the standard library.
"""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path

from app.analytics.bucket import NO_LINK_ID, BucketKey, Delta

__all__ = ["HotLinks", "read_hot"]

SLOT_S = 5
SLOTS = 12
WINDOW_S = SLOT_S * SLOTS
LINKS_MAX = 4_000  # of a slot
SHOWN_MAX = 20
STALE_S = 10.0  # of a file that is written every second: its aggregator hangs or is gone


class HotLinks:
    """The counts of one aggregator. `monotonic` is a clock in seconds."""

    def __init__(self, path: Path, *, monotonic: Callable[[], float]) -> None:
        self._path = path
        self._monotonic = monotonic
        self._slots: deque[Counter[int]] = deque(maxlen=SLOTS)
        self._slot = -1

    def add(self, deltas: Mapping[BucketKey, Delta]) -> None:
        """Counts an applied batch: people's clicks and bots'."""
        slot = self._turn()
        for (link, _), delta in deltas.items():
            if clicks := delta.clicks + delta.bots:
                slot[link] += clicks
        slot.pop(NO_LINK_ID, None)
        if len(slot) > LINKS_MAX:
            self._slots[-1] = Counter(dict(slot.most_common(LINKS_MAX // 2)))

    def top(self) -> list[tuple[int, int]]:
        """(link, clicks) of the most clicked."""
        self._turn()
        total: Counter[int] = Counter()
        for slot in self._slots:
            total.update(slot)
        return total.most_common(SHOWN_MAX)

    def write(self) -> None:
        """Brings the file up to date."""
        draft = self._path.with_suffix(".new")
        draft.parent.mkdir(mode=0o700, exist_ok=True)
        draft.write_text(json.dumps({"at": time.time(), "links": self.top()}))
        draft.rename(self._path)

    def _turn(self) -> Counter[int]:
        """The slot of now; those that are too old go."""
        now = int(self._monotonic()) // SLOT_S
        for _ in range(min(SLOTS, now - self._slot) if self._slots else 1):
            self._slots.append(Counter())
        self._slot = now
        return self._slots[-1]


def read_hot(folder: Path) -> list[tuple[int, int]]:
    """(link, clicks) of all aggregators of a node together."""
    total: Counter[int] = Counter()
    for path in folder.glob("*.json"):
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError):
            continue  # of a former start, removed just now
        if time.time() - found["at"] < STALE_S:
            total.update(dict(found["links"]))
    return total.most_common(SHOWN_MAX)
