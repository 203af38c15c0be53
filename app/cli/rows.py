"""Links as rows of a file: JSON lines or CSV, read and written one at a time, so memory stays flat.

    JSON lines   an object a line, as `POST /api/v1/links` takes it or as the API shows a link
    CSV          a header of field names; `tags` with commas between, `rules` and `variants` as JSON, empty: left out;
                 an apostrophe is put before what a spreadsheet would take for a formula, and taken away again

What the API shows of a link and only it can say (clicks, version, …) is left out when a row is read; a link with a
password shows only that it has one, so such a row is refused: it would lose it. Pure. May import: the standard library.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

__all__ = ["FORMATS", "WISHED", "HeaderError", "RowError", "batches", "format_of", "read_rows", "write_rows"]

T = TypeVar("T")
ROWS_MAX = 1_000
BODY_BYTES_MAX = 7 * 1024 * 1024  # of the 8 MiB that the API takes
PASSWORDS_MAX = 50

SHOWN_MAX = 100  # characters of names of columns that are none

FORMATS = ("jsonl", "csv")
_ENDINGS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv"}
WISHED = (
    *("slug", "domain", "target", "code", "starts_at", "expires_at", "max_visits", "password", "tags", "title"),
    *("notes", "forward_query", "forward_path", "rules", "variants", "state"),
)
TOLD = ("short_url", "owner", "created_at", "deleted_at", "visits", "clicks", "version", "broken", "warnings")
_JSON_FIELDS = ("rules", "variants")
_NUMBERS = ("code", "max_visits")
#: What a spreadsheet takes for a formula (OWASP, "CSV Injection"); and the mark that is put before it.
_FORMULA_BEGINS, _TEXT_MARK = ("=", "+", "-", "@", "\t", "\r"), "'"
_SWITCHES = ("forward_query", "forward_path", "password")
csv.field_size_limit(1024 * 1024)


class HeaderError(Exception):
    """A table whose first line does not say what its columns are; the text says why."""


class RowError(Exception):
    """A row that is none; the text says why."""


def format_of(name: str, given: str | None) -> str | None:
    """The format that was given or that a file's name says; None when neither does."""
    return given or _ENDINGS.get(Path(name).suffix.lower())


def read_rows(file: IO[str], kind: str, names: Mapping[str, str]) -> Iterator[dict[str, Any] | RowError]:
    """Each row as a body for the API, with `state` where it is told; or why it is none. Raises HeaderError.

    Args:
        names: of columns of a CSV that are called otherwise: the field's, "" for one that is left out.
    """
    source: Iterable[Any] = _csv_rows(file, names) if kind == "csv" else (line for line in file if line.strip())
    for given in source:
        if isinstance(given, RowError):
            yield given
            continue
        try:
            row = _from_csv(given) if kind == "csv" else json.loads(given)
            yield _body_of(row)
        except RowError as error:
            yield error
        except (ValueError, RecursionError) as error:
            yield RowError(f"is no JSON: {error}")


def batches(rows: Iterable[T], begin: int = 0) -> Iterator[tuple[int, list[T]]]:
    """(number of the first row, from 0; rows) behind `begin`, cut so that the API takes it, always at the same rows."""
    batch: list[T] = []
    number = size = passwords = 0
    for index, row in enumerate(rows):
        if index < begin:
            continue
        body: Any = {} if isinstance(row, RowError) else row
        cost, secret = len(json.dumps(body)) + 2, int(isinstance(body, dict) and "password" in body)
        if batch and (len(batch) >= ROWS_MAX or size + cost > BODY_BYTES_MAX or passwords + secret > PASSWORDS_MAX):
            yield number, batch
            batch, size, passwords = [], 0, 0
        if not batch:
            number = index
        batch.append(row)
        size += cost
        passwords += secret
    if batch:
        yield number, batch


