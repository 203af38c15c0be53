"""Redis of several servers, started from `etc/redis` as it is: three under Sentinel, or six of a cluster.

In: a folder. Out: their URL, and what can happen to each server. Every one is a process of its own on loopback.
Those under Sentinel are of the system's Redis where it has one (7.0 of Debian, which reads rights more strictly), those
of the cluster of the embedded one.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from app.settings import Settings
from app.stores.embedded import find_engine
from tests.conftest import wait_for
from tests.needs import find

ETC = Path(__file__).resolve().parents[2] / "etc" / "redis"
LOGIN = {"username": "boltlink", "password": "change-me-boltlink"}
ASK_S = 1.0


class Server:
    """One redis-server; also a sentinel."""

    def __init__(self, folder: Path, port: int, engine: str, *words: str) -> None:
        self.port = port
        self.engine = engine
        self.folder = folder
        self._words = words
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)

    def run(self) -> None:
        """Returns when it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([self.engine, *self._words], stdout=log, stderr=log, cwd=self.folder)
        wait_for(self._accepts)

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def mend(self) -> None:
        """Runs, if it does not."""
        if self._process is None:
            self.run()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """SIGSTOP, then SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def ask(self, *words: Any, login: dict[str, str] | None = None) -> Any:
        """What it says, an error's text too; None when it does not answer."""
        given: dict[str, Any] = {**(LOGIN if login is None else login), "retry": Retry(NoBackoff(), 0)}
        with redis.Redis(port=self.port, socket_timeout=ASK_S, socket_connect_timeout=ASK_S, **given) as client:
            try:
                return client.execute_command(*words)
            except (redis.ConnectionError, redis.TimeoutError):
                return None
            except RedisError as error:
                return str(error)

    def admin(self, *words: Any) -> Any:
        """As `ask`, by somebody who may do anything: the tests' own user."""
        return self.ask(*words, login={"username": "tests", "password": "tests"})


def embedded_redis() -> str:
    """The redis-server that runs where no URL is set."""
    return str(find_engine("redis", Settings.from_environ({})))


def redis_server(folder: Path, port: int, engine: str, *more: str) -> Server:
    """A server from `redis.conf`, which it rewrites at a fail-over."""
    server = Server(folder, port, engine, "redis.conf")
    lines = ["user tests on >tests ~* &* +@all", f"dir {folder}", *more]
    text = (ETC / "redis.conf").read_text().replace("\nport 6379", f"\nport {port}")
    (folder / "redis.conf").write_text("\n".join([text, *lines, ""]))
    return server


