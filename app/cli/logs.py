"""`boltlink logs`: what the programs of this node have written, readable on a terminal, as it stands elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import click

from app.cli.errors import CliError
from app.cli.fields import Ago
from app.cli.follow import LEVELS, Follower, as_json, format_line, last_lines, lines_since, time_of
from app.cli.looking import find_tree

__all__ = ["logs"]

STEP_S = 0.2
_OLDEST = datetime.fromtimestamp(0, UTC)
Format = Callable[[str, str], str | None]


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names for a shell."""
    return [name for name in _names(_folder()) if name.startswith(incomplete)]


@click.command(epilog="Example: boltlink logs web_0 --follow --since 10m --level warning")
@click.argument("program", required=False, shell_complete=_complete)
@click.option("-f", "--follow", "follows", is_flag=True, help="Go on with new lines until interrupted.")
@click.option(
    "-n",
    "--lines",
    default=20,
    show_default=True,
    type=click.IntRange(min=0),
    help="How many lines of each program to begin with.",
)
@click.option("--since", type=Ago(), help="Instead: all since a time, or 30m, 12h, 7d ago; rotated files, too.")
@click.option("--level", type=click.Choice(LEVELS), default="info", show_default=True, help="Least severe level.")
@click.option("--json", "for_machines", is_flag=True, help="Every line as a JSON object, engines' too.")
def logs(
    program: str | None, follows: bool, lines: int, since: datetime | None, level: str, for_machines: bool
) -> None:
    """Show the log of PROGRAM (web_0, aggregator, mongod, access, …), or of all in the order of time."""
    folder = _folder()
    names = [program] if program else _names(folder)
    if not names or (program and not (folder / f"{program}.log").exists()):
        raise CliError(f"no log of {program or 'anything'} in {folder}")
    is_terminal = sys.stdout.isatty()

    def format_one(name: str, line: str) -> str | None:
        if for_machines:
            return as_json(name, line, level=level)
        return format_line(name, line, level=level, is_terminal=is_terminal)

    follower = Follower(folder, [program] if program else None)
    _show_past(folder, names, lines, since, format_one)
    with suppress(KeyboardInterrupt):
        while follows:
            for name, line in follower.poll():
                _show(format_one(name, line))
            time.sleep(STEP_S)
    follower.close()


def _folder() -> Path:
    return find_tree().logs


def _names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.log"))


def _show_past(folder: Path, names: list[str], count: int, since: datetime | None, format_one: Format) -> None:
    """What was there before; of one program it is not held in memory."""
    found: dict[str, Iterable[str]] = {}
    for name in names:
        path = folder / f"{name}.log"
        found[name] = last_lines(path, count) if since is None else lines_since(path, since)
    if len(names) == 1:
        for line in found[names[0]]:
            _show(format_one(names[0], line))
        return
    for _, name, line in sorted(
        chain.from_iterable(_timed(name, found[name]) for name in names), key=lambda row: row[0]
    ):
        _show(format_one(name, line))


def _timed(name: str, lines: Iterable[str]) -> list[tuple[datetime, str, str]]:
    """With the time of each line, or of the one before it."""
    at, timed = _OLDEST, []
    for line in lines:
        at = time_of(line) or at
        timed.append((at, name, line))
    return timed


def _show(text: str | None) -> None:
    if text is not None:
        click.echo(text)
