"""`boltlink logs`: what the programs of this node have written."""

from __future__ import annotations

import os
import sys
import time

import click

from app.cli.errors import CliError
from app.cli.follow import LEVELS, Follower, format_line, last_lines
from app.settings import Settings
from app.tree import Tree

__all__ = ["logs"]

STEP_S = 0.2


@click.command(epilog="Example: boltlink logs web_0 --follow --level warning")
@click.argument("program", required=False)
@click.option("-f", "--follow", "follows", is_flag=True, help="Go on with new lines until interrupted.")
@click.option("-n", "--lines", default=20, show_default=True, help="How many lines to begin with.")
@click.option("--level", type=click.Choice(LEVELS), default="info", show_default=True, help="Least severe level.")
def logs(program: str | None, follows: bool, lines: int, level: str) -> None:
    """Show the log of PROGRAM (web_0, aggregator, mongod, …), or of all."""
    folder = Tree(Settings.from_environ(os.environ)).logs
    names = [program] if program else sorted(path.stem for path in folder.glob("*.log"))
    if not names or (program and not (folder / f"{program}.log").exists()):
        raise CliError(f"no log of {program or 'anything'} in {folder}")
    is_terminal = sys.stdout.isatty()
    follower = Follower(folder, [program] if program else None)
    for name in names:
        for line in last_lines(folder / f"{name}.log", lines):
            _show(name, line, level, is_terminal)
    while follows:
        for name, line in follower.poll():
            _show(name, line, level, is_terminal)
        time.sleep(STEP_S)


def _show(program: str, line: str, level: str, is_terminal: bool) -> None:
    text = format_line(program, line, level=level, is_terminal=is_terminal)
    if text is not None:
        click.echo(text)
