"""`boltlink import`: links from a file of JSON lines or CSV, a thousand in a request.

    FILE.progress       rows done, so that a run that was cut off goes on there
    FILE.errors.jsonl   {"row", "errors", "given"} of each row that was refused; mode 0600, as a row may hold a password

A batch is cut by its rows alone and sent with an `Idempotency-Key` of its own, so a batch whose answer was lost is sent
again and makes nothing twice. What is away or busy is waited for, AGAIN_S in all. May import: cli.client, cli.rows.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any

import click
from rich.console import Console
from rich.progress import Progress

from app.cli.client import Client
from app.cli.errors import AwayError, CliError, RefusedError
from app.cli.resume import Bookmark
from app.cli.rows import FORMATS, WISHED, HeaderError, RowError, batches, format_of, read_rows
from app.cli.talk import JSON, say

__all__ = ["import_links"]

AGAIN_S = (0.5, 1, 2, 5, 10, 20, 30)
MARK_BYTES = 65_536


@dataclass(slots=True)
class _Standing:
    """How far it is; `mark` is of the file, `id` of all runs together."""

    id: str
    mark: str
    rows: int = 0
    made: int = 0
    refused: int = 0
    error_bytes: int = 0


class Renamed(click.ParamType[tuple[str, str]]):
    """`COLUMN=FIELD`."""

    name = "column=field"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """The column, and its field or nothing."""
        column, sign, field = value.rpartition("=")
        if not sign or (field and field not in WISHED):
            self.fail(f"{value!r} is not COLUMN=FIELD with one of {', '.join(WISHED)}, or COLUMN=")
        return column, field


@click.command("import", epilog="Example: boltlink import links.csv --dry-run")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--format", "kind", type=click.Choice(FORMATS), help="By default as FILE's name ends.")
@click.option(
    "--map",
    "names",
    multiple=True,
    type=Renamed(),
    help="What a column of a CSV is here, such as url=target; with nothing behind =, it is left out.",
)
@click.option("--errors", type=click.Path(path_type=Path, dir_okay=False), help="Instead of FILE.errors.jsonl.")
@click.option("--dry-run", is_flag=True, help="Only read every row, and say which are none.")
@click.option("--restart", is_flag=True, help="Begin at the first row, whatever an interrupted run did.")
@JSON
def import_links(
    file: Path,
    kind: str | None,
    names: tuple[tuple[str, str], ...],
    errors: Path | None,
    dry_run: bool,
    restart: bool,
    as_json: bool,
) -> None:
    """Make the links of FILE (- for stdin). Exit status 1 when rows were refused; they stand in FILE.errors.jsonl.

    Run again after an interruption, it goes on where it was.
    """
    is_stdin = str(file) == "-"
    found = format_of(file.name, kind)
    if found is None:
        raise click.UsageError("give --format: the name of the file does not say it")
    if names and found != "csv":
        raise click.UsageError("--map is for columns of a CSV")
    refused = errors or Path("import.errors.jsonl" if is_stdin else f"{file}.errors.jsonl")
    bookmark = Bookmark(None if is_stdin or dry_run else file)
    standing = _begin(file, is_stdin, bookmark, restart)
    client = None if dry_run else Client()
    try:
        with _open(file) as rows, _open_privately(refused) as told:
            told.truncate(standing.error_bytes)
            bookmark.keep(asdict(standing))  # before anything is sent: the first batch is sent again under its key, too
            _run(read_rows(rows, found, dict(names)), rows, told, bookmark, standing, client)
    except HeaderError as error:
        bookmark.end()
        raise CliError(f"{file}: {error}") from error
    except KeyboardInterrupt:
        again = "" if bookmark.path is None else "; run it again to go on there"
        raise CliError(f"interrupted behind row {standing.rows}{again}") from None
    finally:
        if not standing.refused:
            refused.unlink(missing_ok=True)
    bookmark.end()
    say(as_json, asdict(standing), f"{standing.rows} rows, {standing.made} made, {standing.refused} refused")
    if standing.refused:
        raise CliError(f"{standing.refused} of {standing.rows} rows were refused; see {refused}")


def _open(file: Path) -> AbstractContextManager[IO[str]]:
    return click.open_file(str(file), encoding="utf-8-sig", errors="replace")


def _open_privately(path: Path) -> IO[bytes]:
    """A file for this user alone, also when it was there with another mode."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "a+b")


