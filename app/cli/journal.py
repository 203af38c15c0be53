"""`boltlink journal inspect`: the click journals of this node as they are on disk, and how far MongoDB has them.

In: `<state>/journal`, read as the aggregator reads it and not changed, and the checkpoints. Out: one row a source. When
MongoDB does not answer, `applied` is unknown and everything on disk counts as waiting.
May import: settings, journal, analytics, stores.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping
from typing import Any

import click
from pymongo.errors import PyMongoError
from rich.table import Column, Table

from app.analytics import Ledger
from app.cli.errors import CliError
from app.cli.plain import show_table
from app.cli.talk import JSON
from app.journal import DAMAGE_WAIT_READS, Reader, Source, list_sources
from app.settings import Settings
from app.stores import mongodb_url, open_mongodb
from app.tree import Tree

__all__ = ["applied_positions", "describe_source", "journal", "sources_of"]

COLUMNS = ("source", "writer", "segments", "end", "applied", "waiting", "lag_s", "damaged", "given_up")


@click.group(epilog="Example: boltlink journal inspect")
def journal() -> None:
    """Look at the click journals."""


@journal.command("inspect", epilog="Example: boltlink journal inspect --json")
@JSON
def inspect(as_json: bool) -> None:
    """Show each source: its writer, positions, records that wait to be applied, their lag, and damage."""
    settings = Tree(Settings.from_environ(os.environ)).as_started().settings
    sources = sources_of(settings)
    applied = asyncio.run(applied_positions(settings, sources))
    rows = [describe_source(source, applied) for source in sources]
    if as_json:
        click.echo(json.dumps(rows))
        return
    name, *others = COLUMNS
    table = Table(Column(name, overflow="fold"), *others, box=None, pad_edge=False)  # a name is a folder's
    for row in rows:
        table.add_row(*("?" if row[name] is None else str(row[name]) for name in COLUMNS))
    show_table(table)


def sources_of(settings: Settings) -> list[Source]:
    """The sources of this node. Raises CliError where there never was a journal."""
    folder = settings.state_dir / "journal"
    if not folder.is_dir():
        raise CliError(f"no journal in {settings.state_dir}: is that BOLTLINK_STATE_DIR?")
    return list_sources(folder)


async def applied_positions(settings: Settings, sources: list[Source]) -> Mapping[str, int] | None:
    """The position up to which each source is applied; None when MongoDB does not answer."""
    if not sources:
        return {}
    database = open_mongodb(mongodb_url(settings))
    try:
        found = await Ledger(database, "").checkpoints(source.name for source in sources)
        return {name: checkpoint.applied for name, checkpoint in found.items()}
    except PyMongoError:
        return None
    finally:
        await database.client.close()


def describe_source(source: Source, applied: Mapping[str, int] | None) -> dict[str, Any]:
    """Reads a source from its first segment on, without changing anything."""
    segments = source.segments()
    reader = Reader(source, 0)
    if segments:
        reader.position = segments[0] * reader.segment_bytes
    begin = 0 if applied is None else applied[source.name]
    waiting, oldest_ms, empty_reads = 0, None, 0
    while empty_reads <= (DAMAGE_WAIT_READS if reader.is_torn else 0):
        before = reader.position
        found = [record for record in reader.read_raw() if record[0] >= begin]
        empty_reads = 0 if reader.position != before else empty_reads + 1
        waiting += len(found)
        oldest_ms = found[0][1] if found and oldest_ms is None else oldest_ms
    reader.close()
    return {
        "source": source.name,
        "writer": "alive" if source.is_live() else "gone",
        "segments": len(segments),
        "end": reader.position,
        "applied": None if applied is None else begin,
        "waiting": waiting,
        "lag_s": 0.0 if oldest_ms is None else round(max(0.0, time.time() - oldest_ms / 1000), 3),
        "damaged": reader.damaged,
        "given_up": source.is_given_up(),
    }
