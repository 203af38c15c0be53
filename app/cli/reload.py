"""`boltlink reload`: new code and new settings, without an unanswered request."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

import click

from app.cli.errors import CliError
from app.rolling import BusyError, RestartError, only_one, restart
from app.settings import Settings
from app.tree import Tree

__all__ = ["programs_in_order", "reload"]

BUSY_S = 120.0  # as long as the watch over memory may take with one program
STEP_S = 0.2


@click.command(epilog="Example: boltlink reload web_0 web_1")
@click.argument("programs", nargs=-1)
@click.option("--force", is_flag=True, help="Also when web processes are not ready now.")
@click.option("--json", "as_json", is_flag=True, help="For machines: one line for each program.")
def reload(programs: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Restart PROGRAMS, by default all web processes and workers, one after another, each when the last one serves.

    Redirects go on meanwhile, and the engines are left alone. Stops at the first program that does not come up, and
    when it is interrupted, or its terminal is gone, after the one whose turn it is.
    """
    tree = Tree(Settings.from_environ(os.environ)).as_started()
    running = tree.processes()
    if running is None:
        raise CliError(f"not running on {tree.settings.state_dir}; start it with: boltlink up")
    _refuse_what_needs_a_start(tree, running)
    names = list(programs) or programs_in_order(tree, [info["name"] for info in running])
    unknown = set(names) - {info["name"] for info in running}
    if unknown:
        raise CliError(f"no program {', '.join(sorted(unknown))} in this tree; see: boltlink status")
    if not force:
        _refuse_what_would_not_serve(tree)
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
    """Signals of now on, which do not end this: what was stopped and not started again would stay so."""
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


def programs_in_order(tree: Tree, running: list[str]) -> list[str]:
    """Web processes first, then workers; engines never."""
    others = set(running) - set(tree.web_names) - set(tree.engines)
    return [*tree.web_names, *sorted(others)]


def _refuse_what_needs_a_start(tree: Tree, running: list[dict[str, Any]]) -> None:
    """Which programs there are is decided when supervisord starts."""
    expected = {*tree.web_names, *tree.engines, *tree.worker_names}
    found = {info["name"] for info in running} - {"memmon"}
    if expected != found:
        changed = ", ".join(sorted(expected ^ found))
        raise CliError(f"settings that change which programs there are ({changed}) need: boltlink down, boltlink up")


def _refuse_what_would_not_serve(tree: Tree) -> None:
    """A new process begins with an empty memory: while stores are away it could answer less than the old one."""
    for name in tree.web_names:
        is_ready, reason = tree.ready(name)
        if not is_ready:
            raise CliError(f"{name} is not ready ({reason}): a new one may serve less than it; --force restarts it")