def _begin(file: Path, is_stdin: bool, bookmark: Bookmark, restart: bool) -> _Standing:
    mark = ""
    if not is_stdin:
        with file.open("rb") as rows:
            mark = f"{os.fstat(rows.fileno()).st_size}-{hashlib.sha256(rows.read(MARK_BYTES)).hexdigest()[:16]}"
    kept = None if restart else bookmark.read()
    if kept is None:
        return _Standing(secrets.token_hex(8), mark)
    standing = _Standing(**kept)
    if standing.mark != mark:
        raise CliError(f"{file} is not what it was when it was begun: --restart begins at its first row")
    click.echo(f"{file}: goes on behind row {standing.rows}", err=True)
    return standing


def _run(
    read: Iterator[dict[str, Any] | RowError],
    file: IO[str],
    told: IO[bytes],
    bookmark: Bookmark,
    standing: _Standing,
    client: Client | None,
) -> None:
    console = Console(stderr=True)
    size = os.fstat(file.fileno()).st_size or None if file is not sys.stdin else None
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("rows", total=size)
        for number, batch in batches(read, standing.rows):
            results = (
                _send(client, batch, f"import-{standing.id}-{number}") if client is not None else [None] * len(batch)
            )
            for offset, (row, result) in enumerate(zip(batch, results, strict=True)):
                problem = _problem(row, result)
                standing.refused += problem is not None
                standing.made += problem is None and client is not None
                if problem is not None:
                    given = {} if isinstance(row, RowError) else {"given": row}
                    line = {"row": number + offset + 1, "errors": problem, **given}
                    told.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            told.flush()
            standing.rows, standing.error_bytes = number + len(batch), told.tell()
            bookmark.keep(asdict(standing))
            bar.update(task, completed=file.buffer.tell() if size else None, description=f"{standing.rows:,} rows")  # type: ignore[attr-defined]


def _send(client: Client, batch: list[dict[str, Any] | RowError], key: str) -> list[dict[str, Any] | None]:
    """A result for each row that is one; links that were stopped where they come from are stopped here."""
    bodies = [row for row in batch if not isinstance(row, RowError)]
    links = [{name: value for name, value in body.items() if name != "state"} for body in bodies]
    found = _ask(client, "POST", {"links": links}, key) if links else []
    stopped = [
        {"slug": result["link"]["slug"], "domain": result["link"]["domain"], "state": body["state"]}
        for body, result in zip(bodies, found, strict=True)
        if result["status"] < 300 and body.get("state", "active") != "active"
    ]
    if stopped and any(result["status"] >= 300 for result in _ask(client, "PATCH", {"links": stopped}, None)):
        raise CliError("some links were made and could not be stopped; run it again to go on where it is")
    results = iter(found)
    return [None if isinstance(row, RowError) else next(results) for row in batch]


def _ask(client: Client, method: str, body: dict[str, Any], key: str | None) -> list[dict[str, Any]]:
    """Results of a batch; what is away or busy is asked again."""
    headers = {} if key is None else {"Idempotency-Key": key}
    reason: Exception | str = ""
    for pause_s in (*AGAIN_S, None):
        try:
            results: list[dict[str, Any]] = client.call(method, "/api/v1/links/batch", json=body, headers=headers)[
                "results"
            ]
            if all(result["status"] != HTTPStatus.SERVICE_UNAVAILABLE for result in results):
                return results
            reason = "a store does not answer"
        except AwayError as error:
            reason = error
        except RefusedError as error:
            if not error.is_passing and error.status != HTTPStatus.CONFLICT:  # the one before is still being made
                raise
            reason = error
        if pause_s is not None:
            time.sleep(pause_s)
    raise CliError(f"{reason}; run it again to go on where it is")


def _problem(row: dict[str, Any] | RowError, result: dict[str, Any] | None) -> list[dict[str, str]] | None:
    if isinstance(row, RowError):
        return [{"field": "", "message": str(row)}]
    if result is None or result["status"] < 300:
        return None
    problem: list[dict[str, str]] = result["errors"]
    return problem
