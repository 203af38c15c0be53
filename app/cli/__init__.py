"""The `boltlink` command: one module per command group, loaded when its command is asked for.

In: arguments and the environment. Out: exit status 0 when done, 1 when it failed with one clear line on stderr, 2 for
wrong usage or a wrong setting. May import: every room but front, api, redirect and main.
"""

from __future__ import annotations

import importlib
import sys
from io import TextIOWrapper
from typing import NoReturn

import click

from app.cli.errors import CliError
from app.cli.plain import plain
from app.settings import SettingsError

__all__ = ["COMMANDS", "cli", "main"]

#: Command -> where it is. Kept as text, so that `boltlink status` loads no more than it needs.
COMMANDS = {
    "up": "app.cli.up:up",
    "down": "app.cli.processes:down",
    "status": "app.cli.processes:status",
    "reload": "app.cli.reload:reload",
    "monit": "app.cli.monit:monit",
    "doctor": "app.cli.doctor:doctor",
    "logs": "app.cli.logs:logs",
    "shorten": "app.cli.links:shorten",
    "links": "app.cli.links:links",
    "qr": "app.cli.qr:qr",
    "import": "app.cli.imports:import_links",
    "export": "app.cli.exports:export",
    "stats": "app.cli.stats:stats",
    "live": "app.cli.live:live",
    "erase": "app.cli.stats:erase",
    "domains": "app.cli.domains:domains",
    "tags": "app.cli.tags:tags",
    "keys": "app.cli.keys:keys",
    "users": "app.cli.users:users",
    "webhooks": "app.cli.webhooks:webhooks",
    "jobs": "app.cli.jobs:jobs",
    "journal": "app.cli.drain:journal",
    "audit": "app.cli.audit:audit",
    "backup": "app.cli.backup:backup",
    "restore": "app.cli.restore:restore",
    "completion": "app.cli.completion:completion",
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name; None when there is none."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: boltlink shorten https://example.com/",
)
@click.version_option(package_name="boltlink", prog_name="boltlink")
def cli() -> None:
    """BoltLink: a URL shortener for people who run their own machines."""


def main() -> None:
    """The console script: a failure is one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # what a terminal of another encoding cannot show
    try:
        cli(prog_name="boltlink")
    except SettingsError as error:
        _fail(str(error), 2)
    except CliError as error:
        _fail(str(error), 1)
    except UnicodeEncodeError as error:  # an argument, a variable or a line of stdin
        _fail(f"{error.object[:60]!r} is no text that can be sent: {error.reason}", 1)
    except OSError as error:  # such as another user's state folder
        _fail(f"{error.filename}: {error.strerror}" if error.filename else (error.strerror or str(error)), 1)


def _fail(reason: str, status: int) -> NoReturn:
    click.echo(f"boltlink: {plain(reason)}", err=True)
    sys.exit(status)
