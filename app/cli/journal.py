"""`boltlink journal inspect`: the click journals of this node as they are on disk."""

from __future__ import annotations

import json
import os
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from app.journal import Reader, Source, list_sources
from app.settings import Settings

__all__ = ["journal"]

READ_STEP = 10_000


@click.group()
def journal() -> None:
    """Look at the click journals."""


@journal.command("inspect")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def inspect(as_json: bool) -> None:
    """Show each source: whether its writer lives, its segments, what they hold, and damage."""
    state = Settings.from_environ(os.environ).state_dir
    rows = [_describe(source) for source in list_sources(state / "journal")]
    if as_json:
        click.echo(json.dumps(rows))
        return
    table = Table("source", "writer", "segments", "records", "end", "damaged", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(str(row[name]) for name in ("source", "writer", "segments", "records", "end", "damaged")))
    Console().print(table)


def _describe(source: Source) -> dict[str, Any]:
    """Reads a source from its first segment on, without changing anything."""
    segments = source.segments()
    reader = Reader(source, 0)
    if segments:
        reader.position = segments[0] * reader.segment_bytes
    records = 0
    while found := reader.read(READ_STEP):
        records += len(found)
    reader.close()
    return {
        "source": source.name,
        "writer": "alive" if source.is_live() else "gone",
        "segments": len(segments),
        "records": records,
        "end": reader.position,
        "damaged": reader.damaged,
    }
