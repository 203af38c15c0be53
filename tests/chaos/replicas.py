"""Three mongods that elect their primary, and what can happen to one of them.

In: a folder. Out: a replica set on loopback, from `etc/mongod` as it is, with users; its URL for BoltLink's user, who
may no more than `users.js` says; and faults that hit whoever is the primary.
"""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from app.settings import Settings
from app.stores.embedded import find_engine
from tests.chaos.cluster import Cluster, Fact
from tests.chaos.faults import LONG_S, Fault
from tests.conftest import wait_for
from tests.system.conftest import free_ports

MEMBERS = 3
STEP_DOWN_S = 5
ETC = Path(__file__).resolve().parents[2] / "etc" / "mongod"
ADMIN = "admin:change-me-admin@"
LOGIN = "boltlink:change-me-boltlink@"


class ReplicaSet:
    """Three members; `start`, and `stop` for what is left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = free_ports(MEMBERS)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        """As BOLTLINK_MONGODB_URL takes it."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._ports)
        return f"mongodb://{LOGIN}{hosts}/?replicaSet=rs0&authSource=admin"

    def start(self) -> None:
        """Returns when there is a primary, and its users."""
        self._folder.mkdir(exist_ok=True)
        with open(self._folder / "keyfile", "wb", opener=_only_mine) as file:
            file.write(base64.b64encode(os.urandom(48)))
        for number in range(MEMBERS):
            self._run(number)
        initiate, administrator = commands_of("set.js")
        for number, member in enumerate(initiate["replSetInitiate"]["members"]):
            member["host"] = f"127.0.0.1:{self._ports[number]}"
        wait_for(lambda: self._ask(0, initiate, login=""))
        wait_for(lambda: self.hello(0, login="").get("isWritablePrimary"))
        wait_for(lambda: self._ask(0, administrator, login=""))
        for command in commands_of("users.js"):
            wait_for(lambda c=command: self._ask(self.primary(), c))  # type: ignore[misc]

    def stop(self) -> None:
        """Kills what runs."""
        for process in self._processes.values():
            process.kill()
            process.wait()

    def primary(self) -> int:
        """Which member it is, as soon as there is one."""
        found: list[int] = []

        def elected() -> bool:
            found[:] = [n for n in range(MEMBERS) if self.hello(n).get("isWritablePrimary")]
            return bool(found)

        wait_for(elected)
        return found[0]

    def step_down(self) -> None:
        """The primary goes, in order."""
        with self._connect(self.primary()) as client, suppress(PyMongoError):  # it hangs up on everyone
            client.admin.command("replSetStepDown", STEP_DOWN_S, secondaryCatchUpPeriodSecs=2, force=True)

    def kill(self, number: int) -> None:
        """kill -9."""
        self._processes[number].kill()
        self._processes[number].wait()

    def run_again(self, number: int) -> None:
        """Starts a killed member."""
        self._run(number)
        wait_for(lambda: self.hello(number).get("setName"))

    @contextmanager
    def stopped(self, number: int) -> Iterator[None]:
        """SIGSTOP, then SIGCONT."""
        self._processes[number].send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._processes[number].send_signal(signal.SIGCONT)

    def _run(self, number: int) -> None:
        folder = self._folder / f"member-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        program = find_engine("mongod", Settings.from_environ({}))
        arguments = ["--config", ETC / "mongod.conf", "--dbpath", folder, "--logpath", folder.with_suffix(".log")]
        arguments += ["--keyFile", self._folder / "keyfile", "--port", self._ports[number], "--nounixsocket"]
        arguments += ["--wiredTigerCacheSizeGB", "0.25", "--quiet"]
        command = [str(word) for word in (program, *arguments)]
        self._processes[number] = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def hello(self, number: int, login: str = ADMIN) -> dict[str, Any]:
        """What a member says of itself; nothing when it does not answer."""
        return self._ask(number, {"hello": 1}, login=login) or {}

    def _ask(self, number: int, command: dict[str, Any], *, login: str = ADMIN) -> dict[str, Any] | None:
        with self._connect(number, login) as client, suppress(PyMongoError):
            return client.admin.command(command)
        return None

    def _connect(self, number: int, login: str = ADMIN) -> MongoClient[dict[str, Any]]:
        url = f"mongodb://{login}127.0.0.1:{self._ports[number]}/?directConnection=true"
        return MongoClient(url, serverSelectionTimeoutMS=500, connectTimeoutMS=500, socketTimeoutMS=10_000)


def commands_of(name: str) -> list[dict[str, Any]]:
    """What a script of `etc/mongod` runs."""
    found = re.findall(r"runCommand\((\{.*?^\})\);", (ETC / name).read_text(), re.DOTALL | re.MULTILINE)
    return [json.loads(text) for text in found]


def _only_mine(path: str, flags: int) -> int:
    return os.open(path, flags, 0o400)


@contextmanager
def stepped_down(cluster: Cluster, _: Random, *, members: ReplicaSet) -> Iterator[Fact]:
    members.step_down()
    yield cluster.mongodb_answers


@contextmanager
def primary_killed(cluster: Cluster, _: Random, *, members: ReplicaSet) -> Iterator[Fact]:
    number = members.primary()
    members.kill(number)
    yield cluster.mongodb_answers
    members.run_again(number)


@contextmanager
def primary_stopped(cluster: Cluster, _: Random, *, members: ReplicaSet) -> Iterator[Fact]:
    with members.stopped(members.primary()):
        yield cluster.mongodb_answers


def replica_faults(members: ReplicaSet) -> list[Fault]:
    """What can happen to the primary; one at a time, as two of three members must live."""
    away = frozenset({"mongodb"})
    return [
        Fault("primary steps down", partial(stepped_down, members=members), takes=away, is_alone=True),
        Fault("primary killed", partial(primary_killed, members=members), takes=away, is_alone=True),
        Fault("primary stopped", partial(primary_stopped, members=members), LONG_S, takes=away, is_alone=True),
    ]
