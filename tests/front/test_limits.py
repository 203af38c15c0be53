"""Each limit of a connection, reached by a client on a real socket; the clock is moved by hand."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.front import limits
from app.front.bodies import BODIES_BYTES_MAX, BODY_BYTES_MAX
from app.front.gate import REFUSED_MAX
from app.front.head import FIELDS_MAX, HEAD_BYTES_MAX
from app.main import SPARE_DESCRIPTORS
from app.sockets import listen_privately
from tests.conftest import wait_for
from tests.front.application import STREAM_PART
from tests.front.harness import HOST, OK, TARGET
from tests.front.service import (
    Service,
    count_marks,
    on_loopback,
    read_answer,
    read_to_end,
    send_what_is_taken,
    short_folder,
)

GET = b"GET /abc7 HTTP/1.1\r\n" + HOST
UNKNOWN = b"GET /nosuch HTTP/1.1\r\n" + HOST + b"\r\n"
SMALL = 16 * 1024  # buffers of the kernel, so that a client that does not read is felt soon


@pytest.fixture
def service() -> Iterator[Service]:
    with on_loopback() as service:
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            service.sock.setsockopt(socket.SOL_SOCKET, option, SMALL)
        yield service


@pytest.fixture
def private() -> Iterator[Service]:
    """On a unix socket, where the kernel keeps no silent client to itself."""
    with short_folder() as folder, Service(lambda: listen_privately(folder / "s.sock")) as service:
        yield service


def wait_for_connections(service: Service, count: int = 1) -> None:
    wait_for(lambda: len(service.front.gate.connections) == count)
    service.settle()


def test_a_silent_client_has_five_seconds(private: Service) -> None:
    with private.client() as client:
        wait_for_connections(private)
        private.tick(limits.FIRST_BYTE_S)
        assert private.front.gate.connections
        private.tick(1)
        assert client.recv(1) == b""
    assert private.front.gate.expired == 1


@pytest.mark.parametrize("first", [b"G", b"GET /abc7 HTTP/1.1\r\nX: ", b"POST /api/x HT", b"\x16", GET + b"X: a\r\n b"])
def test_a_head_has_ten_seconds(service: Service, first: bytes) -> None:
    with service.client() as client:
        client.sendall(first)
        wait_for_connections(service)
        if first == b"\x16":  # refused at once
            assert read_to_end(client).startswith(b"HTTP/1.1 400 ")
            return
        service.tick(limits.HEAD_S)
        assert service.front.gate.connections
        service.tick(1)
        assert client.recv(1) == b""
    assert service.front.gate.expired == 1


def test_a_head_that_comes_drop_by_drop_gets_no_more_time(service: Service) -> None:
    with service.client() as client:
        client.sendall(b"GET /abc7")
        wait_for_connections(service)
        for byte in b" HTTP/1.1\r":
            service.tick(1)
            client.sendall(bytes([byte]))
            service.settle()
        assert service.front.gate.connections
        service.tick(1)
        assert client.recv(1) == b""


def test_an_idle_connection_is_kept_for_75_seconds(service: Service) -> None:
    with service.client() as client:
        for _ in range(2):
            client.sendall(OK)
            assert TARGET in read_answer(client)
            service.tick(limits.IDLE_S)
        service.tick(1)
        assert client.recv(1) == b""


def test_a_body_has_thirty_seconds(service: Service) -> None:
    with service.client() as client:
        client.sendall(b"POST /api/x HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhel")
        wait_for_connections(service)
        service.tick(limits.BODY_S)
        assert service.front.gate.connections
        service.tick(1)
        answer = read_to_end(client)
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"\r\nConnection: close\r\n" in answer


@pytest.mark.parametrize("kind", [b"/abc7", b"/%61bc7", b"/api/x", b"/nosuch"])
def test_a_head_has_16_kib(service: Service, kind: bytes) -> None:
    start = b"GET " + kind + b" HTTP/1.1\r\n" + HOST + b"X: "
    fits = start + b"v" * (HEAD_BYTES_MAX - len(start) - 4) + b"\r\n\r\n"
    with service.client() as client:
        client.sendall(OK)  # from here on in the fast lane
        read_answer(client)
        client.sendall(fits)
        assert b" 431 " not in read_answer(client)
        client.sendall(fits.replace(b"X: ", b"XX: "))
        answer = read_to_end(client)
    assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert b"\r\nConnection: close\r\n" in answer


def test_at_most_32_answers_are_waited_for_then_reading_pauses(service: Service) -> None:
    service.front.resolver.is_held = True
    with service.client() as client:
        whole = 8 * 1024 * 1024
        sent = send_what_is_taken(client, UNKNOWN, whole)
        assert sent < whole / 8, "went on reading"
        assert len(service.front.resolver.waiting) == limits.WAITING_MAX
        service.front.resolver.is_held = False
        service.call(service.front.resolver.answer_all)
        asked = sent // len(UNKNOWN)
        assert count_marks(client, b"HTTP/1.1 404 ", asked) == asked


def test_a_client_that_reads_nothing_is_not_read_from(service: Service) -> None:
    with service.client() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        whole = 8 * 1024 * 1024
        sent = send_what_is_taken(client, OK, whole)
        assert sent < whole / 4, "went on reading"
        one_turn = limits.TURN_ANSWERS_MAX * 300
        assert limits.UNSENT_BYTES_MAX <= service.unsent_bytes() <= limits.UNSENT_BYTES_MAX + one_turn
        asked = sent // len(OK)
        assert count_marks(client, TARGET, asked) == asked
    assert len(service.front.records) == asked, "each answer is one record"


def test_long_answers_to_a_client_that_does_not_read_are_not_made(service: Service) -> None:
    service.call(lambda: service.front.add_link(b"long", b"https://example.com/" + b"x" * 8_000))
    with service.client() as client:
        wait_for_connections(service)
        client.sendall((b"GET /long HTTP/1.1\r\n" + HOST + b"\r\n") * limits.TURN_ANSWERS_MAX)
        wait_for(lambda: service.unsent_bytes() > limits.UNSENT_BYTES_MAX)
        assert service.unsent_bytes() < 3 * limits.UNSENT_BYTES_MAX
        count_marks(client, b"HTTP/1.1 302", limits.TURN_ANSWERS_MAX)


def test_a_client_that_reads_nothing_for_a_minute_is_let_go(service: Service) -> None:
    with service.client() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        send_what_is_taken(client, OK, 8 * 1024 * 1024)
        service.tick(limits.UNSENT_S)
        assert service.front.gate.connections
        service.tick(1)
        wait_for(lambda: not service.front.gate.connections)


def test_a_streamed_answer_goes_at_the_pace_of_its_client(service: Service) -> None:
    state = service.front.state
    with service.client() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        client.sendall(b"GET /api/stream?parts=300 HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        wait_for(lambda: service.front.gate.connections and service.unsent_bytes() > limits.UNSENT_BYTES_MAX)
        service.settle()
        assert state.get("parts", 0) * len(STREAM_PART) < 2 * 1024 * 1024
        assert "is_over" not in state
        body = read_to_end(client).partition(b"\r\n\r\n")[2]
    assert body.count(b"x") == 300 * len(STREAM_PART)
    assert state["is_over"]


def test_a_stream_ends_when_its_client_goes(service: Service) -> None:
    state = service.front.state
    with service.client() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        client.sendall(b"GET /api/stream?parts=100000 HTTP/1.1\r\n" + HOST + b"\r\n")
        wait_for(lambda: service.front.gate.connections and service.unsent_bytes() > limits.UNSENT_BYTES_MAX)
    wait_for(lambda: state.get("is_gone"))
    wait_for(lambda: state.get("is_over"))  # also a handler that does not ask is told by its next write
    wait_for(lambda: not service.front.gate.connections)


def test_connections_are_limited_and_those_over_it_are_told(service: Service) -> None:
    service.front.gate.connections_max = 2
    with ExitStack() as stack:
        for number in (1, 2):
            stack.enter_context(service.client()).sendall(OK)
            wait_for_connections(service, number)
        late = stack.enter_context(service.client())
        late.sendall(UNKNOWN)
        answer = read_to_end(late)
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: " in answer
    assert b"\r\nConnection: close\r\n" in answer
    assert service.front.gate.counts.refused_connections == 1


def test_those_over_the_limit_hold_no_descriptor_for_long(service: Service) -> None:
    gate = service.front.gate
    gate.connections_max = 0
    with ExitStack() as stack:
        for number in range(1, REFUSED_MAX + 11):
            client = stack.enter_context(service.client())
            client.sendall(UNKNOWN)
            assert read_to_end(client).startswith(b"HTTP/1.1 503 ")
            assert len(gate.refused) == min(number, REFUSED_MAX)
        service.tick(limits.STATE_LIMIT_S[limits.LINGERING] + 1)
        wait_for(lambda: not gate.refused)


def test_who_is_answered_before_the_limit_is_seen_gets_no_second_answer(service: Service) -> None:
    service.front.gate.connections_max = 0
    with service.client() as client:
        client.sendall(OK)
        answers = read_to_end(client)
    assert answers.count(b"HTTP/1.1 ") == 1
    assert TARGET in answers


def test_an_early_refusal_is_not_lost_while_the_body_still_comes(service: Service) -> None:
    with service.client() as client:
        client.sendall(b"POST /api/x HTTP/1.1\r\n" + HOST + b"Content-Length: 5000000\r\n\r\n" + b"x" * 200_000)
        client.sendall(b"x" * 200_000)
        answer = read_to_end(client)  # a reset would raise
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nConnection: close\r\n" in answer


def test_who_goes_on_sending_after_the_last_answer_is_let_go(service: Service) -> None:
    with service.client() as client:
        client.sendall(b"POST /api/x HTTP/1.1\r\n" + HOST + b"Content-Length: 5000000\r\n\r\n")
        assert read_to_end(client).startswith(b"HTTP/1.1 413 ")
        assert service.front.gate.connections, "waits for the client's end"
        service.tick(limits.STATE_LIMIT_S[limits.LINGERING] + 1)
        wait_for(lambda: not service.front.gate.connections)


def test_while_draining_each_answer_is_the_last(service: Service) -> None:
    with service.client() as client, service.client() as idle:
        for each in (client, idle):
            each.sendall(OK)
            assert b"Connection" not in read_answer(each)
        service.call(service.front.gate.drain)
        client.sendall(OK)
        answer = read_to_end(client)
        assert TARGET in answer
        assert answer.endswith(b"\r\nConnection: close\r\n\r\n")
        service.tick(limits.DRAIN_IDLE_S)
        assert idle.recv(1) == b""


def test_while_draining_a_client_that_has_just_come_may_still_ask(private: Service) -> None:
    with private.client() as client, private.client() as silent:
        wait_for_connections(private, 2)
        private.call(private.front.gate.drain)
        private.tick(1)
        client.sendall(OK)
        assert read_to_end(client).endswith(b"\r\nConnection: close\r\n\r\n")
        private.tick(1)
        assert silent.recv(1) == b""


def test_while_draining_a_request_that_came_is_answered_and_none_is_reset(service: Service) -> None:
    def drain_before_it_is_read(client: socket.socket, data: bytes) -> None:
        client.sendall(data)
        service.front.gate.tick(1_700_000_000, service.front.gate.lane.second + limits.DRAIN_IDLE_S)

    with service.client() as client, service.client() as late:
        for each in (client, late):
            each.sendall(OK)
            read_answer(each)
        service.call(service.front.gate.drain)
        service.call(lambda: drain_before_it_is_read(client, OK))
        assert TARGET in read_to_end(client)
        assert late.recv(1) == b""
        late.sendall(OK)
        service.settle()
        assert late.recv(1) == b"", "no reset"


@pytest.mark.parametrize(
    ("row", "number"),
    [
        ("first byte of a new connection", f"{limits.FIRST_BYTE_S} s"),
        ("a request's head, from its first byte", f"{limits.HEAD_S} s"),
        ("a request's head", f"{HEAD_BYTES_MAX // 1024} KiB"),
        ("fields of a request", str(FIELDS_MAX)),
        ("a request's body, from the end of its head", f"{limits.BODY_S} s"),
        ("a request's body", f"{BODY_BYTES_MAX // 1024**2} MiB"),
        ("bodies that a process holds", f"{BODIES_BYTES_MAX // 1024**2} MiB"),
        ("between two requests", f"{limits.IDLE_S} s"),
        ("answers that wait for a store", str(limits.WAITING_MAX)),
        ("answers in one turn of the loop", str(limits.TURN_ANSWERS_MAX)),
        ("bytes that a client has asked for and does not read", f"{limits.UNSENT_BYTES_MAX // 1024} KiB"),
        ("such a client reads nothing", f"{limits.UNSENT_S} s"),
        ("connections of a process", str(SPARE_DESCRIPTORS)),
        ("connections of a process", f"{REFUSED_MAX} more for 2 s"),
    ],
)
def test_each_limit_stands_in_operations(row: str, number: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    assert re.search(rf"^\| {re.escape(row)} \|[^|]*\b{re.escape(number)}\b", page, re.MULTILINE)
