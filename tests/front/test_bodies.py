"""Bodies on a real socket: how long they may be, when they are asked for, and what comes behind them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from app.front.bodies import BODIES_BYTES_MAX, BODY_BYTES_MAX, Bodies
from tests.conftest import wait_for
from tests.front.application import BATCH_BYTES_MAX, KEY
from tests.front.harness import CONTINUE, HOST, OK, TARGET
from tests.front.service import Service, on_loopback, read_answer, read_to_end

CHUNKED = b"Transfer-Encoding: chunked\r\n"
EXPECTING = b"Expect: 100-continue\r\n"
WITH_KEY = b"Authorization: " + KEY.encode() + b"\r\n"


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with on_loopback() as service:
        yield service


def post(path: bytes, *fields: bytes) -> bytes:
    return b"POST " + path + b" HTTP/1.1\r\n" + HOST + b"".join(fields) + b"\r\n"


def length(size: int) -> bytes:
    return b"Content-Length: %d\r\n" % size


def chunks(size: int) -> bytes:
    part = b"%x\r\n%s\r\n" % (65_536, b"x" * 65_536)
    whole, rest = divmod(size, 65_536)
    return part * whole + (b"%x\r\n%s\r\n" % (rest, b"x" * rest) if rest else b"") + b"0\r\n\r\n"


@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize(
    ("path", "fields", "size_max"),
    [(b"/api/x", b"", BODY_BYTES_MAX), (b"/abc7", b"", BODY_BYTES_MAX), (b"/api/batch", WITH_KEY, BATCH_BYTES_MAX)],
)
def test_a_body_of_the_limit_is_read_and_one_byte_more_is_not(
    service: Service, path: bytes, fields: bytes, size_max: int, is_chunked: bool
) -> None:
    for size in (size_max, size_max + 1):
        head = post(path, fields, CHUNKED if is_chunked else length(size))
        with service.client() as client:
            client.sendall(head)
            try:
                client.sendall(chunks(size) if is_chunked else b"x" * size)
            except ConnectionError:
                assert size > size_max  # refused, and by now closed
                continue
            answer = read_answer(client)
            if size > size_max:
                assert answer.startswith(b"HTTP/1.1 413 ")
                assert b"\r\nConnection: close\r\n" in answer
            else:
                assert b" 413 " not in answer
                client.sendall(OK)
                assert TARGET in read_answer(client), "the connection goes on"


def test_a_declared_body_that_is_too_long_is_refused_before_it_comes(service: Service) -> None:
    with service.client() as client:
        client.sendall(post(b"/api/x", length(BODY_BYTES_MAX + 1), EXPECTING))
        assert read_to_end(client).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_is_waited_for_is_asked_for(service: Service) -> None:
    for path in (b"/api/x", b"/abc7", b"/nosuch"):
        with service.client() as client:
            client.sendall(post(path, length(5), EXPECTING))
            assert client.recv(1000) == CONTINUE
            client.sendall(b"hello")
            assert read_answer(client).startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 405 ", b"HTTP/1.1 404 "))


def test_a_body_that_came_along_is_not_asked_for(service: Service) -> None:
    with service.client() as client:
        client.sendall(post(b"/api/x", length(5), EXPECTING) + b"hello")
        assert read_answer(client).startswith(b"HTTP/1.1 200 ")


def test_a_body_is_not_asked_for_in_1_0(service: Service) -> None:
    with service.client() as client:
        client.sendall(post(b"/api/x", length(5), EXPECTING).replace(b"HTTP/1.1", b"HTTP/1.0"))
        service.settle()
        client.sendall(b"hello")
        assert read_to_end(client).startswith(b"HTTP/1.1 200 ")


def test_a_long_body_is_asked_for_only_when_the_key_was_checked(service: Service) -> None:
    with service.client() as client:
        client.sendall(post(b"/api/batch", length(BATCH_BYTES_MAX), EXPECTING, b"Authorization: another\r\n"))
        answer = read_to_end(client)
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b"\r\nConnection: close\r\n" in answer, "its body was never read"
    with service.client() as client:
        client.sendall(post(b"/api/batch", length(BATCH_BYTES_MAX), EXPECTING, WITH_KEY))
        assert client.recv(1000) == CONTINUE
        client.sendall(b"x" * BATCH_BYTES_MAX)
        assert read_answer(client).endswith(b"%d bytes" % BATCH_BYTES_MAX)


def test_bodies_that_arrive_for_longest_give_way_to_others(service: Service) -> None:
    bodies, size = service.front.gate.bodies, 100_000

    def holds(held_bytes: int) -> bool:
        return bodies.held_bytes == held_bytes

    service.call(lambda: setattr(bodies, "bytes_max", 2 * size + 10))
    with ExitStack() as clients:
        clients.callback(lambda: setattr(bodies, "bytes_max", BODIES_BYTES_MAX))
        slow = [clients.enter_context(service.client()) for _ in range(3)]
        for client, held_bytes in zip(slow, (size, 2 * size, 2 * size), strict=True):
            client.sendall(post(b"/api/x", length(2 * size)) + b"x" * size)
            wait_for(partial(holds, held_bytes))
        first = read_to_end(slow[0])
        assert first.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: " in first
        quick = clients.enter_context(service.client())
        quick.sendall(post(b"/api/x", length(11)) + b"hello world")
        assert b"POST /api/x 11" in read_answer(quick)
        assert read_to_end(slow[1]).startswith(b"HTTP/1.1 503 ")
        slow[2].sendall(b"x" * size)
        assert b"POST /api/x 200000" in read_answer(slow[2])
        long = clients.enter_context(service.client())
        long.sendall(post(b"/api/x", length(3 * size)) + b"x" * 3 * size)
        assert read_to_end(long).startswith(b"HTTP/1.1 503 ")
        wait_for(partial(holds, 0))


def test_whose_body_has_come_does_not_give_way() -> None:
    class Holder:
        def __init__(self, is_receiving: bool) -> None:
            self.is_receiving = is_receiving

        def give_way(self) -> None:
            raise AssertionError

    answered, old, new = Holder(False), Holder(True), Holder(True)
    bodies = Bodies(100)
    assert bodies.hold(answered, 60) == bodies.hold(old, 30) == bodies.hold(new, 10) == []
    assert bodies.hold(new, 1) == [old]
    assert bodies.hold(new, 30) == [old, new]
    bodies.drop(old)
    bodies.drop(old)
    assert bodies.held_bytes == 101


def test_a_request_behind_a_body_is_answered_next(service: Service) -> None:
    with service.client() as client:
        client.sendall(post(b"/api/x", length(5)) + b"hello" + OK + post(b"/api/y", CHUNKED) + chunks(70_000) + OK)
        client.shutdown(1)
        answers = read_to_end(client)
    seen = [answers.find(mark) for mark in (b"POST /api/x 5", TARGET, b"POST /api/y 70000")]
    assert -1 not in seen
    assert seen == sorted(seen)
    assert answers.count(TARGET) == 2


def test_a_body_that_is_cut_is_refused(service: Service) -> None:
    for framing in (length(5), CHUNKED):
        with service.client() as client:
            client.sendall(post(b"/api/x", framing) + b"3\r\n")
            client.shutdown(1)
            assert read_to_end(client).startswith(b"HTTP/1.1 400 ")


def test_a_handler_that_breaks_while_its_body_comes_is_a_500(service: Service) -> None:
    reported: list[str] = []
    service.call(lambda: service.loop.set_exception_handler(lambda loop, context: reported.append(str(context))))
    with service.client() as client:
        client.sendall(post(b"/api/batch", length(100), WITH_KEY) + b"break")
        answer = read_to_end(client)
    service.call(lambda: service.loop.set_exception_handler(None))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"\r\nConnection: close\r\n" in answer
    assert "it broke" in reported[0], "nobody swallows what broke"
