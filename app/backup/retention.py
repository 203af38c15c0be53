"""Which backups of a folder are kept, and what they are called. Pure.

    boltlink-20261125T225500Z.backup    the moment it shows, in UTC; other names are none of ours and stay

A rule is a count of the newest, or days, weeks and months: of each of the last so many of them that have a backup, the
newest one. The newest of all is always kept. May import: the standard library.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

__all__ = ["Keep", "backup_name", "moment_of", "parse_keep", "to_remove"]

_NAME = re.compile(r"boltlink-(\d{8}T\d{6}Z)\.backup")
_STAMP = "%Y%m%dT%H%M%SZ"
_PART = re.compile(r"(\d+)([dwm])")


@dataclass(frozen=True, slots=True)
class Keep:
    """How many to keep: of the newest, of days, of ISO weeks, of months."""

    newest: int = 1
    days: int = 0
    weeks: int = 0
    months: int = 0


def parse_keep(text: str) -> Keep:
    """`14`, or `7d 4w 12m` with any of its parts, as `app.settings` has judged it."""
    if text.isdigit():
        return Keep(newest=int(text))
    counts = {unit: int(number) for number, unit in _PART.findall(text)}
    return Keep(1, counts.get("d", 0), counts.get("w", 0), counts.get("m", 0))


def backup_name(moment: datetime) -> str:
    """The file's name for a moment."""
    return f"boltlink-{moment.astimezone(UTC).strftime(_STAMP)}.backup"


def moment_of(name: str) -> datetime | None:
    """The moment of a file; None when it is none of ours."""
    match = _NAME.fullmatch(name)
    try:
        return None if match is None else datetime.strptime(match[1], _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None


def to_remove(names: Iterable[str], keep: Keep) -> list[str]:
    """Those that no part of the rule keeps, the oldest first."""
    found = sorted(((moment, name) for name in names if (moment := moment_of(name)) is not None), reverse=True)
    kept = {name for _, name in found[: keep.newest]}
    periods: list[tuple[int, Callable[[datetime], object]]] = [
        (keep.days, lambda moment: moment.date()),
        (keep.weeks, lambda moment: moment.isocalendar()[:2]),
        (keep.months, lambda moment: (moment.year, moment.month)),
    ]
    for count, period_of in periods:
        newest: dict[object, str] = {}
        for moment, name in found:
            newest.setdefault(period_of(moment), name)
        kept.update(list(newest.values())[:count])
    return [name for _, name in reversed(found) if name not in kept]
