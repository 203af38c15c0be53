"""What `boltlink doctor` finds: one state for each thing that it looks at, what that means, and what to do.

May import: the standard library.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["CHECKS", "Finding", "State", "fail", "ok", "warn"]

#: Every check, in the order in which they are shown -> what is looked at.
CHECKS = {
    "settings.values": "every setting can be read",
    "settings.names": "no BOLTLINK_* variable is misspelled",
    "settings.together": "settings do not contradict each other",
    "python.version": "Python is new enough",
    "python.compiled": "what runs for every redirect is compiled, from the source that is there",
    "engines": "the programs of embedded engines are there and can be run",
    "state.folder": "the state folder can be written to and is private",
    "state.secrets": "keys and settings with passwords can be read by this user alone",
    "state.disk": "there is room on its disk",
    "state.preallocation": "what the disk promises to a journal it holds, tried",
    "limits.files": "descriptors for connections",
    "cpu": "web processes against the CPUs granted",
    "kernel": "settings of the kernel, against etc/sysctl.d/60-boltlink.conf",
    "kernel.huge_pages": "transparent huge pages, where engines run on this machine",
    "clock": "the clock is synchronised",
    "clock.stores": "MongoDB's and Redis's clocks say the same",
    "ports": "the ports are free, or ours",
    "base_url": "short links lead here, by https where they are public",
    "oidc": "the identity provider answers as BOLTLINK_OIDC_ISSUER, and the client's secret can be read",
    "programs": "supervisord and its programs run, and serve",
    "redis": "Redis answers, is new enough and can be written to",
    "redis.servers": "of several servers: sentinels agree, replicas keep up, a cluster covers all slots",
    "redis.memory": "Redis makes room when it is full",
    "redis.persistence": "Redis can write its snapshots and append-only file",
    "redis.latency": "Redis answers soon enough for redirects",
    "mongodb": "MongoDB answers and is new enough",
    "mongodb.replica_set": "it is a replica set with a majority",
    "mongodb.settings": "transactions of a stopped worker end in time",
    "mongodb.schema": "data is of the version that this release knows",
    "mongodb.indexes": "every index is there",
    "mongodb.latency": "MongoDB answers soon enough for redirects",
    "traces": "what sends traces is installed, and the collector is there",
    "journal": "clicks are applied soon, and no journal is damaged",
}


class State(StrEnum):
    """How it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.

    Attributes:
        check: a key of CHECKS.
        found: what is so.
        means: what comes of it; empty when all is well.
        do: what to do about it; empty when all is well.
    """

    check: str
    state: State
    found: str
    means: str = ""
    do: str = ""


def ok(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check, State.OK, found)


def warn(check: str, found: str, means: str, do: str) -> Finding:
    """It works, and could be better or soon be worse."""
    return Finding(check, State.WARN, found, means, do)


def fail(check: str, found: str, means: str, do: str) -> Finding:
    """It does not work."""
    return Finding(check, State.FAIL, found, means, do)
