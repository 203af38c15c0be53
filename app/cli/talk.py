"""What commands share in speaking with people and machines: `--json`, `--yes`, questions, an end in order.

In: what a command found or did. Out: a line for people, or one JSON value for machines. Questions go to stderr, so that
stdout is what was asked for. May import: click.
"""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

import click

from app.cli.errors import CliError
from app.cli.plain import plain

__all__ = ["JSON", "YES", "ask_password", "confirm", "heed_sigterm", "say"]

JSON = click.option("--json", "as_json", is_flag=True, help="For machines.")
YES = click.option("-y", "--yes", "is_sure", is_flag=True, help="Do not ask.")


def confirm(question: str, is_sure: bool) -> None:
    """Asks before what cannot be taken back. Raises CliError where nobody can be asked, Abort when the answer is no."""
    if is_sure:
        return
    if not sys.stdin.isatty():
        raise CliError(f"{question} Nobody can be asked here: --yes does it")
    click.confirm(question, abort=True, err=True)


def say(as_json: bool, found: Any, text: str) -> None:
    """One line for people, or JSON."""
    click.echo(json.dumps(found) if as_json else plain(text))


def ask_password(*, is_new: bool) -> str:
    """A password: asked for without an echo, twice if it is new; or the next line of a pipe."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=is_new, err=True)
    return password


def heed_sigterm() -> None:
    """From now on SIGTERM ends the command as Ctrl-C does, by KeyboardInterrupt, where asyncio is told first.

    What a script starts by `&` ignores SIGINT (POSIX, XCU 2.9.3.1), and asyncio leaves that as it is. A second SIGTERM
    ends it at once: a thread that writes into a pipe which nobody reads is waited for.
    """

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGTERM, end)
