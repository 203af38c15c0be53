"""The `boltlink` command: one module per command group, loaded when its command is asked for.

In: arguments and the environment. Out: exit status 0 when done, 1 when it failed with one clear line on stderr, 2 for
wrong usage or a wrong setting. May import: every room but front, api, redirect and main.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from app.settings import Settings, SettingsError

__all__ = ["COMMANDS", "CliError", "cli", "load_settings", "main"]

#: Command -> where it is. Kept as text, so that `boltlink status` loads no more than it needs.
COMMANDS = {
    "up": "app.cli.processes:up",
    "down": "app.cli.processes:down",
    "status": "app.cli.processes:status",
    "logs": "app.cli.processes:logs",
}


class CliError(click.ClickException):
    """A command that failed: one line for stderr, exit status 1."""

    def show(self, file: Any = None) -> None:
        """Writes the line."""
        click.echo(f"boltlink: {self.message}", file=file or sys.stderr)


class WrongSettingError(CliError):
    """A `BOLTLINK_*` variable that cannot be used: exit status 2."""

    exit_code = 2


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


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="boltlink", prog_name="boltlink")
def cli() -> None:
    """BoltLink: a URL shortener for people who run their own machines."""


def load_settings() -> Settings:
    """The settings of this environment.

    Raises:
        WrongSettingError: a variable cannot be used.
    """
    try:
        return Settings.from_environ(os.environ)
    except SettingsError as error:
        raise WrongSettingError(str(error)) from error


def main() -> None:
    """The console script."""
    cli(prog_name="boltlink")
