"""Restarts programs of a running tree one after another, each when the one before serves again.

In: a tree, and names of its programs. Out: each has a new pid and serves; redirects never stop, because a web process
drains while its siblings answer, and the next is asked to end only when it is back.

    draining    it has got SIGTERM; what was asked is answered (docs/operations.md)
    starting    supervisord starts what has ended; the new process is asked on its own socket whether it is ready
    ready       a web process: /ready is 200; a worker: it lives for WORKER_S
    apart       where an ending process turns newcomers away (`app.front.listener`), they come again a second later, and
                must not find the next one at the same: two web processes end APART_S after each other

Only one restarts at a time: `<run>/restart.lock`. A program that does not come up ends it: `RestartError`, the others
are left as they were. Nothing is stopped in supervisord's eyes: it starts the program again by itself, whatever becomes
of who asked for it. May import: tree, lifeline, sockets.
"""

from __future__ import annotations

import http.client
import os
import time
import xmlrpc.client
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from supervisor.xmlrpc import Faults

from app.lifeline import take_lock
from app.sockets import queue_moves
from app.tree import Tree

__all__ = ["NO_PID", "BusyError", "RestartError", "only_one", "restart"]

KILLED_S = 10.0  # a killed process is gone by then
START_S = 30.0
WORKER_S = 1.0
APART_S = 1.5  # a SYN comes again after 1 s (RFC 6298), by kernels' coarse timers a little later, and then after 3 s
STEP_S = 0.02
NO_PID = 0  # supervisord's, of a program that does not run
_FAILURES = (OSError, http.client.HTTPException, xmlrpc.client.Error)


class RestartError(Exception):
    """A program that did not end or did not come up; the text says which and why."""


class BusyError(Exception):
    """Somebody else restarts programs of this tree."""


@contextmanager
def only_one(tree: Tree) -> Iterator[None]:
    """Holds the tree's lock for restarts. Raises BusyError at once when another has it."""
    lock = take_lock(tree.run / "restart.lock")
    if lock is None:
        raise BusyError
    try:
        yield
    finally:
        os.close(lock)


def restart(tree: Tree, name: str) -> float:
    """Restarts one program; returns for how many seconds it did not serve. Raises RestartError."""
    try:
        title = next(
            f"{info['group']}:{info['name']}" for info in tree.ask("getAllProcessInfo") if info["name"] == name
        )
        _renew(tree, title)
        ended_s = time.monotonic()
        _wait_until_it_serves(tree, title, name)
        away_s = time.monotonic() - ended_s
        if name in tree.web_names and not queue_moves():
            time.sleep(max(0.0, APART_S - away_s))
    except StopIteration:
        raise RestartError(f"no program {name} in this tree") from None
    except _FAILURES as error:
        raise RestartError(f"{name}: supervisord does not do it ({error})") from error
    return away_s


def _renew(tree: Tree, title: str) -> None:
    """Asks a program to end, waits until it has, and starts what supervisord does not start by itself."""
    pid = tree.ask("getProcessInfo", title)["pid"]
    if pid != NO_PID:
        tree.ask("signalProcess", title, "TERM")
        patience_s = _patience_s(tree, title)
        state = _state_after(tree, title, pid, patience_s)
        if state is None:
            tree.ask("signalProcess", title, "KILL")
            state = _state_after(tree, title, pid, KILLED_S)
        if state is None:
            raise RestartError(f"{title} did not end within {patience_s + KILLED_S:.0f} s")
        if state != "STOPPED":
            return
    try:
        tree.ask("startProcess", title, False)
    except xmlrpc.client.Fault as fault:
        if fault.faultCode != Faults.ALREADY_STARTED:
            raise


def _patience_s(tree: Tree, title: str) -> float:
    """How long a program may take to end, as supervisord.conf says."""
    return next(
        float(config["stopwaitsecs"])
        for config in tree.ask("getAllConfigInfo")
        if f"{config['group']}:{config['name']}" == title
    )


def _state_after(tree: Tree, title: str, pid: int, limit_s: float) -> str | None:
    """The state of a program as soon as that process of it has ended; None when it has not in time."""
    deadline = time.monotonic() + limit_s
    while True:
        info: dict[str, Any] = tree.ask("getProcessInfo", title)
        if info["pid"] != pid:
            return str(info["statename"])
        if time.monotonic() > deadline:
            return None
        time.sleep(STEP_S)


def _wait_until_it_serves(tree: Tree, title: str, name: str) -> None:
    started = time.monotonic()
    first = 0
    while True:
        info: dict[str, Any] = tree.ask("getProcessInfo", title)
        first = first or info["pid"]
        refusal = tree.refusal(info)
        if refusal is not None:
            raise RestartError(f"{name}: {refusal}")
        if info["pid"] != first:
            raise RestartError(f"{name} died at its start; see: boltlink logs {name}")
        lived_s = time.monotonic() - started
        serves, reason = tree.ready(name) if name in tree.web_names else (lived_s >= WORKER_S, "")
        if first and serves:
            return
        if lived_s > START_S:
            raise RestartError(f"{name} is not ready after {START_S:.0f} s: {info['spawnerr'] or reason}")
        time.sleep(STEP_S)
