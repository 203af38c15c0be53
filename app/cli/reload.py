"""`boltlink reload`: new code and new settings, without an unanswered request."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Collection

import click

from app.cli.errors import CliError
from app.rolling import NO_PID, BusyError, RestartError, only_one, restart
from app.settings import Settings
from app.tree import Tree

__all__ = ["programs_in_order", "reload"]

BUSY_S = 120.0  # as long as the watch over memory may take with one program
STEP_S = 0.2


@click.command(epilog="Example: boltlink reload web_0 web_1")
@click.argument("programs", nargs=-1)
@click.option("--force", is_flag=True, help="Also when web processes are not ready now.")
@click.option("--running", is_flag=True, help="Those that run, also where other programs are wanted now.")
@click.option("--json", "as_json", is_flag=True, help="For machines: one line for each program.")
def reload(programs: tuple[str, ...], force: bool, running: bool, as_json: bool) -> None:
    """Restart PROGRAMS, by default all web processes and workers, one after another, each when the last one serves.

    Redirects go on meanwhile, and the engines are left alone. Stops at the first program that does not come up, and
    when it is interrupted, or its terminal is gone, after the one whose turn it is. Which programs there are is decided
    when everything starts: with settings that want others it does nothing, but for --running, as an upgrade uses it.
    """
    tree = Tree(Settings.from_environ(os.environ)).as_started()
    found = tree.processes()
    if found is None:
        raise CliError(f"not running on {tree.settings.state_dir}; start it with: boltlink up")
    there = {str(info["name"]) for info in found}
    if not running:
        _refuse_what_needs_a_start(tree, there)
    names = list(programs) or [name for name in programs_in_order(tree, there) if name in there]
    unknown = set(names) - there
    if unknown:
        raise CliError(f"no program {', '.join(sorted(unknown))} in this tree; see: boltlink status")
    idle = {str(info["name"]) for info in found if info["pid"] == NO_PID}
    if not force and not idle.issuperset(names):  # what does not run serves nothing now
        _refuse_what_would_not_serve(tree, there)
    _roll(tree, names, as_json)


def _roll(tree: Tree, names: list[str], as_json: bool) -> None:
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            with only_one(tree):
                ordered = _end_in_order()
                for number, name in enumerate(names, 1):
                    _restart(tree, name, number, len(names), as_json)
                    if ordered and number < len(names):
                        raise CliError(f"interrupted; {len(names) - number} programs were left as they were")
            return
        except BusyError:
            if time.monotonic() > deadline:
                raise CliError("another reload is under way") from None
        time.sleep(STEP_S)


def _end_in_order() -> list[int]:
    """Signals of now on, which do not end this before the program whose turn it is serves again."""
    ordered: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: ordered.append(number))
    return ordered


def _restart(tree: Tree, name: str, number: int, count: int, as_json: bool) -> None:
    is_terminal = sys.stdout.isatty() and not as_json
    if is_terminal:
        click.echo(f"[{number}/{count}] {name} ends what it was asked…", nl=False)
    began = time.monotonic()
    try:
        away_s = restart(tree, name)
    except RestartError as error:
        if is_terminal:
            click.echo()
        rest = f"; {count - number} programs were left as they were" if count > number else ""
        raise CliError(f"{error}{rest}") from error
    whole_s = time.monotonic() - began
    if as_json:
        click.echo(json.dumps({"name": name, "seconds": round(whole_s, 3), "away_seconds": round(away_s, 3)}))
        return
    text = f"[{number}/{count}] {name} serves again, {away_s:.2f} s after its end ({whole_s:.1f} s in all)"
    click.echo(f"\r\033[K{text}" if is_terminal else text)


def programs_in_order(tree: Tree, there: Collection[str]) -> list[str]:
    """Web processes first, then workers; engines never."""
    others = set(there) - set(tree.web_names) - set(tree.engines)
    return [*tree.web_names, *sorted(others)]


def _refuse_what_needs_a_start(tree: Tree, there: set[str]) -> None:
    """Which programs there are is decided when supervisord starts."""
    expected = {*tree.web_names, *tree.engines, *tree.worker_names}
    if changed := expected ^ (there - {"memmon"}):
        names = ", ".join(sorted(changed))
        raise CliError(f"settings that change which programs there are ({names}) need: boltlink down, boltlink up")


def _refuse_what_would_not_serve(tree: Tree, there: set[str]) -> None:
    """A new process begins with an empty memory: while stores are away it could answer less than the old one."""
    for name in filter(there.__contains__, tree.web_names):
        is_ready, reason = tree.ready(name)
        if not is_ready:
            raise CliError(f"{name} is not ready ({reason}): a new one may serve less than it; --force restarts it")
