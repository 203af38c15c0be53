"""What can happen to a Redis of several servers: under Sentinel, or a cluster (`tests/stores/servers.py`).

In: servers that run. Out: faults. Each ends when what was hit was replaced, and then what was killed is started again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from random import Random

from tests.chaos.cluster import Cluster, Fact
from tests.chaos.faults import LONG_S, Fault
from tests.stores.servers import RedisCluster, SentinelSet

Servers = SentinelSet | RedisCluster


@contextmanager
def primary_killed(_: Cluster, random: Random, *, servers: Servers) -> Iterator[Fact]:
    servers.mend()
    primary = servers.some_primary(random)
    primary.kill()
    yield lambda: servers.has_new_primary(primary)
    servers.mend()


@contextmanager
def primary_stopped(_: Cluster, random: Random, *, servers: Servers) -> Iterator[Fact]:
    servers.mend()
    primary = servers.some_primary(random)
    with primary.stopped():
        yield lambda: servers.has_new_primary(primary) or servers.is_primary(primary)


@contextmanager
def emptied(_: Cluster, random: Random, *, servers: Servers) -> Iterator[Fact]:
    servers.mend()
    primary = servers.some_primary(random)
    primary.admin("FLUSHALL")
    yield lambda: servers.is_primary(primary)


def redis_faults(servers: Servers) -> list[Fault]:
    """One at a time: a majority must live."""
    away = frozenset({"redis"})
    return [
        Fault("redis primary killed", partial(primary_killed, servers=servers), takes=away, is_alone=True),
        Fault("redis primary stopped", partial(primary_stopped, servers=servers), LONG_S, takes=away, is_alone=True),
        Fault("redis primary emptied", partial(emptied, servers=servers), takes=away, is_alone=True),
    ]
