"""What a connection does beside answering: ends, half-closed clients, time, and what it keeps in memory."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from app.front import Connection, limits
from app.front.exchange import EVENTS_MAX
from app.front.head import HEAD_BYTES_MAX
from tests.front.harness import HOST, OK, Front, RecordingTransport

ODD = b"GET /%61bc7 HTTP/1.1\r\n" + HOST + b"\r\n"
POST = b"POST /api/x HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\n"
UNKNOWN = b"GET /nosuch HTTP/1.1\r\n" + HOST + b"\r\n"


@pytest.fixture
def front() -> Front:
    return Front()


def statuses(transport: RecordingTransport) -> list[int]:
    """Of answers without a body that looks like one."""
    return [int(part[:3]) for part in transport.out.split(b"HTTP/1.1 ")[1:]]


def is_closed(transport: RecordingTransport) -> bool:
    """A call, so that no type checker takes it for a constant."""
    return transport.is_closed


def test_half_closed_client_gets_every_answer_it_asked_for(front: Front) -> None:
    connection, transport = front.connect()
    connection.data_received(UNKNOWN + ODD + OK)
    assert connection.eof_received()  # keeps the connection for what is waited for
    front.turn()
    assert statuses(transport) == [404, 302, 302]
    assert is_closed(transport)


def test_half_closed_client_gets_the_answers_of_later_turns(front: Front) -> None:
    connection, transport = front.connect()
    connection.data_received(OK * (limits.TURN_ANSWERS_MAX + 6) + b"GET /cut")
    assert statuses(transport) == [302] * limits.TURN_ANSWERS_MAX
    assert connection.eof_received()
    front.turn()
    assert statuses(transport) == [302] * (limits.TURN_ANSWERS_MAX + 6)
    assert is_closed(transport)


def test_a_cut_head_ends_with_its_client(front: Front) -> None:
    connection, transport = front.connect()
    connection.data_received(b"GET /abc7 HTT")
    assert not connection.eof_received()  # asyncio then closes the transport
    assert transport.out == b""


def test_what_follows_a_last_request_is_not_looked_up(front: Front) -> None:
    connection, transport = front.connect()
    connection.data_received(UNKNOWN[:-2] + b"Connection: close\r\n\r\n" + UNKNOWN * 3)
    assert len(front.resolver.waiting) == 1
    front.turn()
    assert statuses(transport) == [404]
    assert transport.has_ended, "sends the end"
    assert not is_closed(transport), "reads on, so that no reset takes the answer away"


@pytest.mark.parametrize("first", [b"P", b"GET /%", b"GET /ab"])
def test_a_head_has_ten_seconds_whoever_judges_it(front: Front, first: bytes) -> None:
    connection, transport = front.connect()
    connection.data_received(first)
    front.gate.tick(0, limits.HEAD_S)
    assert not is_closed(transport)
    front.gate.tick(0, limits.HEAD_S + 1)
    assert is_closed(transport)
    assert front.gate.expired == 1


def test_a_head_that_turns_odd_gets_no_second_ten_seconds(front: Front) -> None:
    connection, transport = front.connect()
    connection.data_received(b"GET /abc7 HTTP/1.1\r\nX: ")
    front.gate.tick(0, limits.HEAD_S)
    connection.data_received(b"a\n b")  # from here on h11 judges it
    front.gate.tick(0, limits.HEAD_S + 1)
    assert is_closed(transport)


def test_a_client_that_keeps_asking_is_not_slow(front: Front) -> None:
    connection, transport = front.connect()
    for second in range(0, 60, 6):
        front.gate.tick(0, second)
        connection.data_received(OK[20:] + OK[:20] if second else OK + OK[:20])
    assert statuses(transport) == [302] * 10
    assert not is_closed(transport)


def test_a_body_has_thirty_seconds_from_the_end_of_its_head(front: Front) -> None:
    connection, transport = front.connect()
    connection.data_received(b"POST /api/x HTTP/1.1\r\n")
    front.gate.tick(0, 9)
    connection.data_received(HOST + b"Content-Length: 5\r\n\r\nhel")
    front.gate.tick(0, 9 + limits.BODY_S)
    assert transport.out == b""
    front.gate.tick(0, 10 + limits.BODY_S)
    assert statuses(transport) == [408]
    assert b"Connection: close\r\n" in transport.out
    assert transport.has_ended


@pytest.mark.parametrize("size", [HEAD_BYTES_MAX, HEAD_BYTES_MAX + 1])
@pytest.mark.parametrize("path", [b"/abc7", b"/%61bc7", b"/nosuch"])
@pytest.mark.parametrize("step", [1, 1000, 100_000])
def test_a_head_is_too_long_however_it_is_cut(front: Front, size: int, path: bytes, step: int) -> None:
    connection, transport = front.connect()
    connection.data_received(OK)  # the Host is known from here on
    raw = b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"X: "
    raw += b"a" * (size - len(raw) - 4) + b"\r\n\r\n"
    for start in range(0, size, step):
        connection.data_received(raw[start : start + step])
    front.turn()
    expected = 431 if size > HEAD_BYTES_MAX else 404 if path == b"/nosuch" else 302
    assert statuses(transport)[1:] == [expected]
    assert transport.has_ended == (expected == 431)


def test_what_comes_behind_a_running_handler_is_bounded(front: Front) -> None:
    async def scenario() -> tuple[bool, bool, int]:
        connection, transport = front.connect()
        connection.data_received(b"GET /api/slow HTTP/1.1\r\n" + HOST + b"\r\n")
        while not transport.is_paused:
            connection.data_received(OK * 100)
        paused = transport.is_paused
        front.release.set()
        while b"/api/slow" not in transport.out or front.soon:
            front.turn()
            await asyncio.sleep(0)
        return paused, transport.is_paused, statuses(transport).count(302)

    was_paused, is_paused, answered = asyncio.run(scenario())
    assert was_paused
    assert not is_paused
    assert answered * len(OK) > limits.BUFFER_BYTES_MAX


def test_chunks_of_one_byte_do_not_hold_up_other_connections(front: Front) -> None:
    async def scenario() -> tuple[int, Any]:
        connection, transport = front.connect()
        count = 5_000
        head = b"POST /api/x HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
        connection.data_received(head + b"1\r\nx\r\n" * count + b"0\r\n\r\n")
        turns = 0
        while not transport.out:
            turns += bool(front.soon)
            front.turn_once()
            await asyncio.sleep(0)
        return turns, transport.out

    turns, out = asyncio.run(scenario())
    assert turns > 10
    assert b"X-Seen: POST /api/x 5000" in out


def test_long_answers_end_a_turn_sooner(front: Front) -> None:
    front.add_link(b"long", b"https://example.com/" + b"x" * 8_000)
    connection, transport = front.connect()
    connection.data_received((b"GET /long HTTP/1.1\r\n" + HOST + b"\r\n") * 20)
    assert limits.UNSENT_BYTES_MAX < len(transport.out) < limits.UNSENT_BYTES_MAX + 10_000
    front.turn()
    assert statuses(transport) == [302] * 20


class FullTransport(RecordingTransport):
    """Takes UNSENT_BYTES_MAX and then says that it is full, until it is emptied."""

    def write(self, data: bytes) -> None:
        super().write(data)
        if len(self.out) >= limits.UNSENT_BYTES_MAX:
            self.protocol.pause_writing()


def test_answers_that_were_waited_for_are_not_made_for_a_client_that_does_not_read(front: Front) -> None:
    front.resolver.status = (7).to_bytes(8, "big") + bytes(4) + b"https://example.com/" + b"x" * 8_000  # type: ignore[assignment]
    connection = Connection(front.gate, bytes(16))
    transport = FullTransport()
    transport.protocol = connection
    connection.connection_made(transport)
    connection.data_received(UNKNOWN * limits.WAITING_MAX)
    front.turn()
    answered = 0
    while answered < limits.WAITING_MAX:
        assert 0 < len(transport.out) < limits.UNSENT_BYTES_MAX + limits.SETTLED_MAX * 9_000
        answered += transport.out.count(b"HTTP/1.1 302")
        assert len(front.records) == answered
        transport.out = b""
        connection.resume_writing()
        front.turn()


@pytest.mark.parametrize("method", [b"POST", b"PUT"])
def test_a_connection_is_read_on_after_a_body_that_came_faster_than_it_was_taken(front: Front, method: bytes) -> None:
    connection, transport = front.connect()
    size = limits.BUFFER_BYTES_MAX * 2
    body = b"1\r\nx\r\n" * EVENTS_MAX + b"%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n"
    connection.data_received(method + b" /abc7 HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + body)
    assert transport.is_paused
    front.turn()
    assert statuses(transport) == [405]
    assert not transport.is_paused


def test_chunk_extensions_cannot_outweigh_the_body(front: Front) -> None:
    connection, transport = front.connect()
    connection.data_received(b"POST /api/x HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(100):
        connection.data_received(b"1;" + b"e" * 10_000 + b"\r\nx\r\n")
    assert statuses(transport) == [400]
    assert transport.has_ended


@pytest.mark.parametrize(
    "chunks",
    [
        [POST + b"hello"],
        [POST + b"he"],
        [POST.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"2\r\nhe\r\nno length"],
    ],
    ids=["answered", "left", "refused"],
)
def test_a_body_is_let_go_with_its_request_and_waits_for_no_collector(front: Front, chunks: list[bytes]) -> None:
    async def scenario() -> list[object]:
        await front.drive(chunks)
        made = [weakref.ref(exchange) for exchange in front.exchanges]
        assert made
        front.exchanges.clear()
        await asyncio.sleep(0)  # a handler's task ends a turn after its answer
        return [exchange for ref in made if (exchange := ref()) is not None]

    gc.disable()
    try:
        assert asyncio.run(scenario()) == []
    finally:
        gc.enable()
