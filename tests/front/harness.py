"""A connection without a socket: bytes in, answers out."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from app import journal
from app.front import Connection, Gate, TornadoExchange, pack_peer
from app.front.gate import Owner
from app.limits import Scans
from app.observe import Span
from app.redirect import AnswerBook, Hosts, PasswordDesk, Specials, Table, Visitors, Visits
from tests.front.application import make_application

LINK = (7).to_bytes(8, "big")
TARGET = b"https://example.com/target"
HOST = b"Host: s.example\r\n"
#: No link here needs a store.
NO_VISITS: Visits = None  # type: ignore[assignment]
NO_PASSWORDS: PasswordDesk = None  # type: ignore[assignment]
OK = b"GET /abc7 HTTP/1.1\r\n" + HOST + b"\r\n"


class RecordingTransport:
    """Keeps what was written; `taken_max` limits what the socket takes at once, as a full one does."""

    def __init__(self) -> None:
        self.out = b""
        self.is_closed = False
        self.is_paused = False
        self.has_ended = False
        self.protocol: Any = None

    def write(self, data: bytes) -> None:
        if not self.is_closed:
            self.out += bytes(data)

    def write_eof(self) -> None:
        self.has_ended = True

    def close(self) -> None:
        self.is_closed = True

    abort = close

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.7", 5555) if name == "peername" else default


class QueuedResolver:
    """Answers look-ups when told to; on a loop, in its next turn, unless they are held back."""

    def __init__(self) -> None:
        self.waiting: list[tuple[bytes, Callable[[Any], None]]] = []
        self.is_held = False
        self.status = 404
        self.loop: asyncio.AbstractEventLoop | None = None

    def resolve(self, key: bytes, callback: Callable[[Any], None], span: Span) -> None:
        self.waiting.append((key, callback))
        if self.loop is not None:
            self.loop.call_soon(self.answer_all)

    def answer_all(self) -> None:
        if self.is_held:
            return
        waiting, self.waiting = self.waiting, []
        for _, callback in waiting:
            callback(self.status)


class WatchedExchange(TornadoExchange):
    """Says whether its handler runs, so that a test can wait for its answer."""

    @property
    def is_running(self) -> bool:
        return not self._is_over and (self._is_waiting or not self.is_receiving)


@dataclass(frozen=True)
class Outcome:
    """What became of one stream: what was written but for 100s and random ids, whether it ended, what was journaled."""

    out: bytes
    has_ended: bool
    clicks: int
    heads: tuple[bytes, ...]
    exchanges: int = field(compare=False)


CONTINUE = b"HTTP/1.1 100 \r\n\r\n"
#: Ids that refused requests are given are made at random; shown as zeros, the same bytes are answered alike.
MADE_ID = re.compile(rb"(\r\nX-Request-Id: |\"request_id\": \")[0-9a-f]{16}").sub


class CountingGate(Gate):
    """Knows how many connections there ever were."""

    __slots__ = ("admitted",)

    def admit(self, connection: Owner) -> bool:
        self.admitted = getattr(self, "admitted", 0) + 1
        return super().admit(connection)


class Front:
    """One gate with a known link `abc7`, and the connections made on it."""

    def __init__(self) -> None:
        self.exchanges: list[WatchedExchange] = []
        self.soon: list[Callable[[], None]] = []
        self.records: list[tuple[bytes, bytes, int]] = []
        self.resolver = QueuedResolver()
        table = Table(1_000)
        table.put(b"abc7", LINK + bytes(4) + TARGET)
        self.release = asyncio.Event()
        self.state: dict[str, Any] = {}
        application = make_application(self.release, self.state)

        def remote(peer: bytes, headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, str]:
            return "192.0.2.7", "http"

        def make_exchange(owner: Owner) -> TornadoExchange:
            self.exchanges.append(WatchedExchange(owner, self.gate, application, remote))
            return self.exchanges[-1]

        self.gate = CountingGate(
            table=table,
            book=AnswerBook(1_700_000_000),
            hosts=Hosts("s.example"),
            resolver=self.resolver,  # type: ignore[arg-type]
            specials=Specials(table=table, visitors=Visitors(), visits=NO_VISITS, passwords=NO_PASSWORDS),
            scans=Scans(None, lambda: 1_000.0),
            append=self._append,
            make_exchange=make_exchange,
            call_soon=self.soon.append,
            now=lambda: 1_700_000_000.0,
            connections_max=10_000,
        )

    def _append(self, head: bytes, time_ms: int, link: bytes, variant: int, flags: int, peer: bytes) -> bool:
        self.records.append((head, link, flags))
        return True

    def live_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on turns are the loop's."""
        self.gate.call_soon = loop.call_soon
        self.resolver.loop = loop

    def add_link(self, slug: bytes, location: bytes) -> None:
        """A further link that is known."""
        self.gate.table.put(slug, LINK + bytes(4) + location)

    def connect(self, early: bytes = b"") -> tuple[Any, RecordingTransport]:
        """A connection; `early` is what a listener has read before there was a transport."""
        read = (early, b"", False) if early else None
        connection = Connection(self.gate, pack_peer(("192.0.2.7", 5555)), read)
        transport = RecordingTransport()
        connection.connection_made(transport)
        return connection, transport

    def turn(self) -> None:
        """Turns of the loop, until nothing is left to do."""
        while self.soon or self.resolver.waiting:
            self.turn_once()

    def turn_once(self) -> None:
        """One turn of the loop."""
        soon = self.soon[:]
        self.soon.clear()
        for callback in soon:
            callback()
        self.resolver.answer_all()

    async def settle(self) -> None:
        """Turns of the loop, until every answer that can be known is written."""
        while self.soon or (self.resolver.waiting and not self.resolver.is_held) or self._is_running():
            self.turn_once()
            if self._is_running():
                await asyncio.sleep(0)

    def _is_running(self) -> bool:
        return bool(self.exchanges) and any(exchange.is_running for exchange in self.exchanges[-2:])

    async def drive(self, chunks: list[bytes], *, is_late: bool = False, is_early: bool = False) -> Outcome:
        """One connection's whole life; `is_late`: stores answer only when all bytes have come."""
        self.records.clear()
        self.exchanges.clear()
        self.resolver.is_held = is_late
        connection, transport = self.connect(chunks[0] if is_early else b"")
        for chunk in chunks[is_early:]:
            if transport.is_closed:
                break
            connection.data_received(chunk)
            await self.settle()
        self.resolver.is_held = False
        await self.settle()
        has_ended = transport.is_closed or transport.has_ended
        connection.connection_lost(None)
        out = MADE_ID(rb"\g<1>" + b"0" * 16, transport.out.replace(CONTINUE, b""))
        heads = tuple(head for head, _, _ in self.records)
        return Outcome(out, has_ended, self.clicks, heads, len(self.exchanges))

    @property
    def clicks(self) -> int:
        return sum(1 for _, _, flags in self.records if flags >> 1 == journal.Outcome.REDIRECT and not flags & 1)
