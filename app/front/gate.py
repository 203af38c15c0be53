"""What all connections of one process share, and the contracts between them and what they call.

In: settings and the rooms below, from `app.main`. Out: one `Gate` for every connection. The gate holds no socket.
May import: redirect, settings; no Tornado.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

from app.front.bodies import Bodies
from app.front.head import Careful
from app.front.lane import Lane
from app.journal import Outcome
from app.limits import Scans
from app.redirect import AnswerBook, Hosts, Resolver, Specials, Table
from app.settings import RESERVED_SEGMENTS

__all__ = ["Exchange", "Gate", "Owner", "Transport", "pack_peer"]

REFUSED_MAX = 64  # of the descriptors that `app.main` keeps spare
_RESERVED = frozenset(segment.encode() for segment in RESERVED_SEGMENTS)
_SLUG_BYTES_MAX = 64
_SLUG_BYTES = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


class Transport(Protocol):
    """The part of `asyncio.Transport` that the front uses."""

    def write(self, data: bytes) -> None: ...
    def write_eof(self) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def get_write_buffer_size(self) -> int: ...
    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def get_extra_info(self, name: str, default: Any = None) -> Any: ...


class Exchange(Protocol):
    """One request that h11 frames; see `app.front.exchange`."""

    since: int

    @property
    def held_bytes(self) -> int: ...
    def feed(self, data: bytes) -> None: ...
    def expire(self, second: int) -> None: ...
    def on_end(self) -> None: ...
    def on_lost(self) -> None: ...
    def on_writable(self) -> None: ...


class Owner(Protocol):
    """What an exchange and a slot know of their connection."""

    transport: Any
    peer: bytes
    stalled: bool

    def exchange_done(self, rest: bytes, close: bool) -> None: ...
    def answer_slug(self, head: bytes, found: Careful, rest: bytes) -> None: ...
    def settle(self) -> None: ...
    def update_reading(self) -> None: ...
    def expire(self, second: int) -> None: ...


@dataclass(slots=True)
class FrontCounts:
    """Counts of one process since its start; plain ints, published once a second."""

    redirects: int = 0
    not_found: int = 0
    gone: int = 0
    unavailable: int = 0
    password: int = 0
    limited: int = 0
    refused_connections: int = 0

    def count(self, outcome: Outcome) -> None:
        """One answer that is no redirect."""
        name = outcome.name.lower()
        setattr(self, name, getattr(self, name) + 1)


class Gate:
    """The shared state of a process's connections.

    Attributes:
        bodies: what is held of requests' bodies.
        lane: what the fast lane needs; its `hits` come on top of `counts.redirects`.
        warm_hits: other answers that L1 knew.
        expired: connections ended by a time-out.
        refused: connections over the limit whose clients still read why.
    """

    __slots__ = (
        "append",
        "bodies",
        "book",
        "call_soon",
        "connections",
        "connections_max",
        "counts",
        "draining",
        "expired",
        "hosts",
        "lane",
        "make_exchange",
        "now",
        "refused",
        "resolver",
        "scans",
        "specials",
        "table",
        "warm_hits",
    )

    def __init__(
        self,
        *,
        table: Table,
        book: AnswerBook,
        hosts: Hosts,
        resolver: Resolver,
        specials: Specials,
        scans: Scans,
        append: Callable[[bytes, int, bytes, int, int, bytes], bool],
        make_exchange: Callable[[Owner], Exchange],
        call_soon: Callable[..., Any],
        now: Callable[[], float],
        connections_max: int,
    ) -> None:
        self.table = table
        self.book = book
        self.hosts = hosts
        self.resolver = resolver
        self.specials = specials
        self.scans = scans
        self.append = append
        self.bodies = Bodies()
        self.lane = Lane(table=table, prefixes=hosts.prefixes, append=append)
        self.make_exchange = make_exchange
        self.call_soon = call_soon
        self.now = now
        self.connections_max = connections_max
        self.connections: set[Owner] = set()
        self.refused: set[Owner] = set()
        self.counts = FrontCounts()
        self.warm_hits = 0
        self.expired = 0
        self.draining = False
        self._fit_lane()

    def admit(self, connection: Owner) -> bool:
        """Counts a connection in; False when this process has as many as it may."""
        if len(self.connections) >= self.connections_max:
            self.counts.refused_connections += 1
            return False
        self.connections.add(connection)
        return True

    def let_linger(self, connection: Owner) -> bool:
        """Whether one that was not admitted may stay until its client has read why; else it is closed at once."""
        if len(self.refused) >= REFUSED_MAX:
            return False
        self.refused.add(connection)
        return True

    def overloaded(self, head: bytes) -> bytes:
        """The answer to a connection that was not admitted; `head` is what it has sent."""
        is_head = head.startswith(b"HEAD ")
        return self.book.failure(HTTPStatus.SERVICE_UNAVAILABLE, head, is_head=is_head, close=True)

    def is_ours(self, path: bytes) -> bool:
        """Whether the front answers a path; the root and reserved first segments belong to the application."""
        return path != b"/" and path[1:].partition(b"/")[0].lower() not in _RESERVED

    def key_of(self, found: Careful) -> tuple[bytes | None, bytes]:
        """The key of a judged head, if it has a slug and its host is one of ours; and the rest of its path."""
        slug, slash, rest = found.path[1:].partition(b"/")
        if not 0 < len(slug) <= _SLUG_BYTES_MAX or not _SLUG_BYTES.issuperset(slug):
            return None, b""
        prefix = self.hosts.prefix(found.host)
        return None if prefix is None else prefix + slug, slash + rest

    def tick(self, now_s: float, second: int) -> None:
        """Once a second: the Date, the time-outs, and the end of idle connections while draining."""
        self.book.refresh(now_s)
        self._fit_lane()
        self.lane.second = second
        for connection in [*self.connections, *self.refused]:
            connection.expire(second)

    def drain(self) -> None:
        """From now on every answer ends its connection; the hot path, which would not say so, is closed."""
        self.draining = True
        self.lane.prefixes = {}
        for connection in list(self.connections):
            connection.expire(self.lane.second)

    def _fit_lane(self) -> None:
        self.lane.suffix = self.book.suffix
        self.lane.suffix_close = self.book.suffix_close


def pack_peer(address: Any) -> bytes:
    """A peer's address in 16 bytes, IPv4 as ::ffff:a.b.c.d; zeros for a unix socket."""
    if not isinstance(address, tuple):
        return bytes(16)
    text = address[0].partition("%")[0]
    if ":" in text:
        return socket.inet_pton(socket.AF_INET6, text)
    return b"\0\0\0\0\0\0\0\0\0\0\xff\xff" + socket.inet_aton(text)