def _csv_rows(file: IO[str], names: Mapping[str, str]) -> Iterator[dict[str | None, Any] | RowError]:
    rows = csv.DictReader(file)
    _check_header(rows, names)
    while True:
        try:
            yield next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield RowError(f"is no CSV: {error}")


def _check_header(rows: csv.DictReader[str], names: Mapping[str, str]) -> None:
    """Raises HeaderError: each row would be refused for it, or the first link be taken for names of columns."""
    try:
        rows.fieldnames = [names.get(name, name) for name in rows.fieldnames or ()]
    except csv.Error as error:
        raise HeaderError(f"the first line is no CSV: {error}") from error
    named = [name for name in rows.fieldnames if name]
    if unknown := [name for name in named if name not in WISHED and name not in TOLD]:
        wrong = f"{', '.join(unknown)[:SHOWN_MAX]} is none; --map says what it is"
    elif twice := [name for name in WISHED if named.count(name) > 1]:
        wrong = f"{', '.join(twice)} is there more than once"
    elif "target" not in named:
        wrong = "target is missing"
    else:
        return
    raise HeaderError(f"the first line has to name the columns ({', '.join(WISHED)}): {wrong}")


def write_rows(file: IO[str], kind: str, links: Iterable[dict[str, Any]], *, is_first: bool) -> None:
    """Links as the API shows them; `is_first` writes the header of a CSV."""
    if kind == "jsonl":
        file.writelines(json.dumps(link, ensure_ascii=False) + "\n" for link in links)
        return
    names = [*WISHED, *(name for name in TOLD if name not in ("warnings", "deleted_at"))]
    writer = csv.DictWriter(file, names, restval="", extrasaction="ignore", lineterminator="\n")
    if is_first:
        writer.writeheader()
    writer.writerows(_to_csv(link) for link in links)


def _body_of(row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise RowError("is no object")
    body = {name: value for name, value in row.items() if name not in TOLD and value is not None}
    if unknown := sorted(set(body) - set(WISHED)):
        raise RowError(f"has unknown fields: {', '.join(map(str, unknown))}")
    if not isinstance(body.get("target"), str):
        raise RowError("has no target")
    if body.get("password") is True:
        raise RowError("has a password, which no export holds: put it in the row")
    if body.get("password") is False:
        del body["password"]
    if not body.get("domain"):
        body.pop("domain", None)
    return body


def _from_csv(row: dict[str | None, Any]) -> dict[str, Any]:
    if None in row:
        raise RowError("has more fields than the header")
    found: dict[str, Any] = {name: _unmarked(text) for name, text in row.items() if name and text}
    for name in _JSON_FIELDS:
        if name in found:
            found[name] = json.loads(found[name])
    for name in _NUMBERS:
        if name in found:
            try:
                found[name] = int(found[name])
            except ValueError:
                raise RowError(f"{name} {found[name]!r} is no whole number") from None
    for name in _SWITCHES:
        if name in found and found[name].lower() in ("true", "false"):
            found[name] = found[name].lower() == "true"
    if "tags" in found:
        found["tags"] = [tag.strip() for tag in found["tags"].split(",") if tag.strip()]
    return found


def _to_csv(link: dict[str, Any]) -> dict[str, Any]:
    row = dict(link)
    row["tags"] = ",".join(link["tags"])
    for name in _JSON_FIELDS:
        row[name] = json.dumps(link[name]) if link[name] else ""
    row["broken"] = json.dumps(link["broken"]) if link.get("broken") else ""
    for name in _SWITCHES:
        row[name] = "true" if link[name] else "false"
    return {name: _marked(value) if isinstance(value, str) else value for name, value in row.items()}


def _marked(text: str) -> str:
    return _TEXT_MARK + text if text.startswith((*_FORMULA_BEGINS, _TEXT_MARK)) else text


def _unmarked(text: str) -> str:
    is_marked = text.startswith(_TEXT_MARK) and text[1:].startswith((*_FORMULA_BEGINS, _TEXT_MARK))
    return text[1:] if is_marked else text
