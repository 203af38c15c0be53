"""What can happen to a tree, by name.

A deed is a context manager: what is done at its begin, what ends it, and between them a fact that says whether what was
hit serves again. A kill ends at once; what lasts is held as long as the schedule says.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from random import Random

import redis

from tests.chaos.cluster import WEB, Cluster, Fact
from tests.conftest import wait_for
from tests.system.conftest import is_alive

Deed = Callable[[Cluster, Random], AbstractContextManager[Fact]]

MOMENT_S = (0.0, 0.0)
SHORT_S = (0.3, 2.0)
LONG_S = (1.0, 6.0)  # longer than the 3 s after which a silent channel makes all of L1 expire


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to be hurt.

    Attributes:
        hold_s: the least and the most that it lasts.
        takes: what is away meanwhile: web (a process comes back with nothing in memory), redis, mongodb.
        is_alone: the next begins when everything is whole again.
    """

    name: str
    deed: Deed
    hold_s: tuple[float, float] = MOMENT_S
    takes: frozenset[str] = frozenset()
    is_alone: bool = False


@contextmanager
def web_killed(cluster: Cluster, random: Random, *, count: int) -> Iterator[Fact]:
    names = random.sample(WEB, count)
    for pid in [cluster.pid(name) for name in names]:
        kill(pid)
    yield cluster.redirects(*names)


@contextmanager
def web_stopped(cluster: Cluster, random: Random) -> Iterator[Fact]:
    name = random.choice(WEB)
    with cluster.stopped(name):
        yield cluster.redirects(name)


@contextmanager
def aggregator_killed(cluster: Cluster, _: Random) -> Iterator[Fact]:
    kill(cluster.pid("aggregator"))
    yield cluster.aggregates()


@contextmanager
def aggregator_stopped(cluster: Cluster, _: Random) -> Iterator[Fact]:
    with cluster.stopped("aggregator"):
        yield cluster.aggregates()


@contextmanager
def lease_holder_killed(cluster: Cluster, _: Random, *, name: str) -> Iterator[Fact]:
    fact = cluster.takes_lease(name)
    kill(cluster.pid(name))
    yield fact


@contextmanager
def redis_killed(cluster: Cluster, _: Random) -> Iterator[Fact]:
    kill(cluster.pid("redis"))
    yield cluster.redis_answers


@contextmanager
def redis_stopped(cluster: Cluster, _: Random) -> Iterator[Fact]:
    with cluster.stopped("redis"):
        yield cluster.redis_answers


@contextmanager
def redis_emptied(cluster: Cluster, _: Random) -> Iterator[Fact]:
    wait_for(cluster.redis_answers)
    with redis.Redis.from_url(cluster.redis_url, socket_timeout=30.0) as client:
        client.flushall()
    yield cluster.redis_answers


@contextmanager
def mongod_killed(cluster: Cluster, _: Random) -> Iterator[Fact]:
    kill(cluster.pid("mongod"))
    yield cluster.mongodb_answers


@contextmanager
def mongod_stopped(cluster: Cluster, _: Random) -> Iterator[Fact]:
    with cluster.stopped("mongod"):
        yield cluster.mongodb_answers


@contextmanager
def mongod_restarted(cluster: Cluster, _: Random) -> Iterator[Fact]:
    pid = cluster.pid("mongod")
    kill(pid, signal.SIGTERM)
    yield lambda: not is_alive(pid) and cluster.mongodb_answers()


@contextmanager
def supervisord_killed(cluster: Cluster, _: Random) -> Iterator[Fact]:
    pids = [cluster.pid(name) for name in WEB]
    redirects = cluster.redirects(*WEB)
    kill(cluster.tree.supervisor())
    up = cluster.tree.spawn("up", "--detach")
    yield lambda: not any(is_alive(pid) for pid in pids) and redirects()
    assert up.wait(90) == 0, (cluster.tree.state.parent / "up.out").read_text()


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """To a process that may be gone by now."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


EMBEDDED = (
    Fault("web process killed", partial(web_killed, count=1), takes=frozenset({"web"})),
    Fault("all web processes killed", partial(web_killed, count=len(WEB)), takes=frozenset({"web"})),
    Fault("web process stopped", web_stopped, SHORT_S),
    Fault("aggregator killed", aggregator_killed),
    Fault("aggregator stopped", aggregator_stopped, LONG_S),
    Fault("announcer killed", partial(lease_holder_killed, name="announcer")),
    Fault("rollup killed", partial(lease_holder_killed, name="rollup")),
    Fault("redis killed", redis_killed, takes=frozenset({"redis"})),
    Fault("redis stopped", redis_stopped, LONG_S, takes=frozenset({"redis"})),
    Fault("redis emptied", redis_emptied, takes=frozenset({"redis"})),
    Fault("mongod killed", mongod_killed, takes=frozenset({"mongodb"})),
    Fault("mongod stopped", mongod_stopped, LONG_S, takes=frozenset({"mongodb"})),
    Fault("mongod restarted", mongod_restarted, takes=frozenset({"mongodb"})),
    Fault("supervisord killed", supervisord_killed, takes=frozenset({"web", "redis", "mongodb"}), is_alone=True),
)
