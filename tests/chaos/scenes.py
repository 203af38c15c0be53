"""The scenes: a tree of its own kind each, from its start to its account.

In: a seed and for how long. Out: an outcome, and by `complaints` what in it may not be.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

from tests.chaos.clock import Clock
from tests.chaos.cluster import Cluster
from tests.chaos.disk import fill, free, small_disk
from tests.chaos.faults import EMBEDDED, Fault
from tests.chaos.replicas import ReplicaSet, replica_faults
from tests.chaos.schedule import schedule
from tests.chaos.servers import Servers, redis_faults
from tests.chaos.stage import Happened, Outcome, Stage
from tests.conftest import wait_for
from tests.stores.servers import RedisCluster, SentinelSet, cluster_ports
from tests.system.conftest import Tree, free_ports, make_tree

LINKS = 60
RATE = 600  # redirects a second; both cores stay half idle, so that what comes back is not waited for
ACT_S = 150.0  # after so long, the account of all clicks
DROPPED_MIN = 300
WAIT_S = 120.0
NOTE_BYTES = 7_000  # so that journals are full within half a minute

BESIDE_CLOCK = ("web process killed", "aggregator killed")
BESIDE_SETS = ("web process killed", "aggregator killed", "aggregator stopped", "announcer killed", "rollup killed")
TOPOLOGIES = ("sentinel", "cluster")


def play_embedded(seed: int, seconds: float) -> Outcome:
    """Everything that can happen to the tree as `boltlink up` starts it."""
    with started_stage("embedded", seed) as stage:
        return play(stage, EMBEDDED, seconds)


def play_sets(seed: int, seconds: float, topology: str = "sentinel") -> Outcome:
    """Primaries of three mongods and of a Redis under Sentinel, or of a cluster, step down, die and stop."""
    folder = Path(tempfile.mkdtemp(prefix="bl-"))
    members, servers = ReplicaSet(folder), servers_of(topology, folder)
    try:
        members.start()
        servers.start()
        urls = {"BOLTLINK_MONGODB_URL": members.url, "BOLTLINK_REDIS_URL": servers.url}
        with started_stage(f"sets, {topology}", seed, **urls) as stage:
            faults = [*replica_faults(members), *redis_faults(servers), *faults_named(BESIDE_SETS)]
            return play(stage, faults, seconds)
    finally:
        members.stop()
        servers.stop()
        shutil.rmtree(folder, ignore_errors=True)


def servers_of(topology: str, folder: Path) -> Servers:
    """Redis as BOLTLINK_REDIS_URL may name it."""
    if topology == "sentinel":
        return SentinelSet(folder / "redis", free_ports(6))
    return RedisCluster(folder / "redis", cluster_ports(RedisCluster.NODES))


def play_stepping_clock(seed: int, seconds: float) -> Outcome:
    """The time of day goes back and on, by seconds and by a day, and web processes and aggregators die meanwhile."""
    for tree in make_tree(BOLTLINK_WEB_PROCESSES="2"):
        clock = Clock(tree)
        with started(tree) as cluster:
            stage = Stage("stepping clock", cluster, seed, rate=RATE, clock_steps=True)
            return play(stage, [clock.fault, *faults_named(BESIDE_CLOCK)], seconds)
    raise AssertionError


def play_full_disk(seed: int) -> Outcome:
    """The disk is full while nothing is applied: what cannot be kept is dropped and counted, and redirects go on."""
    for tree in make_tree(BOLTLINK_WEB_PROCESSES="2"):
        with small_disk(tree.state), started(tree) as cluster:
            stage = Stage("full disk", cluster, seed, rate=RATE, note_bytes=NOTE_BYTES)
            stage.outcome.expects_drops = True
            fill_disk(stage)
            return stage.outcome
    raise AssertionError


def fill_disk(stage: Stage) -> None:
    """One act of its own."""
    cluster, state = stage.cluster, stage.cluster.tree.state
    stage.load.start()
    try:
        wait_for(lambda: stage.outcome.notes.received.total() > DROPPED_MIN)
        begun = time.monotonic()
        fill(state)
        with cluster.stopped("aggregator"):
            wait_for(lambda: cluster.count("dropped") > DROPPED_MIN, limit_s=WAIT_S)
            free(state)
        ended = time.monotonic()
        kept = cluster.count("journaled")
        wait_for(lambda: cluster.count("journaled") > kept and cluster.is_whole(), limit_s=WAIT_S)
        happened = Happened("disk full", frozenset({"mongodb"}), begun, ended, time.monotonic())
        stage.outcome.happened.append(happened)
    finally:
        stage.load.stop()
    stage.account()


def play(stage: Stage, faults: Sequence[Fault], seconds: float) -> Outcome:
    """Acts of equal length until the time is up."""
    acts = max(1, round(seconds / ACT_S))
    steps = schedule(faults, Random(stage.outcome.seed))
    for _ in range(acts):
        stage.play(steps, until=time.monotonic() + seconds / acts)
    return stage.outcome


def faults_named(names: Sequence[str]) -> list[Fault]:
    """Those of the embedded tree."""
    return [fault for fault in EMBEDDED if fault.name in names]


@contextmanager
def started(tree: Tree) -> Iterator[Cluster]:
    """A tree that runs and has links."""
    tree.up()
    cluster = Cluster(tree)
    try:
        cluster.make_links(LINKS)
        yield cluster
    finally:
        cluster.close()
        tree.end()


@contextmanager
def started_stage(name: str, seed: int, **settings: str) -> Iterator[Stage]:
    """A stage on a tree of its own."""
    for tree in make_tree(BOLTLINK_WEB_PROCESSES="2", **settings):
        with started(tree) as cluster:
            yield Stage(name, cluster, seed, rate=RATE)