class SentinelSet:
    """A primary, two replicas and three sentinels."""

    SERVICE = "boltlink"

    def __init__(self, folder: Path, ports: list[int]) -> None:
        self.servers = []
        engine = find("redis-server") or embedded_redis()
        for number, port in enumerate(ports[:3]):
            of = [f"replicaof 127.0.0.1 {ports[0]}"] if number else []
            self.servers.append(redis_server(folder / f"redis-{number}", port, engine, *of))
        self.sentinels = []
        text = (ETC / "sentinel.conf").read_text().replace("127.0.0.1 6379", f"127.0.0.1 {ports[0]}")
        for number, port in enumerate(ports[3:]):
            home = folder / f"sentinel-{number}"
            self.sentinels.append(Server(home, port, engine, "sentinel.conf", "--sentinel"))
            (home / "sentinel.conf").write_text(text.replace("port 26379", f"port {port}"))

    @property
    def url(self) -> str:
        """As BOLTLINK_REDIS_URL takes it."""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        login = f"{LOGIN['username']}:{LOGIN['password']}"
        return f"redis+sentinel://{login}@{hosts}/{self.SERVICE}?sentinel_password=change-me-sentinels"

    def start(self) -> None:
        """Returns when the sentinels know each other and both replicas."""
        for server in self.servers:
            server.run()
        wait_for(lambda: self._has_replicas(self.servers[0]))
        for sentinel in self.sentinels:
            sentinel.run()
        wait_for(lambda: all(self._knows_all(sentinel) for sentinel in self.sentinels))

    def stop(self) -> None:
        """Kills what runs."""
        for server in (*self.servers, *self.sentinels):
            server.kill()

    def primary(self) -> Server:
        """Who it is, as most sentinels say."""
        found: list[Server] = []

        def agreed() -> bool:
            said = [self._primary_of(sentinel) for sentinel in self.sentinels]
            found[:] = [server for server in self.servers if 2 * said.count(server.port) > len(said)]
            return bool(found)

        wait_for(agreed)
        return found[0]

    def replicas(self) -> list[Server]:
        """All others."""
        primary = self.primary()
        return [server for server in self.servers if server is not primary]

    def some_primary(self, _: Random) -> Server:
        """The only one."""
        return self.primary()

    def is_primary(self, server: Server) -> bool:
        """Whether most sentinels say so, and it takes writes."""
        return self._takes_writes(server)

    def has_new_primary(self, former: Server) -> bool:
        """Whether most sentinels name another one, and it takes writes."""
        return any(self._takes_writes(server) for server in self.servers if server is not former)

    def mend(self) -> None:
        """Runs what does not; returns when the primary has both replicas."""
        for server in (*self.servers, *self.sentinels):
            server.mend()
        wait_for(self.is_whole)

    def is_whole(self) -> bool:
        """Whether the primary has both replicas."""
        return self._has_replicas(self.primary())

    def _has_replicas(self, server: Server) -> bool:
        said = server.admin("INFO", "replication") or {}
        states = [said.get(f"slave{number}", {}).get("state") for number in range(2)]
        return states == ["online", "online"]

    def _takes_writes(self, server: Server) -> bool:
        said = [self._primary_of(sentinel) for sentinel in self.sentinels]
        return 2 * said.count(server.port) > len(said) and server.ask("SET", "links:beat", "", "EX", "1") is True

    def _primary_of(self, sentinel: Server) -> int | None:
        said = self._ask(sentinel, "SENTINEL", "get-master-addr-by-name", self.SERVICE)
        return None if not isinstance(said, tuple | list) else int(said[1])

    def _knows_all(self, sentinel: Server) -> bool:
        said = self._ask(sentinel, "SENTINEL", "CKQUORUM", self.SERVICE)
        peers = self._ask(sentinel, "SENTINEL", "SENTINELS", self.SERVICE)
        replicas = self._ask(sentinel, "SENTINEL", "REPLICAS", self.SERVICE)
        return b"OK 3" in _bytes_of(said) and len(peers or ()) == 2 and len(replicas or ()) == 2

    def _ask(self, sentinel: Server, *words: str) -> Any:
        return sentinel.ask(*words, login={"password": "change-me-sentinels"})


