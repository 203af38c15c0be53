"""The tree that a command looks at, or ends, whatever else is wrong with the settings.

In: the environment, the settings' file, and what a running supervisord was started with. Out: a tree whose folders are
right; what else was wrong is one line on stderr, because programs end by it at their next start.
May import: settings, tree.
"""

from __future__ import annotations

import os

import click

from app.cli.plain import plain
from app.settings import Settings
from app.tree import Tree

__all__ = ["find_tree"]


def find_tree(*, as_started: bool = False) -> Tree:
    """The tree of this environment's state folder, with the settings that its programs start with where asked for.

    Raises SettingsError where it is not known which folder that is.
    """
    settings, wrong = Settings.salvage(os.environ)
    tree = Tree(settings)
    environ = tree.started_environ() if as_started else None
    if environ is not None:
        settings, also_wrong = Settings.salvage(environ)
        tree, wrong = Tree(settings), wrong + also_wrong
    said = list(dict.fromkeys(str(error) for error in wrong))
    if said:
        click.echo(f"boltlink: {plain('; '.join(said))}; this is to be mended before anything is started", err=True)
    return tree
