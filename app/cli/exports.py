"""`boltlink export`: all links, or some, into a file of JSON lines or CSV, page by page.

Killed, it is begun again where it was: `FILE.progress` holds the cursor and how long the file was. Links that come or
go meanwhile are in it or not, none twice. May import: cli.client, cli.rows.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import IO, Any

import click
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from app.cli.client import Client
from app.cli.fields import filters_of
from app.cli.resume import Bookmark
from app.cli.rows import FORMATS, format_of, write_rows
from app.cli.talk import YES, confirm

__all__ = ["export"]

PAGE = 500
Standing = dict[str, Any]


@click.command(epilog="Example: boltlink export links.csv --tag spring")
@click.argument("file", default="-", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--format", "kind", type=click.Choice(FORMATS), help="By default as FILE's name ends; jsonl on stdout.")
@click.option("--tag", default="", help="Only links with this tag.")
@click.option("--owner", default="", help="Only links of this owner.")
@click.option("--domain", help="Only links of this domain.")
@click.option("--state", type=click.Choice(("active", "disabled", "banned")), help="Only links in this state.")
@click.option("--broken", is_flag=True, help="Only links whose page is gone.")
@YES
def export(file: Path, kind: str | None, is_sure: bool, **wanted: Any) -> None:
    """Write links to FILE, the oldest first; run again after an interruption, it goes on where it was."""
    given = filters_of(wanted)
    if str(file) == "-":
        with open(sys.stdout.fileno(), "w", encoding="utf-8", newline="", closefd=False) as out:
            _export(out, kind or "jsonl", given, Bookmark(None), {"cursor": "", "links": 0})
        return
    found = format_of(file.name, kind)
    if found is None:
        raise click.UsageError(f"{file} ends in none of .jsonl, .csv: give --format")
    bookmark = Bookmark(file)
    standing = bookmark.read()
    if standing is None or standing["wanted"] != [found, given] or not file.exists():
        standing = {"cursor": "", "links": 0, "bytes": 0}
        if file.exists():
            confirm(f"{file} exists. Write it anew?", is_sure)
    elif standing["links"]:
        click.echo(f"{file}: goes on behind {standing['links']} links", err=True)
    standing["wanted"] = [found, given]
    with file.open("a", encoding="utf-8", newline="") as out:
        out.truncate(standing["bytes"])
        _export(out, found, given, bookmark, standing)
    bookmark.end()


def _export(out: IO[str], kind: str, given: dict[str, str], bookmark: Bookmark, standing: Standing) -> None:
    client = Client()
    with _bar() as (bar, task):
        while True:
            query = {**given, "sort": "created", "limit": str(PAGE), "cursor": standing["cursor"]}
            page = client.call("GET", "/api/v1/links", params={k: v for k, v in query.items() if v or k == "domain"})
            write_rows(out, kind, page["items"], is_first=not standing["links"])
            out.flush()
            standing["links"] += len(page["items"])
            standing["cursor"] = page["next_cursor"]
            bar.update(task, description=f"{standing['links']:,} links")
            if page["next_cursor"] is None:
                break
            if bookmark.path is not None:
                os.fsync(out.fileno())
                standing["bytes"] = os.fstat(out.fileno()).st_size
                bookmark.keep(standing)
    if bookmark.path is not None:
        click.echo(f"{standing['links']} links")


@contextlib.contextmanager
def _bar() -> Any:
    """How far it is, on a terminal only."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"), TimeElapsedColumn(), console=console, disable=not console.is_terminal
    ) as bar:
        yield bar, bar.add_task("0 links", total=None)
