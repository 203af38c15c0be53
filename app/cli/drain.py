"""`boltlink journal drain`: returns when every click that is journaled here now is in the statistics.

    the tree runs     its aggregators apply them; what is journaled meanwhile is not waited for
    nothing runs      aggregators of its own do it, on a disk that its web processes left behind; `up.lock` is held, so
                      that no tree starts beside them
    the limit is over exit status 1 with how many wait: they stay on the disk, and whoever comes next goes on

In: `<state>/journal` and the checkpoints. May import: settings, journal, stores, tree, cli.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import click

from app.cli.errors import CliError
from app.cli.fields import Seconds
from app.cli.journal import applied_positions, describe_source, journal, sources_of
from app.cli.talk import JSON, say
from app.journal import list_sources
from app.lifeline import die_with_parent, take_lock
from app.settings import Settings
from app.stores import PlaceError, make_private_folder
from app.tree import ROOT, Tree

__all__ = ["drain"]

STEP_S = 0.2
END_S = 35.0  # an aggregator that is told to end; supervisord.conf gives it 30


@journal.command("drain", epilog="Example: boltlink journal drain --limit 60")
@click.option("--limit", default=60.0, show_default=True, type=Seconds(), help="Seconds, at most.")
@JSON
def drain(limit: float, as_json: bool) -> None:
    """Wait until what is journaled now is in the statistics; where nothing runs, apply it."""
    tree = Tree(Settings.from_environ(os.environ)).as_started()
    state = tree.settings.state_dir
    sources_of(tree.settings)
    lock = take_lock(state / "up.lock")
    try:
        if lock is None or not list_sources(state / "journal"):
            waiting = _wait(tree, limit)
        else:
            with _aggregators(tree):
                waiting = _wait(tree, limit)
    finally:
        if lock is not None:
            os.close(lock)
    if waiting:
        raise CliError(f"{waiting} clicks wait in {state / 'journal'} after {limit:g} s; they stay")
    say(as_json, {"waiting": 0}, "every click is in the statistics")


def _wait(tree: Tree, limit_s: float) -> int:
    """How many of the records that are there now wait in the end."""
    settings, deadline = tree.settings, time.monotonic() + limit_s
    sources = list_sources(settings.state_dir / "journal")
    ends = {source.name: describe_source(source, None)["end"] for source in sources}
    while True:
        applied = asyncio.run(applied_positions(settings, sources))
        if applied is not None and all(applied[name] >= end for name, end in ends.items()):
            return 0
        if time.monotonic() >= deadline:
            left = {source.name for source in list_sources(settings.state_dir / "journal")}
            return sum(describe_source(source, applied)["waiting"] for source in sources if source.name in left)
        time.sleep(STEP_S)


@contextmanager
def _aggregators(tree: Tree) -> Iterator[None]:
    """The aggregators of a tree that does not run, as its supervisord would start them."""
    if "mongod" in tree.engines:
        raise CliError("nothing runs, and MongoDB is the embedded one: boltlink up applies what waits")
    try:
        for folder in (tree.run, tree.logs):
            make_private_folder(folder)
    except PlaceError as error:
        raise CliError(str(error)) from error
    started = [_start(tree, name) for name in tree.worker_names if name.startswith("aggregator")]
    try:
        yield
    finally:
        for aggregator in started:
            aggregator.terminate()
        for aggregator in started:
            try:
                aggregator.wait(END_S)
            except subprocess.TimeoutExpired:
                aggregator.kill()
                aggregator.wait()


def _start(tree: Tree, name: str) -> subprocess.Popen[bytes]:
    with (tree.logs / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "app.launch", "workers.aggregator"],
            env={**tree.environment(), "SUPERVISOR_PROCESS_NAME": name},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGTERM),  # noqa: PLW1509
        )
