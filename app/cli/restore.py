"""`boltlink restore`: verifies all of a backup, then puts it in place of the database's data.

In: a file or a pipe, and the settings of this node. Out: a database with what the file holds. Nothing may work on the
database meanwhile: this node's tree is down and kept down by its lock; other nodes are seen by their leases, and what
is started later refuses to work. May import: settings, accounts, backup, links, stores, tree.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

import click
from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from app.accounts import SYSTEM, AuditLog
from app.backup import (
    LEASE,
    Contents,
    DamagedError,
    Load,
    LoadError,
    NewerError,
    Unfinished,
    abandon,
    find_unfinished,
    is_empty,
    spool,
    working_programs,
)
from app.cli.backup import describe, verify_with_progress
from app.cli.engines import engines_up
from app.cli.errors import CliError
from app.cli.progress import Progress, count
from app.cli.talk import YES, confirm, heed_sigterm
from app.lifeline import take_lock
from app.links import LinkCache
from app.observe import reason_of
from app.process import node_id
from app.settings import Settings
from app.stores import (
    SCHEMA_VERSION,
    Database,
    Lease,
    LeaseLostError,
    PlaceError,
    Session,
    make_private_folder,
    mongodb_url,
    open_mongodb,
    open_redis,
    redis_url,
)
from app.tree import Tree

__all__ = ["restore"]

CALL_S = 3_600.0  # indexes of a hundred million documents
LEASES_END_S = 12.0  # a killed program's lease, and a little
STEP_S = 0.5
SETTLE_S = 2.0  # a program that was started just before has its lease by then, or has seen that it may not work


@click.command(epilog="Example: boltlink restore --replace boltlink.backup")
@click.argument("file", required=False)
@click.option("--replace", is_flag=True, help="Also when the database holds data, all of which is then gone.")
@click.option(
    "--abandon", "is_abandoned", is_flag=True, help="Give up an unfinished restore that replaced nothing yet."
)
@YES
def restore(file: str | None, replace: bool, is_abandoned: bool, is_sure: bool) -> None:
    """Put the backup FILE, or one from a pipe (-), into the database, in place of whatever it holds.

    Everything must be down: `boltlink down`, on every node. A damaged file, or one of a newer release, changes nothing.
    A restore that was killed goes on when it is run again.
    """
    if (file is None) != is_abandoned:
        raise click.UsageError("Name a FILE, or say --abandon.")
    heed_sigterm()
    tree = Tree(Settings.from_environ(os.environ))
    try:
        with _tree_kept_down(tree):
            if file is None:
                with engines_up(tree, ["mongod"]):
                    asyncio.run(_abandon(tree))
                return
            with _opened(file, tree.settings.state_dir) as source:
                contents = _verified(file, source)
                source.seek(0)
                with engines_up(tree, ["mongod", "redis"]):
                    name = file if file == "-" else str(Path(file).absolute())
                    asyncio.run(_restore(tree, name, source, contents, may_replace=replace, is_sure=is_sure))
    except KeyboardInterrupt:
        raise CliError("interrupted; run it again to go on, if it had begun") from None
    except (LoadError, DamagedError, LeaseLostError) as error:
        raise CliError(f"{error}; what was begun goes on when it is run again") from error
    except PyMongoError as error:
        raise CliError(f"MongoDB: {reason_of(error)}; run it again to go on") from error
    except RedisError as error:
        raise CliError(f"Redis: {error}; run it again to tell the caches") from error


@contextmanager
def _tree_kept_down(tree: Tree) -> Iterator[None]:
    try:
        make_private_folder(tree.settings.state_dir)
    except PlaceError as error:
        raise CliError(str(error)) from error
    lock = take_lock(tree.settings.state_dir / "up.lock")
    if lock is None:
        raise CliError(f"it runs on {tree.settings.state_dir}: boltlink down, on every node, then restore")
    try:
        yield
    finally:
        os.close(lock)


@contextmanager
def _opened(name: str, state: Path) -> Iterator[BinaryIO]:
    """The file, or the whole of a pipe, which can be read once only."""
    try:
        with spool(sys.stdin.buffer, state) if name == "-" else open(name, "rb") as source:
            yield source
    except FileNotFoundError as error:
        raise CliError(f"{name}: {error.strerror}") from error


def _verified(name: str, source: BinaryIO) -> Contents:
    try:
        contents = verify_with_progress(source)
        if contents.head.schema > SCHEMA_VERSION:
            raise NewerError("schema", contents.head.schema, SCHEMA_VERSION)
    except (DamagedError, NewerError) as error:
        raise CliError(f"{name}: {error}; nothing was changed") from error
    click.echo(f"{name}: whole. {describe(contents)}", err=True)
    return contents


async def _restore(
    tree: Tree, name: str, source: BinaryIO, contents: Contents, *, may_replace: bool, is_sure: bool
) -> None:
    database = open_mongodb(mongodb_url(tree.settings), call_s=CALL_S)
    client = open_redis(redis_url(tree.settings))
    lease = Lease(database, LEASE, holder=f"{node_id(tree.settings.state_dir)}/restore", monotonic=time.monotonic)
    try:
        unfinished = await find_unfinished(database)
        await _refuse_what_runs(database)
        goes_on = unfinished is not None and unfinished.name == contents.name
        if not goes_on and not may_replace and not await is_empty(database):
            raise CliError("the database is not empty: --replace takes away all that it holds; nothing was changed")
        confirm(_question(database, unfinished, contents), is_sure)
        if not await lease.acquire():
            raise CliError("another restore into this database is under way; nothing was changed")
        with Progress("restore", "blocks", contents.blocks) as progress:
            load = Load(
                database,
                LinkCache(client),
                lease,
                contents=contents,
                file=source,
                path=name,
                on_progress=progress.update,
                write_note=partial(_note, database, contents),
            )
            await load.begin(int(time.time() * 1000))
            if unfinished is None:
                await asyncio.sleep(SETTLE_S)
                try:
                    await _refuse_what_runs(database)
                except CliError:
                    await abandon(database)
                    raise
            began_s = time.monotonic()
            await load.run()
        await lease.release()
        took_s = time.monotonic() - began_s
        click.echo(
            f"restored {count(sum(contents.documents), 'document')} in {took_s:.1f} s; now: boltlink up", err=True
        )
    finally:
        await client.aclose()
        await database.client.close()


async def _note(database: Database, contents: Contents, session: Session) -> None:
    """What the audit log says of it: of which moment the data is now."""
    audit = AuditLog(database, now_s=time.time, token_bytes=secrets.token_bytes)
    moment = datetime.fromtimestamp(contents.head.moment_s, UTC).isoformat(timespec="seconds")
    new = {"moment": moment, "documents": sum(contents.documents), "clicks": contents.head.has_clicks}
    await audit.write([audit.note(SYSTEM, "database.restore", f"database:{database.name}", new=new)], session)


async def _abandon(tree: Tree) -> None:
    database = open_mongodb(mongodb_url(tree.settings))
    try:
        unfinished = await find_unfinished(database)
        if unfinished is None:
            raise CliError("no restore is unfinished")
        await abandon(database)
        click.echo(f"gave up restoring {unfinished.file}; the data is what it was before", err=True)
    except LoadError as error:
        raise CliError(str(error)) from error
    finally:
        await database.client.close()


async def _refuse_what_runs(database: Database) -> None:
    """Waits for leases of programs that were killed to run out."""
    deadline = time.monotonic() + LEASES_END_S
    while programs := await working_programs(database):
        if time.monotonic() > deadline:
            shown = ", ".join(programs)
            raise CliError(
                f"programs work on this database ({shown}): boltlink down, on every node; nothing was changed"
            )
        await asyncio.sleep(STEP_S)


def _question(database: Database, unfinished: Unfinished | None, contents: Contents) -> str:
    if unfinished is not None and unfinished.name == contents.name:
        return f"Go on restoring into {database.name} ({unfinished.blocks} of {contents.blocks} blocks are done)?"
    return f"Put it in place of everything that the database {database.name} holds?"
