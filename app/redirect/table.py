"""L1: what this process knows of links, ready to be answered with.

In: links as the resolver read them, and messages that one changed. Out: an entry, or that none is known.
May import: the standard library and `app.links` for what a link is.

    hot      key -> 8 bytes link id + 4 bytes second of reading + Location     the only dictionary of the hot path
    warm     the same; what was in `hot` at the last turn and was not asked for since; a hit moves back to `hot`
    recent   the same; newcomers while the table is full; a second hit moves to `hot`
    special  key -> Special: links that need a look at the clock or the request, or that only say "gone"
    absent   key -> the second until which "unknown" holds
    stale    what was known when the channel fell silent, in parts, the newest first: used only while no store answers

While there is room, newcomers enter `hot`. Then they wait in `recent`, a tenth of the table, for which the others make
room; one that is asked for again changes places with one of `warm`. When `warm` is empty, `hot` becomes `warm`: a turn.
So an entry stays as long as it is asked for once between two turns, or soon after; a hit keeps no books, an eviction is
O(1), and a scan of cold links passes through `recent` and pushes out nobody.
Unknown slugs live in `absent` alone and evict no link. All dictionaries are bounded, links also by bytes.

Keys are canonical: the slug for the default domain, else `domain/slug`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from app.links import CachedLink
from app.redirect.conditions import Branches

__all__ = ["ENTRY_LOCATION", "Entry", "Special", "Table"]

#: Where the Location starts in an entry.
ENTRY_LOCATION = 12
#: Bytes of an entry, its key and the dictionary's slot, beside their text (sys.getsizeof, CPython 3.11).
ENTRY_OVERHEAD_BYTES = 33 + 33 + 104
#: Mean bytes allowed for each link: `BOLTLINK_HOT_LINKS` x this bounds the table's memory.
ENTRY_BYTES_MEAN = 512
#: "Unknown" holds this long, so that a link made on another node works within it even if its message is lost.
ABSENT_S = 2.0
ABSENT_LIMIT = 20_000  # two seconds of a scanner at 10,000/s
STALE_PART = 5_000  # parts of `stale` are joined up to that many links: 0.2 ms


@dataclass(frozen=True, slots=True)
class Special:
    """A link that `hot` cannot hold. `link_id` and `read_s` as in an entry.

    Attributes:
        branches: its rules and variants, ready to choose from; None when it has none.
        is_spent: MongoDB said that its last visit was made.
    """

    link_id: bytes
    read_s: int
    location: bytes
    link: CachedLink
    branches: Branches | None = None
    is_spent: bool = False

    @property
    def reads_traits(self) -> bool:
        """Whether a decision may have to tell people from bots, or one device from another."""
        return self.link.max_visits is not None or (self.branches is not None and self.branches.reads_traits)


Entry = bytes | Special


class Table:
    """Links known to one process, at most `limit` of them and `limit * ENTRY_BYTES_MEAN` bytes."""

    def __init__(self, limit: int) -> None:
        self.hot: dict[bytes, bytes] = {}
        self.evicted = 0
        self._warm: dict[bytes, bytes] = {}
        # Ordered ones, where the oldest goes first: a plain dict finds its first key in O(holes before it).
        self._recent: OrderedDict[bytes, bytes] = OrderedDict()
        self._special: OrderedDict[bytes, Special] = OrderedDict()
        self._absent: OrderedDict[bytes, float] = OrderedDict()
        self._stale: list[dict[bytes, Entry]] = []
        self._surplus = 0  # stale links above the limit; they go as new ones come
        self._due_parts: list[dict[bytes, Entry]] = []
        self._due: list[bytes] = []
        self._limit = limit
        self._main_limit = max(1, limit * 9 // 10)  # of hot and warm together
        self._recent_limit = max(1, limit // 10)
        self._bytes = {"hot": 0, "warm": 0, "recent": 0}
        self._bytes_limit = limit * ENTRY_BYTES_MEAN

    def __len__(self) -> int:
        """Links known, also those that await eviction; absences don't count."""
        return len(self.hot) + len(self._warm) + len(self._recent) + len(self._special)

    @property
    def size_bytes(self) -> int:
        """Estimated bytes of all plain entries."""
        return sum(self._bytes.values())

    def find(self, key: bytes) -> Entry | None:
        """The entry of `key`, which counts as asked for; None when nothing valid is known."""
        entry = self.hot.get(key)
        if entry is not None:
            return entry
        entry = self._warm.pop(key, None)
        if entry is not None:
            self._bytes["warm"] -= _cost(key, entry)
        else:
            entry = self._recent.pop(key, None)
            if entry is None:
                return self._special.get(key)
            self._bytes["recent"] -= _cost(key, entry)
            self._make_room_in_main()
        self._put_hot(key, entry)
        return entry

    def is_absent(self, key: bytes, now_s: float) -> bool:
        """Whether `key` is known to be no link."""
        until = self._absent.get(key)
        return until is not None and now_s < until

    def put(self, key: bytes, entry: Entry) -> None:
        """Takes what a store said of `key`; replaces whatever was known."""
        self._make_room_for(key)
        if self._surplus > 0:
            self._drop_stale()
        if isinstance(entry, Special):
            if len(self._special) >= self._limit:
                self._special.popitem(last=False)
                self.evicted += 1
            self._special[key] = entry
            return
        if self._plain < self._limit and self.size_bytes + _cost(key, entry) <= self._bytes_limit:
            self._put_hot(key, entry)
        else:
            self._put_recent(key, entry)

    def put_absent(self, key: bytes, now_s: float) -> None:
        """Takes a store's word that `key` is no link; the oldest such word goes at the limit."""
        self._make_room_for(key)
        if len(self._absent) >= ABSENT_LIMIT:
            self._absent.popitem(last=False)
        self._absent[key] = now_s + ABSENT_S

    def forget(self, key: bytes) -> bool:
        """`key` changed: nothing known of it holds any more, not even stale. Whether it was a link that was known."""
        is_known = self._special.pop(key, None) is not None
        for name, entries in (("hot", self.hot), ("warm", self._warm), ("recent", self._recent)):
            entry = entries.pop(key, None)
            if entry is not None:
                self._bytes[name] -= _cost(key, entry)
                is_known = True
        self._absent.pop(key, None)
        for part in self._stale:
            if part.pop(key, None) is not None:
                self._surplus -= 1
                if not part:
                    self._stale = [other for other in self._stale if other]
        return is_known

    def _make_room_for(self, key: bytes) -> None:
        """As `forget`; for a newcomer, which most are, at a third of its cost."""
        if (
            key in self.hot
            or key in self._warm
            or key in self._recent
            or key in self._special
            or key in self._absent
            or self._stale
        ):
            self.forget(key)

    def expire_all(self) -> None:
        """Nothing is valid any more: messages may have been missed. What was known is kept as stale.

        Dictionaries change places and none is copied: 100,000 links are expired within a fraction of a millisecond.
        """
        known: list[dict[bytes, Any]] = [self.hot, self._warm, self._recent, self._special]
        self._stale[:0] = [part for part in known if part]
        self.hot, self._warm, self._recent, self._special = {}, {}, OrderedDict(), OrderedDict()
        self._absent = OrderedDict()
        self._bytes = dict.fromkeys(self._bytes, 0)
        self._merge_stale()
        self._surplus = sum(map(len, self._stale)) - self._limit
        self._due_parts, self._due = self._stale[::-1], []

    def find_stale(self, key: bytes) -> Entry | None:
        """What was known of `key` before the last `expire_all`."""
        for part in self._stale:
            entry = part.get(key)
            if entry is not None:
                return entry
        return None

    def lend_stale(self, key: bytes, entry: Entry) -> None:
        """Puts a stale entry back for use until the next `expire_all`, which keeps its time of reading."""
        self.put(key, entry)
        if not self._stale:
            self._stale.append({})
        self._stale[0][key] = entry

    def stale_keys(self, most: int) -> list[bytes]:
        """Of the next `most` keys that were known before a gap, those to read again: which are not known now."""
        if not self._due and self._due_parts:
            self._due = list(self._due_parts.pop())
        due = self._due[-most:]
        del self._due[-most:]
        known = (self.hot, self._warm, self._recent, self._special)
        return [key for key in due if not any(key in entries for entries in known)]

    def fresh_keys(self) -> list[bytes]:
        """Every key that is known now."""
        return [*self.hot, *self._warm, *self._recent, *self._special]

    def _merge_stale(self) -> None:
        """Joins small parts, so that there are few."""
        parts = self._stale
        for index in range(len(parts) - 2, -1, -1):
            if len(parts[index]) + len(parts[index + 1]) <= STALE_PART:
                newer, older = parts[index], parts.pop(index + 1)
                parts[index] = {**newer, **older, **newer}  # the older ones last, where the first ones to go are

    def _drop_stale(self) -> None:
        """Two of the oldest stale links go for one that comes: to free 100,000 at once takes 10 ms."""
        for _ in range(2):
            if self._surplus > 0 and self._stale:
                self._stale[-1].popitem()
                self._surplus -= 1
                if not self._stale[-1]:
                    self._stale.pop()

    @property
    def _plain(self) -> int:
        """Entries that the limit counts."""
        return len(self.hot) + len(self._warm) + len(self._recent)

    def _put_hot(self, key: bytes, entry: bytes) -> None:
        self.hot[key] = entry
        self._bytes["hot"] += _cost(key, entry)

    def _put_recent(self, key: bytes, entry: bytes) -> None:
        self._recent[key] = entry
        self._bytes["recent"] += _cost(key, entry)
        while len(self._recent) > self._recent_limit or self._bytes["recent"] * 10 > self._bytes_limit:
            self._bytes["recent"] -= _cost(*self._recent.popitem(last=False))
            self.evicted += 1
        while self._plain > self._limit or self.size_bytes > self._bytes_limit:
            self._leave_main()
            self.evicted += 1

    def _make_room_in_main(self) -> None:
        """One of `warm` changes places with one of `recent`, where there is no more than their share for it."""
        main_bytes = self._bytes["hot"] + self._bytes["warm"]
        if len(self.hot) + len(self._warm) >= self._main_limit or main_bytes * 10 >= self._bytes_limit * 9:
            self._put_recent(*self._leave_main())

    def _leave_main(self) -> tuple[bytes, bytes]:
        """The entry that goes: of those that were not asked for since the last turn, the one that came last."""
        if not self._warm:
            self._warm, self.hot = self.hot, {}
            self._bytes["warm"], self._bytes["hot"] = self._bytes["hot"], 0
        key, entry = self._warm.popitem()
        self._bytes["warm"] -= _cost(key, entry)
        return key, entry


def _cost(key: bytes, entry: bytes) -> int:
    return len(key) + len(entry) + ENTRY_OVERHEAD_BYTES
