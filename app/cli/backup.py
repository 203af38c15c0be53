"""`boltlink backup`: the database of this node's settings, at one point in time.

In: the settings that the programs of this node start with. Out: a file or a stream. An embedded mongod is started when
nothing runs. Words for a person go to stderr, so that a pipe holds nothing but the backup.
May import: settings, backup, stores, tree.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import BinaryIO

import click
from pymongo.errors import PyMongoError

from app.backup import BackupFile, Contents, DamagedError, Dump, MomentLostError, NewerError, TargetError, verify
from app.cli.engines import engines_up
from app.cli.errors import CliError
from app.cli.progress import Progress, count, size
from app.cli.talk import heed_sigterm
from app.observe import reason_of
from app.settings import Settings
from app.stores import HalfRestoredError, SchemaError, mongodb_url, open_mongodb
from app.stores.embedded import ENGINES
from app.tree import Tree

__all__ = ["backup", "describe", "verify_with_progress"]


@click.command(epilog="Example: boltlink backup boltlink.backup")
@click.argument("file")
@click.option("--no-clicks", is_flag=True, help="Leave statistics out: links, users, keys and settings only.")
@click.option("--verify", "only_verify", is_flag=True, help="Read FILE to its end and say what it holds.")
def backup(file: str, no_clicks: bool, only_verify: bool) -> None:
    """Write everything that MongoDB holds, as of one moment, to FILE, or to a pipe (-).

    Redirects, clicks and changes go on meanwhile. FILE appears under its name when it is whole and on disk. It holds
    hashes of keys and passwords, so only its owner may read it; encrypt it where others could.
    """
    if only_verify:
        if no_clicks:
            raise click.UsageError("--verify writes nothing: leave --no-clicks out.")
        _verify(file)
        return
    heed_sigterm()
    tree = Tree(Settings.from_environ(os.environ)).as_started()
    if "mongod" in tree.engines and not (tree.settings.state_dir / ENGINES["mongod"].folder).is_dir():
        # A backup of nothing, made each night of a mistyped folder, is found out on the day that it is needed.
        raise CliError(f"no data in {tree.settings.state_dir}: is that BOLTLINK_STATE_DIR?")
    try:
        with engines_up(tree, ["mongod"] if tree.supervisor_pid() is None else []):
            if file == "-":
                if sys.stdout.isatty():
                    raise CliError("a backup is no text: name a file, or pipe it somewhere")
                said = asyncio.run(_dump(tree, sys.stdout.buffer, has_clicks=not no_clicks))
                sys.stdout.buffer.flush()
            else:
                with BackupFile(Path(file).absolute()) as target:
                    said = asyncio.run(_dump(tree, target.file, has_clicks=not no_clicks))
                    target.commit()
    except KeyboardInterrupt:
        raise CliError("interrupted; no backup was written") from None
    except BrokenPipeError:
        sys.stdout = None  # nothing can be flushed into it at the end
        raise CliError("whoever read the backup went away; it is not whole") from None
    except (MomentLostError, SchemaError, HalfRestoredError, TargetError) as error:
        raise CliError(str(error)) from error
    except PyMongoError as error:
        raise CliError(f"MongoDB: {reason_of(error)}; no backup was written") from error
    except OSError as error:
        raise CliError(f"{file}: {error.strerror or error}; no backup was written") from error
    click.echo(said, err=True)


async def _dump(tree: Tree, file: BinaryIO, *, has_clicks: bool) -> str:
    database = open_mongodb(mongodb_url(tree.settings))
    dump = Dump(database, has_clicks=has_clicks, monotonic=time.monotonic, wall=time.time)
    began_s = time.monotonic()
    try:
        await dump.open(file)
        writer = dump.writer
        assert writer is not None
        with Progress("backup", "documents", dump.expected) as progress:
            while await dump.step():
                progress.update(sum(writer.documents))
        took_s = time.monotonic() - began_s
        return (
            f"{count(sum(writer.documents), 'document')}, {size(writer.content_bytes)} in {size(writer.size_bytes)}, "
            f"{took_s:.1f} s; sha256 of its content {dump.name[:16]}"
        )
    finally:
        await dump.close()
        await database.client.close()


def _verify(name: str) -> None:
    try:
        with open(0 if name == "-" else name, "rb", closefd=name != "-") as file:
            contents = verify_with_progress(file)
    except (DamagedError, NewerError) as error:
        raise CliError(f"{name}: {error}") from error
    except OSError as error:
        raise CliError(f"{name}: {error.strerror}") from error
    click.echo(f"{name}: whole. {describe(contents)}")
    for collection, documents in zip(contents.head.collections, contents.documents, strict=True):
        click.echo(f"  {collection.name:24} {documents:>12,}")


def verify_with_progress(file: BinaryIO) -> Contents:
    """As `verify`, with how far it is on a terminal."""
    status = os.fstat(file.fileno())
    with Progress("verify", "MB", status.st_size / 1e6) as progress:
        return verify(file, lambda position: progress.update(position / 1e6))


def describe(contents: Contents) -> str:
    """One line: of when, from what, how much."""
    head = contents.head
    moment = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(head.moment_s))
    clicks = "" if head.has_clicks else ", without clicks"
    return (
        f"As of {moment}, by BoltLink {head.release}, {count(sum(contents.documents), 'document')}, "
        f"{size(contents.size_bytes)}{clicks}; sha256 of its content {contents.name[:16]}"
    )
