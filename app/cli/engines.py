"""The embedded engines for a command that needs them while the tree is down.

In: a tree that does not run. Out: its stores answer for as long as the command runs. Engines are started as supervisord
would, and stopped in order afterwards. They die with this process.
May import: stores.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from app.cli.errors import CliError
from app.lifeline import die_with_parent
from app.stores import PlaceError, make_private_folder, mongodb_socket, redis_socket
from app.stores.embedded import EngineError, prepare
from app.stores.replica_set import ensure_replica_set
from app.tree import ROOT, Tree

__all__ = ["engines_up"]

START_S = 30.0
STOP_S = 60.0  # as supervisord gives mongod
STEP_S = 0.02


@contextmanager
def engines_up(tree: Tree, names: Sequence[str]) -> Iterator[None]:
    """Runs those of `names` that are embedded; raises CliError when one does not start."""
    started: list[subprocess.Popen[bytes]] = []
    os.umask(0o077)  # as `up` has it
    try:
        for name in tree.engines:
            if name in names:
                started.append(_start(tree, name))
                _wait(tree, name, started[-1])
        yield
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
        for process in started:
            _stop(process)


def _start(tree: Tree, name: str) -> subprocess.Popen[bytes]:
    try:
        for folder in (tree.settings.state_dir, tree.run, tree.logs):
            make_private_folder(folder)
        prepare(name, tree.settings)
    except (EngineError, PlaceError) as error:
        raise CliError(str(error)) from error
    with (tree.logs / f"{name}.log").open("ab") as log:
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "app.stores.embedded", name],
            env=tree.environment(),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches the command, which stops the engines in order
            preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGKILL),  # noqa: PLW1509
        )


def _wait(tree: Tree, name: str, process: subprocess.Popen[bytes]) -> None:
    path = redis_socket(tree.settings) if name == "redis" else mongodb_socket(tree.settings)
    deadline = time.monotonic() + START_S
    while not _accepts(path):
        if process.poll() is not None or time.monotonic() > deadline:
            raise CliError(f"{name} does not start: see {tree.logs / f'{name}.log'}")
        time.sleep(STEP_S)
    if name == "mongod":
        try:
            ensure_replica_set(path, limit_s=START_S)
        except TimeoutError as error:
            raise CliError(str(error)) from error


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _stop(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
