"""A front that listens on a real socket, in a thread of its own; tests talk to it as clients do."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop

from app.front import Listener
from app.sockets import listen
from tests.front.harness import Front

__all__ = [
    "Service",
    "count_marks",
    "on_loopback",
    "read_answer",
    "read_to_end",
    "send_what_is_taken",
    "short_folder",
]

LIMIT_S = 10.0


class Service:
    """Listens on the socket that `make` gives, from `with` to its end; `front` has the links and what was journaled."""

    def __init__(self, make: Callable[[], socket.socket]) -> None:
        self.front = Front()
        self.front.gate.lane.second = 100
        self.front.gate.hosts.prefix(b"s.example")  # a Host is judged once, then known to the fast lane
        self._make = make
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._main()), daemon=True)

    def __enter__(self) -> Service:
        self._thread.start()
        assert self._ready.wait(LIMIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.do(self._end())
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()

    def start(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Begins a coroutine on the service's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Runs a coroutine on the service's loop."""
        return self.start(work).result(LIMIT_S)

    def call(self, work: Callable[[], Any]) -> Any:
        """Runs a function on the service's loop."""

        async def run() -> Any:
            return work()

        return self.do(run())

    def settle(self) -> None:
        """Lets the loop turn a few times: what had been sent to it before is read then."""
        for _ in range(3):
            self.call(lambda: None)

    def unsent_bytes(self) -> int:
        """What the transport of the slowest client keeps."""
        connections = self.front.gate.connections
        size: int = self.call(lambda: max(each.transport.get_write_buffer_size() for each in connections))
        return size

    def tick(self, seconds: int) -> None:
        """Lets that many seconds pass at once, as the gate counts them."""
        self.call(lambda: self.front.gate.tick(1_700_000_000, self.front.gate.lane.second + seconds))

    async def _end(self) -> None:
        self._over.set()

    async def _main(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.front.live_on(self.loop)
        self._over = asyncio.Event()
        self.sock = self._make()
        self.address = self.sock.getsockname()
        self.listener = Listener(self.sock, self.front.gate, self.loop)
        self._ready.set()
        await self._over.wait()
        await self.listener.close()
        for connection in list(self.front.gate.connections):
            connection.transport.close()

    @contextmanager
    def client(self) -> Iterator[socket.socket]:
        """A client's connection."""
        with socket.socket(self.sock.family, socket.SOCK_STREAM) as client:
            client.settimeout(LIMIT_S)
            client.connect(self.address)
            yield client


@contextmanager
def on_loopback() -> Iterator[Service]:
    """A service on a free port."""
    with Service(lambda: listen("127.0.0.1", 0)) as service:
        yield service


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for a unix socket's 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="bl-", dir="/tmp") as name:
        os.chmod(name, 0o700)
        yield Path(name)


def read_answer(client: socket.socket, *, is_head: bool = False) -> bytes:
    """One whole answer with a Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(65536)
        assert more, f"the connection ended after {data!r}"
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    missing = 0 if is_head else int(length.split(b":")[1]) - len(body)
    while missing > 0:
        more = client.recv(missing)
        assert more, f"the connection ended after {data!r}"
        data += more
        missing -= len(more)
    return data


def count_marks(client: socket.socket, mark: bytes, count: int) -> int:
    """Reads until `mark` came `count` times; how often it came by then."""
    seen, rest = 0, b""
    while seen < count:
        more = client.recv(65536)
        assert more, f"the connection ended after {seen} of {count}"
        rest += more
        seen += rest.count(mark)
        rest = rest[rest.rfind(mark) + len(mark) :] if mark in rest else rest[-len(mark) :]
    return seen


def send_what_is_taken(client: socket.socket, data: bytes, whole: int) -> int:
    """Sends `data` over and over until the service takes no more, or `whole` bytes; how many it took."""
    turn = threading.Event()
    sent = refused = 0
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)  # or the client's kernel takes megabytes itself
    client.setblocking(False)
    while sent < whole and refused < 30:  # a service that still reads empties its buffer within so many turns
        try:
            sent += client.send(data[sent % len(data) :] + data * 100)
            refused = 0
        except BlockingIOError:
            refused += 1
            turn.wait(0.01)
    client.settimeout(LIMIT_S)
    return sent


def read_to_end(client: socket.socket) -> bytes:
    """Everything until the service ends the connection."""
    data = b""
    while more := client.recv(65536):
        data += more
    return data
