"""Ways to choose what a full table forgets, as one would write them; what `app.redirect.Table` is compared with.

Each has `get(key)`, None for a miss, and `put(key, entry)` after one, and holds `limit` entries. May import: the
standard library, redirect.
"""

from __future__ import annotations

import random
from collections import OrderedDict, deque

from app.redirect import Table

__all__ = ["POLICIES", "Clock", "Fifo", "Generations", "Lru", "Random", "S3Fifo"]


class Generations:
    """The table as shipped: a hit in `hot` is one look-up in a dictionary, as the fast lane makes it."""

    def __init__(self, limit: int) -> None:
        self.table = Table(limit)
        self.put = self.table.put

    def get(self, key: bytes) -> object:
        return self.table.hot.get(key) or self.table.find(key)


class Fifo:
    """The oldest goes; a hit keeps no books."""

    def __init__(self, limit: int) -> None:
        self.entries: OrderedDict[bytes, bytes] = OrderedDict()
        self.limit = limit
        self.get = self.entries.get

    def put(self, key: bytes, entry: bytes) -> None:
        if len(self.entries) >= self.limit:
            self.entries.popitem(last=False)
        self.entries[key] = entry


class Lru:
    """The one that was not asked for the longest goes; each hit moves its entry."""

    def __init__(self, limit: int) -> None:
        self.entries: OrderedDict[bytes, bytes] = OrderedDict()
        self.limit = limit

    def get(self, key: bytes) -> object:
        entry = self.entries.get(key)
        if entry is not None:
            self.entries.move_to_end(key)
        return entry

    def put(self, key: bytes, entry: bytes) -> None:
        if len(self.entries) >= self.limit:
            self.entries.popitem(last=False)
        self.entries[key] = entry


class Random:
    """Any one goes."""

    def __init__(self, limit: int) -> None:
        self.entries: dict[bytes, bytes] = {}
        self.keys: list[bytes] = []
        self.limit = limit
        self.get = self.entries.get
        self.rng = random.Random(1)

    def put(self, key: bytes, entry: bytes) -> None:
        if len(self.keys) >= self.limit:
            at = int(self.rng.random() * self.limit)
            del self.entries[self.keys[at]]
            self.keys[at] = key
        else:
            self.keys.append(key)
        self.entries[key] = entry


class Clock:
    """FIFO with reinsertion: the oldest goes unless it was hit since; each hit sets a bit."""

    def __init__(self, limit: int) -> None:
        self.entries: dict[bytes, list[object]] = {}
        self.queue: deque[bytes] = deque()
        self.limit = limit

    def get(self, key: bytes) -> object:
        cell = self.entries.get(key)
        if cell is None:
            return None
        cell[1] = True
        return cell[0]

    def put(self, key: bytes, entry: bytes) -> None:
        while len(self.queue) >= self.limit:
            oldest = self.queue.popleft()
            cell = self.entries[oldest]
            if cell[1]:
                cell[1] = False
                self.queue.append(oldest)
            else:
                del self.entries[oldest]
        self.entries[key] = [entry, False]
        self.queue.append(key)


class S3Fifo:
    """Yang and others, SOSP 2023: a small queue for newcomers, a main one, the names of those that left the small."""

    def __init__(self, limit: int) -> None:
        self.entries: dict[bytes, list[object]] = {}
        self.small: deque[bytes] = deque()
        self.main: deque[bytes] = deque()
        self.ghosts: OrderedDict[bytes, None] = OrderedDict()
        self.small_limit, self.main_limit = limit // 10, limit - limit // 10

    def get(self, key: bytes) -> object:
        cell = self.entries.get(key)
        if cell is None:
            return None
        if cell[1] < 3:  # type: ignore[operator]
            cell[1] += 1  # type: ignore[operator]
        return cell[0]

    def put(self, key: bytes, entry: bytes) -> None:
        self.entries[key] = [entry, 0]
        if key in self.ghosts:
            del self.ghosts[key]
            self._put_main(key)
        else:
            self.small.append(key)
            while len(self.small) > self.small_limit:
                self._leave_small()

    def _leave_small(self) -> None:
        oldest = self.small.popleft()
        if self.entries[oldest][1]:
            self._put_main(oldest)
            return
        del self.entries[oldest]
        self.ghosts[oldest] = None
        if len(self.ghosts) > self.main_limit:
            self.ghosts.popitem(last=False)

    def _put_main(self, key: bytes) -> None:
        self.main.append(key)
        while len(self.main) > self.main_limit:
            oldest = self.main.popleft()
            cell = self.entries[oldest]
            if cell[1]:
                cell[1] -= 1  # type: ignore[operator]
                self.main.append(oldest)
            else:
                del self.entries[oldest]


POLICIES = {
    "generations (as shipped)": Generations,
    "FIFO": Fifo,
    "random": Random,
    "LRU": Lru,
    "CLOCK": Clock,
    "S3-FIFO": S3Fifo,
}
