"""A bounded cache that a flood of one-time keys cannot empty.

Two generations: a key that is looked up moves into the recent one; when that is full it becomes the older one, and what
was older and was not looked up since is forgotten, all at once. So a look-up costs one dictionary, there is no list to
keep, and a key that comes once in each `size` new ones stays, whatever comes between. Pure.
"""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["Memory"]

K = TypeVar("K")
V = TypeVar("V")


class Memory(Generic[K, V]):
    """Remembers up to 2 * `size` values; None is no value.

    Attributes:
        recent: the younger generation; a hot loop may look here first, and calls `get` when it finds nothing.
    """

    __slots__ = ("_older", "_size", "recent")

    def __init__(self, size: int) -> None:
        self.recent: dict[K, V] = {}
        self._older: dict[K, V] = {}
        self._size = size

    def __len__(self) -> int:
        return len(self.recent) + len(self._older)

    def get(self, key: K) -> V | None:
        """The value of a key, or None."""
        value = self.recent.get(key)
        if value is None:
            value = self._older.pop(key, None)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Remembers a value; may forget the older generation."""
        if len(self.recent) >= self._size:
            self._older = self.recent
            self.recent = {}
        self.recent[key] = value

    def clear(self) -> None:
        """Forgets everything."""
        self.recent = {}
        self._older = {}
