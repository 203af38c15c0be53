"""`boltlink audit`: compares answers that a client really received with what the statistics say.

In: a file of JSON lines, one for each link or for each answer, as the client noted them; lines of a link add up.

    {"slug": "abc"}                                                     one redirect was received
    {"slug": "abc", "at": "2026-11-24T10:00:00.5Z"}                     and when: a time with its zone, or Unix seconds
    {"slug": "abc", "domain": "go.example.org", "received": 120, "unanswered": 2, "at": …}

`received` are redirects of GET that came whole; `unanswered` such requests that were sent and whose answer never came,
which may or may not have been counted. So for each link, and in total:

    received <= counted <= received + unanswered        less: lost; more: counted twice, or asked for by others

Counted are clicks of people, bots, link previews and prefetches. Statistics must first reach the file's last `at`.
Out: what is lost or doubled, and exit status 1 if anything is. May import: settings, cli.client.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.table import Table

from app.cli.client import Client, path_of
from app.cli.errors import CliError
from app.cli.plain import PlainConsole, show_table
from app.cli.talk import JSON

__all__ = ["Audit", "Expected", "Found", "audit", "compare", "read_expected"]

REACH_LIMIT_S = 60.0
STEP_S = 0.2
SHOWN_MAX = 20
YEARS_BACK = timedelta(days=3_600)
DAYS_AHEAD = timedelta(days=40)  # a clock that was set back leaves clicks in what is now the future
_TALLIES = ("clicks", "bots", "previews", "prefetches")


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    """One line of the file."""

    slug: str
    domain: str = ""
    received: int = 1
    unanswered: int = 0
    at: datetime | float | None = None


@dataclass(slots=True)
class Expected:
    """What a client knows of one link; `at` is the time of its last answer."""

    received: int = 0
    unanswered: int = 0
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """One link compared."""

    slug: str
    domain: str
    received: int
    unanswered: int
    counted: int

    @property
    def lost(self) -> int:
        """Answers that were received and are not counted."""
        return max(0, self.received - self.counted)

    @property
    def doubled(self) -> int:
        """Clicks that are counted and that nobody can have made."""
        return max(0, self.counted - self.received - self.unanswered)


@dataclass(slots=True)
class Audit:
    """The sums, and the links that differ."""

    links: int = 0
    received: int = 0
    unanswered: int = 0
    counted: int = 0
    lost: int = 0
    doubled: int = 0
    differing: list[Found] = field(default_factory=list)


def read_expected(lines: Iterable[str]) -> dict[tuple[str, str], Expected]:
    """By (domain, slug). Raises ValueError with the number of a line that is none."""
    expected: dict[tuple[str, str], Expected] = {}
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = msgspec.json.decode(text, type=_Line)
        except msgspec.MsgspecError as error:
            raise ValueError(f"line {number}: {error}") from error
        if line.received < 0 or line.unanswered < 0:
            raise ValueError(f"line {number}: a count is negative")
        row = expected.setdefault((line.domain, line.slug), Expected())
        row.received += line.received
        row.unanswered += line.unanswered
        row.at = max((at for at in (row.at, _moment(line.at, number)) if at is not None), default=None)
    return expected


def _moment(at: datetime | float | None, number: int) -> datetime | None:
    if isinstance(at, float):
        try:
            return datetime.fromtimestamp(at, UTC)
        except (ValueError, OverflowError, OSError) as error:
            raise ValueError(f"line {number}: `at` is no time: {error}") from error
    if at is not None and at.tzinfo is None:
        raise ValueError(f"line {number}: `at` has no time zone")
    return at


def compare(rows: Iterable[Found]) -> Audit:
    """Sums up; a link too few is not made up for by another one too many."""
    result = Audit()
    for row in rows:
        result.links += 1
        result.received += row.received
        result.unanswered += row.unanswered
        result.counted += row.counted
        result.lost += row.lost
        result.doubled += row.doubled
        if row.lost or row.doubled:
            result.differing.append(row)
    return result


@click.command(epilog="Example: boltlink audit --expect received.jsonl")
@click.option("--expect", "path", type=click.Path(path_type=Path), required=True, help="JSON lines; - for stdin.")
@click.option("--limit", "limit_s", default=REACH_LIMIT_S, show_default=True, help="Seconds to wait for statistics.")
@JSON
def audit(path: Path, limit_s: float, as_json: bool) -> None:
    """Compare redirects that a client received with the statistics. Exit status 1 if any is lost or doubled."""
    expected = _read(path)
    client = Client()
    reach = max((row.at for row in expected.values() if row.at is not None), default=None)
    deadline = time.monotonic() + limit_s
    rows = []
    for (domain, slug), row in expected.items():
        stats = _stats(client, domain, slug)
        while reach is not None and not _reaches(stats, reach):
            if time.monotonic() > deadline:
                raise CliError(
                    f"statistics reach {stats['as_of']}, the file {reach.isoformat()}; see: boltlink logs aggregator"
                )
            time.sleep(STEP_S)
            stats = _stats(client, domain, slug)
        counted = sum(stats[name] for name in _TALLIES)
        rows.append(Found(slug, domain, row.received, row.unanswered, counted))
    result = compare(rows)
    if as_json:
        click.echo(json.dumps(asdict(result)))
    else:
        _show(result)
    if result.lost or result.doubled:
        raise CliError(f"{result.lost} lost, {result.doubled} doubled")


def _read(path: Path) -> dict[tuple[str, str], Expected]:
    try:
        with click.open_file(str(path), encoding="utf-8") as lines:
            return read_expected(lines)
    except OSError as error:
        raise CliError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise CliError(f"{path}: {error}") from error


def _stats(client: Client, domain: str, slug: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    since = (now - YEARS_BACK).replace(hour=0, minute=0, second=0, microsecond=0)  # old ones are kept by quarters
    wanted = {"unit": "month", "from": since.isoformat(), "to": (now + DAYS_AHEAD).isoformat()}
    if domain:
        wanted["domain"] = domain
    try:
        found: dict[str, Any] = client.call("GET", path_of("links", slug) + "/stats", params=wanted)
    except CliError as error:
        raise CliError(f"{slug}: {error}") from error
    return found


def _reaches(stats: dict[str, Any], moment: datetime) -> bool:
    return stats["as_of"] is not None and datetime.fromisoformat(stats["as_of"]) > moment


def _show(result: Audit) -> None:
    console = PlainConsole()
    console.print(
        f"{result.links} links  {result.received} received  {result.unanswered} unanswered  {result.counted} counted  "
        f"{result.lost} lost  {result.doubled} doubled"
    )
    if not result.differing:
        return
    table = Table("link", "received", "unanswered", "counted", "lost", "doubled", box=None, pad_edge=False)
    for row in result.differing[:SHOWN_MAX]:
        name = f"{row.domain}/{row.slug}" if row.domain else row.slug
        table.add_row(name, *(str(n) for n in (row.received, row.unanswered, row.counted, row.lost, row.doubled)))
    show_table(table)
    if len(result.differing) > SHOWN_MAX:
        console.print(f"… and {len(result.differing) - SHOWN_MAX} more")
