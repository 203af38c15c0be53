"""Behind nginx, which puts the requests of all its clients on few connections: nobody gets another's answer.

Every stream of the corpus is sent by a client of its own, and stays there unread while others ask for links that only
they know. Each must get its own Location, path or 404, whatever the connection behind nginx has carried before.
"""

from __future__ import annotations

import random
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from app.sockets import listen_privately
from tests.conftest import Engines
from tests.front.cases import cases
from tests.front.harness import HOST, TARGET
from tests.front.nginx import Nginx, run_nginx
from tests.front.processes import run_web
from tests.front.service import Service, read_answer, read_to_end, short_folder
from tests.needs import needs

VICTIMS = 4
ASKED_AT_ONCE = 200  # by each of the clients that ask while attacks go on
ATTACKERS_OPEN = 64

pytestmark = needs("nginx")


@pytest.fixture(params=[True, False], ids=["requests buffered", "requests streamed"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Service, Nginx]]:
    with short_folder() as folder, Service(lambda: listen_privately(folder / "front.sock")) as service:
        for number in range(VICTIMS):
            service.front.add_link(*_link(number))
        with run_nginx(folder, folder / "front.sock", buffers_requests=request.param) as nginx:
            yield service, nginx


def _link(number: int) -> tuple[bytes, bytes]:
    return b"of-%d" % number, b"https://only-for-%d.example/" % number


class Victim:
    """A client on one connection that knows what its answers must be."""

    def __init__(self, client: socket.socket, number: int) -> None:
        self._client = client
        self._slug, self._location = _link(number)
        self._asked = 0

    def ask(self) -> None:
        """One request of three kinds; fails when the answer is not the one to it."""
        self._asked += 1
        kind = self._asked % 3
        path = (b"/" + self._slug, b"/api/%s-%d" % (self._slug, self._asked), b"/none-%s" % self._slug)[kind]
        self._client.sendall(b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n")
        answer = read_answer(self._client)
        if kind == 0:
            expected = answer.startswith(b"HTTP/1.1 302 ") and b"\r\nLocation: " + self._location + b"\r\n" in answer
        elif kind == 1:
            expected = answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"\r\n\r\n" + path)
        else:
            expected = answer.startswith(b"HTTP/1.1 404 ")
        assert expected, f"asked for {path!r}, got {answer!r}"


def test_no_stream_changes_the_answer_of_the_next_client(pair: tuple[Service, Nginx]) -> None:
    service, nginx = pair
    with nginx.client() as client:
        victim = Victim(client, 0)
        for start in range(0, len(cases()), ATTACKERS_OPEN):
            with ExitStack() as stack:
                attackers = []
                for case in cases()[start : start + ATTACKERS_OPEN]:
                    attackers.append(attacker := stack.enter_context(nginx.client()))
                    attacker.sendall(case.raw)
                    victim.ask()
                for attacker in attackers:
                    _assert_own_answers(attacker)
        victim.ask()
    shared = service.front.gate.admitted
    assert shared < len(cases()) / 3, f"{shared} connections behind nginx: too few were shared to test anything"


def test_clients_at_once_get_their_own_answers_while_streams_of_all_kinds_pass(pair: tuple[Service, Nginx]) -> None:
    _, nginx = pair
    failures: list[BaseException] = []
    over = threading.Event()

    def attack() -> None:
        rng = random.Random(444)
        while not over.is_set():
            with nginx.client() as attacker:
                attacker.sendall(b"".join(case.raw for case in rng.choices(cases(), k=3)))
                _assert_own_answers(attacker)

    def suffer(number: int) -> None:
        with nginx.client() as client:
            victim = Victim(client, number)
            for _ in range(ASKED_AT_ONCE):
                victim.ask()

    def guarded(work: object, *arguments: object) -> None:
        try:
            work(*arguments)  # type: ignore[operator]
        except BaseException as error:
            failures.append(error)

    victims = [threading.Thread(target=guarded, args=(suffer, number)) for number in range(VICTIMS)]
    attackers = [threading.Thread(target=guarded, args=(attack,)) for _ in range(2)]
    for thread in attackers + victims:
        thread.start()
    for thread in victims:
        thread.join()
    over.set()
    for thread in attackers:
        thread.join()
    assert not failures, failures[0]


def _assert_own_answers(attacker: socket.socket) -> None:
    """Ends one's requests; what came back is about the one link that the corpus knows."""
    try:
        attacker.shutdown(socket.SHUT_WR)
        out = read_to_end(attacker)
    except ConnectionError:  # nginx has thrown it out
        return
    assert set(re.findall(rb"\r\nLocation: ([^\r]*)", out)) <= {TARGET}
    assert b"/api/of-" not in out


def test_of_few_connections_each_process_has_as_many_by_the_sockets_for_a_proxy(engines: Engines) -> None:
    with short_folder() as folder, run_web(engines, 2, BOLTLINK_PROXY_SOCKETS=str(folder)) as web, ExitStack() as stack:
        sockets = [folder / f"web_{number}.sock" for number in range(2)]
        assert [path.stat().st_mode & 0o777 for path in sockets] == [0o660] * 2
        request = b"GET /%b HTTP/1.1\r\n%b\r\n" % (web.make().encode(), HOST)
        nginx = stack.enter_context(run_nginx(folder, *sockets, buffers_requests=True))
        clients = [stack.enter_context(nginx.client()) for _ in range(4)]
        for _ in range(100):
            for client in clients:
                client.sendall(request)
            assert [read_answer(client).split(b" ", 2)[1] for client in clients] == [b"302"] * len(clients)
        shares = [client.get("/health").json()["journal"]["appended"] for client in web.clients]
        assert sum(shares) == 400
        assert max(shares) <= 1.2 * min(shares)
