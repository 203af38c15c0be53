"""Restarts programs of a running tree one after another, each when the one before serves again.

In: a tree, and names of its programs. Out: each has a new pid and serves; redirects never stop, because a web process
drains while its siblings answer, and the next is asked to end only when it is back.

    draining    supervisord has sent SIGTERM; what was asked is answered (docs/operations.md)
    starting    a new process runs; it is asked on its own socket whether it is ready
    ready       a web process: /ready is 200; a worker: it lives for WORKER_S

Only one restarts at a time: `<run>/restart.lock`. A program that does not come up ends it: `RestartError`, the others
are left as they were. May import: tree, lifeline.
"""

from __future__ import annotations

import http.client
import os
import time
import xmlrpc.client
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from app.lifeline import take_lock
from app.tree import Tree

__all__ = ["BusyError", "RestartError", "only_one", "restart"]

STOP_S = 70.0  # supervisord kills after stopwaitsecs, 35 s for a web process
START_S = 30.0
WORKER_S = 1.0
STEP_S = 0.02
_STOPPED = ("STOPPED", "EXITED", "FATAL")
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
        _stop(tree, title)
        stopped_s = time.monotonic()
        tree.ask("startProcess", title, False)
        _wait_until_it_serves(tree, title, name)
    except StopIteration:
        raise RestartError(f"no program {name} in this tree") from None
    except _FAILURES as error:
        raise RestartError(f"{name}: supervisord does not do it ({error})") from error
    return time.monotonic() - stopped_s


def _stop(tree: Tree, title: str) -> None:
    """Asks a program to end, and waits until it has."""
    if tree.ask("getProcessInfo", title)["statename"] in _STOPPED:
        return
    tree.ask("stopProcess", title, False)
    deadline = time.monotonic() + STOP_S
    while tree.ask("getProcessInfo", title)["statename"] not in _STOPPED:
        if time.monotonic() > deadline:
            raise RestartError(f"{title} did not end within {STOP_S:.0f} s")
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
            raise RestartError(f"{name} is not ready after {START_S:.0f} s: {reason}")
        time.sleep(STEP_S)
