"""`boltlink completion`: the script that lets a shell complete commands and options.

In: the name of a shell. Out: a script for it, which asks `boltlink` itself for words, so it never grows old.
May import: click.
"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from app.cli.errors import CliError

__all__ = ["completion"]

SHELLS = ("bash", "zsh", "fish")


@click.command(epilog='Example: eval "$(boltlink completion bash)"')
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes SHELL complete commands and options; into its start file with it, see the example."""
    script_class = get_completion_class(shell)
    assert script_class is not None
    try:
        click.echo(script_class(ctx.find_root().command, {}, "boltlink", "_BOLTLINK_COMPLETE").source())
    except RuntimeError as error:  # bash says that it is too old
        raise CliError(str(error)) from error
