"""A connection without a socket: bytes in, answers out, and what h11 says of the same bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import h11
from tornado import web

from app.front import Connection, Gate, TornadoExchange, pack_peer
from app.front.gate import Owner
from app.journal import Outcome
from app.redirect import AnswerBook, Hosts, Table

LINK = (7).to_bytes(8, "big")
TARGET = b"https://example.com/target"
HOST = b"Host: s.example\r\n"
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
    """Answers look-ups when told to, in the order that the test wants."""

    def __init__(self) -> None:
        self.waiting: list[tuple[bytes, Callable[[Any], None]]] = []

    def resolve(self, key: bytes, callback: Callable[[Any], None]) -> None:
        self.waiting.append((key, callback))

    def answer_all(self, status: int = 404) -> None:
        waiting, self.waiting = self.waiting, []
        for _, callback in waiting:
            callback(status)


class EchoHandler(web.RequestHandler):
    """Says what reached the application."""

    def prepare(self) -> None:
        self.set_header("X-Seen", f"{self.request.method} {self.request.uri} {len(self.request.body)}")

    def get(self) -> None:
        self.write(self.request.path)

    post = put = delete = patch = options = head = get


class SlowHandler(web.RequestHandler):
    """Answers when the test lets it."""

    async def get(self) -> None:
        await self.settings["release"].wait()
        self.write(self.request.path)


class Front:
    """One gate with a known link `abc7`, and the connections made on it."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []
        self.records: list[tuple[bytes, bytes, int]] = []
        self.resolver = QueuedResolver()
        table = Table(1_000)
        table.put(b"abc7", LINK + bytes(4) + TARGET)
        self.release = asyncio.Event()
        handlers = [(r"/api/slow", SlowHandler), (r".*", EchoHandler)]
        application = web.Application(handlers, log_function=lambda handler: None, release=self.release)

        def remote(peer: bytes, headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, str]:
            return "192.0.2.7", "http"

        def make_exchange(owner: Owner) -> TornadoExchange:
            return TornadoExchange(owner, self.gate, application, remote)

        self.gate = Gate(
            table=table,
            book=AnswerBook(1_700_000_000),
            hosts=Hosts("s.example"),
            resolver=self.resolver,  # type: ignore[arg-type]
            append=self._append,
            make_exchange=make_exchange,
            call_soon=self.soon.append,
            now=lambda: 1_700_000_000.0,
            connections_max=10_000,
        )

    def _append(self, head: bytes, time_ms: int, link: bytes, variant: int, flags: int, peer: bytes) -> bool:
        self.records.append((head, link, flags))
        return True

    def connect(self) -> tuple[Any, RecordingTransport]:
        connection = Connection(self.gate, pack_peer(("192.0.2.7", 5555)))
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

    def feed(self, chunks: Iterable[bytes]) -> RecordingTransport:
        """One connection's whole life."""
        connection, transport = self.connect()
        for chunk in chunks:
            if transport.is_closed:
                break
            connection.data_received(chunk)
            self.turn()
        connection.connection_lost(None)
        return transport

    @property
    def clicks(self) -> int:
        return sum(1 for _, _, flags in self.records if flags >> 1 == Outcome.REDIRECT and not flags & 1)


def answers(out: bytes, methods: Iterable[bytes]) -> list[int]:
    """The statuses of a stream of answers, as h11's client reads it; raises when it is no valid stream."""
    statuses: list[int] = []
    methods = list(methods)
    rest = out
    while rest:
        client = h11.Connection(h11.CLIENT)
        method = methods[len(statuses)] if len(statuses) < len(methods) else b"GET"
        client.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        client.send(h11.EndOfMessage())
        client.receive_data(rest)
        while True:
            event = client.next_event()
            if isinstance(event, h11.Response):
                statuses.append(event.status_code)
            elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
                break
            elif event is h11.NEED_DATA:
                client.receive_data(b"")
        trailing, _ = client.trailing_data
        rest = bytes(trailing)
    return statuses


class Expected:
    """What h11 makes of a client's bytes: whole requests in order, and how it ends."""

    def __init__(self, raw: bytes) -> None:
        self.requests: list[tuple[bytes, bytes, bool]] = []
        self.end = "more"
        server = h11.Connection(h11.SERVER, max_incomplete_event_size=16 * 1024)
        if not raw:
            return  # to h11 no bytes mean the end of the stream
        server.receive_data(raw)
        current: tuple[bytes, bytes] | None = None
        has_body = False
        while True:
            try:
                event = server.next_event()
            except h11.RemoteProtocolError:
                self.end = "error"
                return
            if event is h11.NEED_DATA:
                return
            if event is h11.PAUSED:
                self.end = "close"
                return
            if isinstance(event, h11.Request):
                current, has_body = (event.method, event.target), False
            elif isinstance(event, h11.Data):
                has_body = True
            elif isinstance(event, h11.EndOfMessage):
                assert current is not None
                self.requests.append((*current, has_body))
                server.send(h11.Response(status_code=404, headers=[("content-length", "0")]))
                server.send(h11.EndOfMessage())
                if server.our_state is h11.MUST_CLOSE or server.their_state is h11.MUST_CLOSE:
                    self.end = "close"
                    return
                server.start_next_cycle()
