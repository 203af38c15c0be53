"""Accepting with real sockets: the first request's answer, what a transport takes over, and the end."""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app import sockets
from app.front import listener
from app.sockets import listen, listen_privately
from tests.conftest import wait_for
from tests.front.harness import HOST, TARGET
from tests.front.service import Service, on_loopback, read_answer, read_to_end

GET = b"GET /abc7 HTTP/1.1\r\n" + HOST
PLAIN = GET + b"\r\n"
CLOSING = GET + b"Connection: close\r\n\r\n"


@pytest.fixture(params=["127.0.0.1", "::1", "unix"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    path = tmp_path / "s.sock"
    make = (lambda: listen_privately(path)) if request.param == "unix" else (lambda: listen(request.param, 0))
    with Service(make) as running:
        yield running


def test_one_redirect_that_closes_needs_no_transport(service: Service) -> None:
    with service.client() as client:
        client.sendall(CLOSING)
        answer = read_to_end(client)
    assert answer.startswith(b"HTTP/1.1 302 Found\r\nLocation: " + TARGET + b"\r\n")
    assert answer.endswith(b"Connection: close\r\n\r\n")
    assert not service.front.gate.connections
    assert len(service.front.records) == 1
    if service.sock.family != socket.AF_UNIX:  # there the kernel defers nothing: the bytes come after the accept
        assert service.front.gate.lane.hits == 1


def test_a_connection_that_goes_on_is_answered_again_and_again(service: Service) -> None:
    with service.client() as client:
        for _ in range(5):
            client.sendall(PLAIN)
            assert TARGET in read_answer(client)
        client.sendall(CLOSING)
        assert b"Connection: close" in read_to_end(client)
    assert len(service.front.records) == 6


@pytest.mark.parametrize("cut", [0, 1, 20, len(PLAIN) - 1])
def test_a_head_in_pieces_is_waited_for(service: Service, cut: int) -> None:
    with service.client() as client:
        if cut:
            client.sendall(PLAIN[:cut])
        wait_for(lambda: bool(service.front.gate.connections) or cut == 0)
        client.sendall(PLAIN[cut:])
        assert TARGET in read_answer(client)


def test_several_requests_at_once_are_answered_in_order(service: Service) -> None:
    with service.client() as client:
        client.sendall(PLAIN * 3 + GET + b"X: 1\r\nConnection: close\r\n\r\n")
        assert read_to_end(client).count(b"HTTP/1.1 302 Found") == 4


def test_a_request_for_the_application_reaches_it(service: Service) -> None:
    with service.client() as client:
        client.sendall(b"GET /api/v1/x HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        assert b"X-Seen: GET /api/v1/x 0" in read_to_end(client)


def test_a_client_that_goes_at_once_leaves_nothing(service: Service) -> None:
    for _ in range(50):
        with service.client() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, not an end
    with service.client() as client:
        client.sendall(CLOSING)
        assert TARGET in read_to_end(client)
    wait_for(lambda: not service.front.gate.connections)


def test_the_peer_is_known_to_the_journal() -> None:
    peers: list[bytes] = []
    with on_loopback() as service:

        def append(*record: Any) -> bool:
            peers.append(record[5])
            return True

        service.front.gate.lane.append = append
        for request in (PLAIN, CLOSING):
            with service.client() as client:
                client.sendall(request)
                read_answer(client)
    assert peers == [b"\0" * 10 + b"\xff\xff\x7f\0\0\1"] * 2


def test_without_descriptors_accepting_pauses_and_goes_on() -> None:
    with on_loopback() as service:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with service.client() as client:
            used = max(int(name) for name in os.listdir("/proc/self/fd"))
            fillers = []
            resource.setrlimit(resource.RLIMIT_NOFILE, (used + 8, hard))
            try:
                while True:
                    fillers.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                pass
            try:
                client.sendall(CLOSING)
                wait_for(lambda: service.front.gate.counts.refused_connections > 0)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                for descriptor in fillers:
                    os.close(descriptor)
            assert TARGET in read_to_end(client)


def test_the_end_answers_what_was_queued_before_it() -> None:
    with on_loopback() as service:
        clients = []
        for _ in range(20):
            client = socket.create_connection(service.address, 5)
            client.sendall(CLOSING)
            clients.append(client)
        service.do(service.listener.close())
        for client in clients:
            assert TARGET in read_to_end(client)
            client.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(service.address, 5)


def test_who_comes_at_the_end_is_not_reset_and_finds_a_sibling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel moves no queue: a client that comes between the last look and the close is answered later."""
    monkeypatch.setattr(sockets, "MIGRATE", Path("/dev/null"))
    monkeypatch.setattr(listener, "HANDOVER_S", 0.3)
    with on_loopback() as service, socket.socket() as sibling, ThreadPoolExecutor(16) as pool:
        ending = service.start(service.listener.close())
        time.sleep(0.1)  # the end has begun; nobody else listens yet
        newcomers = [pool.submit(socket.create_connection, service.address, 5) for _ in range(16)]
        time.sleep(0.1)
        assert not any(newcomer.done() for newcomer in newcomers)
        sibling.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sibling.bind(service.address)
        sibling.listen(64)
        ending.result(5)
        for newcomer in newcomers:
            newcomer.result(5).close()
