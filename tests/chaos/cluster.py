"""A tree that is being hurt: who runs under which pid, and whether each part does its work again.

In: a tree of tests/system. Out: pids of programs by name, and facts that say of a program that it serves, asked where
it serves: a web process on its own socket, engines by their protocols, workers by what they left in MongoDB.
"""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from app.stores import mongodb_url, redis_socket, redis_url
from app.stores.connections import DATABASE_NAME
from app.tree import Tree as Processes
from tests import fetch
from tests.conftest import wait_for
from tests.system.conftest import Tree
from tests.system.test_coherence import settings_of

Fact = Callable[[], bool]

WEB = ("web_0", "web_1")
TARGET = "https://www.rfc-editor.org/rfc/rfc9110.html?link=%d"
ASK_S = 0.5


class Cluster:
    """A tree with two web processes, and the links that visitors ask for."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.links: dict[str, str] = {}
        self._settings = settings_of(tree)
        self._processes = Processes(self._settings)
        self._client = self._connect()

    def close(self) -> None:
        """Ends what asks MongoDB."""
        self._client.close()

    def make_links(self, count: int) -> None:
        """Links that visitors may ask for."""
        targets = [TARGET % number for number in range(count)]
        answer = fetch.post(
            f"{self.tree.url}/api/v1/links/batch",
            json={"links": [{"target": target} for target in targets]},
            headers={"Authorization": f"Bearer {self.tree.key}"},
        )
        assert answer.is_success, answer.text
        slugs = [row["link"]["slug"] for row in answer.json()["results"]]
        self.links = dict(zip(slugs, targets, strict=True))

    def pid(self, name: str) -> int:
        """A program's pid, as soon as it has one."""
        found: list[int] = []

        def runs() -> bool:
            found[:] = [row["pid"] for row in self._processes.processes() or [] if row["name"] == name and row["pid"]]
            return bool(found)

        wait_for(runs)
        return found[0]

    @contextmanager
    def stopped(self, name: str) -> Iterator[None]:
        """SIGSTOP, then SIGCONT, unless another kills it meanwhile."""
        pid = self.pid(name)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def redirects(self, *names: str) -> Fact:
        """Whether these web processes redirect, each asked on its own socket; a HEAD is no click."""
        slug = next(iter(self.links))
        return lambda: all(self._redirects(name, slug) for name in names)

    def redis_answers(self) -> bool:
        """Whether Redis does."""
        return _ask(str(redis_socket(self._settings)), b"PING\r\n").startswith(b"+PONG")

    @property
    def redis_url(self) -> str:
        """Where Redis is."""
        return redis_url(self._settings)

    def mongodb_answers(self) -> bool:
        """Whether MongoDB has a primary that answers; asked by a new client, as an old one looks twice a second."""
        with self._connect() as client, suppress(PyMongoError):
            return bool(client.admin.command("hello")["isWritablePrimary"])
        return False

    def _connect(self) -> MongoClient[dict[str, Any]]:
        return MongoClient(
            mongodb_url(self._settings), serverSelectionTimeoutMS=300, connectTimeoutMS=300, socketTimeoutMS=1_000
        )

    def aggregates(self) -> Fact:
        """Whether statistics reach the moment in which that was first asked."""
        first: list[datetime] = []

        def reaches() -> bool:
            if not first:
                first.append(datetime.now(UTC).replace(tzinfo=None))
            return self._find("checkpoints", {"as_of": {"$gt": first[0]}}) is not None

        return reaches

    def takes_lease(self, name: str) -> Fact:
        """Whether the lease has a new holder since this call, be it the same program's next run."""
        row = wait_for(lambda: self._find("leases", {"_id": name}), limit_s=90.0)
        epoch = 0 if row is None else row["epoch"]
        return lambda: self._find("leases", {"_id": name, "epoch": {"$gt": epoch}}) is not None

    def count(self, what: str) -> int:
        """What the metrics say of all web processes together: clicks journaled, or dropped."""
        found = re.search(rf"^boltlink_clicks_{what}_total (\S+)$", fetch.get(self.tree.metrics_url).text, re.MULTILINE)
        return int(float(found[1])) if found else 0

    def is_whole(self) -> bool:
        """Whether every program runs and every web process wants traffic."""
        rows = self._processes.processes() or [{"pid": 0}]
        return all(row["pid"] for row in rows) and all(self._processes.ready(name)[0] for name in WEB)

    def _find(self, collection: str, query: dict[str, Any]) -> dict[str, Any] | None:
        with suppress(PyMongoError):
            return self._client[DATABASE_NAME][collection].find_one(query)
        return None

    def _redirects(self, name: str, slug: str) -> bool:
        request = b"HEAD /%s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n" % slug.encode()
        return _ask(str(self._processes.run / f"{name}.sock"), request)[9:12] == b"302"


def _ask(path: str, request: bytes) -> bytes:
    """The beginning of an answer on a unix socket; empty when there is none."""
    with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
        connection.settimeout(ASK_S)
        connection.connect(path)
        connection.sendall(request)
        return connection.recv(4096)
    return b""