class RedisCluster:
    """Three primaries with a replica each: numbers 0 to 2, and 3 to 5 behind them. The last one has no slots."""

    NODES = 7

    def __init__(self, folder: Path, ports: list[int]) -> None:
        include = f"include {ETC / 'cluster.conf'}"
        engine = embedded_redis()
        self.servers = [
            redis_server(folder / f"node-{number}", port, engine, include) for number, port in enumerate(ports)
        ]

    @property
    def url(self) -> str:
        """As BOLTLINK_REDIS_URL takes it; it names half of the nodes."""
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.servers[:3])
        return f"redis+cluster://{LOGIN['username']}:{LOGIN['password']}@{hosts}/"

    def start(self) -> None:
        """Returns when every node sees a whole cluster."""
        for server in self.servers:
            server.run()
        first = self.servers[0]
        for number, server in enumerate(self.servers[:3]):
            begin, end = 16384 * number // 3, 16384 * (number + 1) // 3
            server.admin("CLUSTER", "ADDSLOTS", *range(begin, end))
            server.admin("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for server in self.servers[1:]:
            first.admin("CLUSTER", "MEET", "127.0.0.1", server.port)
        wait_for(lambda: all(self._sees(server, "cluster_known_nodes", self.NODES) for server in self.servers))
        for number in range(3):
            primary = self.id_of(self.servers[number])
            wait_for(lambda n=number, p=primary: self.servers[n + 3].admin("CLUSTER REPLICATE", p) is True)  # type: ignore[misc]
        wait_for(lambda: all(self._sees(server, "cluster_state", "ok") for server in self.servers))
        wait_for(lambda: all(b"link_status:up" in self._replication(server) for server in self.servers[3:6]))

    def stop(self) -> None:
        """Kills what runs."""
        for server in self.servers:
            server.kill()

    def id_of(self, server: Server) -> str:
        """Its name in the cluster."""
        return _bytes_of(server.admin("CLUSTER", "MYID")).decode()

    def owner(self, slot: int) -> Server:
        """The primary that has a slot, as the first living node says."""
        for server in self.servers:
            for first, last, (_, port, *_rest), *_others in server.admin("CLUSTER SLOTS") or ():
                if first <= slot <= last:
                    return next(each for each in self.servers if each.port == port)
        raise AssertionError(slot)

    def replica_of(self, server: Server) -> Server:
        """Its replica."""
        number = self.servers.index(server)
        return self.servers[(number + 3) % 6]

    def mend(self) -> None:
        """Runs what does not; returns when each slot has a primary, and that its replica."""
        for server in self.servers:
            server.mend()
        wait_for(lambda: all(self._sees(server, "cluster_state", "ok") for server in self.servers))
        wait_for(lambda: sum(self.is_primary(server) for server in self.servers[:6]) == 3)

    def move(self, slot: int, target: Server, pause_s: float) -> None:
        """Moves a slot and its keys as `redis-cli --cluster reshard` does, with pauses in which it is on its way."""
        source = self.owner(slot)
        source_id, target_id = self.id_of(source), self.id_of(target)
        target.admin("CLUSTER SETSLOT", slot, "IMPORTING", source_id)
        source.admin("CLUSTER SETSLOT", slot, "MIGRATING", target_id)
        time.sleep(pause_s)
        for key in source.admin("CLUSTER GETKEYSINSLOT", slot, 100):
            words = ("127.0.0.1", target.port, "", 0, 1000, "REPLACE", "AUTH2", "tests", "tests", "KEYS", key)
            said = source.admin("MIGRATE", *words)
            assert said in (b"OK", b"NOKEY"), said
        time.sleep(pause_s)
        for server in (target, source):
            server.admin("CLUSTER SETSLOT", slot, "NODE", target_id)

    def some_primary(self, random: Random) -> Server:
        """One of them, by chance."""
        return random.choice([server for server in self.servers[:6] if self.is_primary(server)])

    def has_new_primary(self, former: Server) -> bool:
        """Whether its replica has its place."""
        return self.is_primary(self.replica_of(former))

    def is_primary(self, server: Server) -> bool:
        """Whether it takes writes now."""
        return b"role:master" in self._replication(server)

    def _replication(self, server: Server) -> bytes:
        said = server.admin("INFO", "replication") or {}
        return f"role:{said.get('role')} link_status:{said.get('master_link_status')}".encode()

    def _sees(self, server: Server, field: str, value: object) -> bool:
        said = server.admin("CLUSTER INFO")
        return isinstance(said, dict) and said.get(field) == str(value)


def _bytes_of(said: Any) -> bytes:
    return said if isinstance(said, bytes) else str(said).encode()


def until(fact: Callable[[], bool], limit_s: float = 30.0) -> float:
    """Waits for a fact; how many seconds that took."""
    began_s = time.monotonic()
    wait_for(fact, limit_s=limit_s, step_s=0.02)
    return time.monotonic() - began_s


def cluster_ports(count: int) -> list[int]:
    """Ports that are free together with those of the cluster's bus, 10,000 above them."""
    found: list[int] = []
    for port in Random().sample(range(11_000, 20_000), 9_000):
        with socket.socket() as probe, socket.socket() as bus, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            bus.bind(("127.0.0.1", port + 10_000))
            found.append(port)
            if len(found) == count:
                return found
    raise AssertionError(found)
