"""How long the body of a request may be, and how much of all bodies one process holds.

    one   at most `bytes_max`: BODY_BYTES_MAX, unless its handler asks for more; and not much more by its chunks
    all   BODIES_BYTES_MAX, from a body's first byte until its request is answered. When one more part would be too
          much, whose bodies began to arrive first, and still do, give way: a client that sends as fast as it can is
          done in milliseconds, so it is those who hold bodies back

Without the second limit 1,400 connections without a key made two processes grow by 1.7 GB. Pure: who must give way is
returned, not told. May import: request.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Protocol

from app.front.request import RefusedError

__all__ = ["BODIES_BYTES_MAX", "BODY_BYTES_MAX", "Bodies", "Body"]

BODY_BYTES_MAX = 1024 * 1024
BODIES_BYTES_MAX = 128 * 1024 * 1024  # a quarter of what a process may have; sixteen batches of the API
#: What chunked coding may add to a body: 8 bytes for each, which chunks of one byte stay below, and some.
OVERHEAD_BYTES_MAX = 64 * 1024


class Body:
    """One body as it arrives.

    Attributes:
        declared_bytes: as its head says; 0 when it does not.
        raw_bytes, size_bytes: that have come, with their framing and without.
    """

    __slots__ = ("bytes_max", "declared_bytes", "raw_bytes", "size_bytes")

    def __init__(self) -> None:
        self.bytes_max = BODY_BYTES_MAX
        self.declared_bytes = 0
        self.raw_bytes = 0
        self.size_bytes = 0

    def admit(self) -> None:
        """Refuses a body over the limit. Raises RefusedError."""
        if max(self.declared_bytes, self.size_bytes) > self.bytes_max:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    def grow(self, size_bytes: int) -> None:
        """A part has come. Raises RefusedError."""
        self.size_bytes += size_bytes
        self.admit()
        if self.raw_bytes > OVERHEAD_BYTES_MAX + 9 * self.size_bytes:
            raise RefusedError(HTTPStatus.BAD_REQUEST)


class Holder(Protocol):
    """A request whose body is kept; `is_receiving` until all of it has come."""

    is_receiving: bool

    def give_way(self) -> None: ...


class Bodies:
    """The bodies that one process holds.

    Attributes:
        held_bytes: of all of them.
        bytes_max: as BODIES_BYTES_MAX.
    """

    __slots__ = ("_held", "bytes_max", "held_bytes")

    def __init__(self, bytes_max: int = BODIES_BYTES_MAX) -> None:
        self.held_bytes = 0
        self.bytes_max = bytes_max
        self._held: dict[Holder, int] = {}  # whose body began first comes first

    def hold(self, holder: Holder, size_bytes: int) -> list[Holder]:
        """Counts a part in; who must give way now, of whom one may be `holder` itself."""
        self._held[holder] = self._held.get(holder, 0) + size_bytes
        self.held_bytes += size_bytes
        found: list[Holder] = []
        over_bytes = self.held_bytes - self.bytes_max
        for other, other_bytes in self._held.items() if over_bytes > 0 else ():
            if other.is_receiving:
                found.append(other)
                over_bytes -= other_bytes
            if over_bytes <= 0:
                break
        return found

    def drop(self, holder: Holder) -> None:
        """The request is over; nothing happens where none of its body is held."""
        self.held_bytes -= self._held.pop(holder, 0)
