"""Statistics as tables: RFC 4180 CSV, one table at a time.

In: `Stats`. Out: text whose first row names the columns. A key that a spreadsheet would take for a formula gets an
apostrophe in front (OWASP, "CSV Injection"): keys come from strangers' requests. Pure. May import: analytics.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from itertools import zip_longest
from typing import Any, Literal

from msgspec import UNSET

from app.analytics import Stats

__all__ = ["Table", "stats_csv"]

#: The series first, then every breakdown of `Stats`.
Table = Literal["series", "referrers", "countries", "devices", "os", "browsers", "languages", "bot_names", "variants"]
_FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r")


def stats_csv(stats: Stats, table: Table) -> str:
    """One table; the series has the previous period beside it, if it was asked for."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerows(_series(stats) if table == "series" else _breakdown(stats, table))
    return out.getvalue()


def _series(stats: Stats) -> Iterable[tuple[Any, ...]]:
    if stats.previous is UNSET:
        yield "t", "clicks"
        yield from ((point.t.isoformat(), point.clicks) for point in stats.series)
        return
    yield "t", "clicks", "previous_t", "previous_clicks"
    for point, before in zip_longest(stats.series, stats.previous.series):
        now = (point.t.isoformat(), point.clicks) if point is not None else ("", "")
        yield (*now, before.t.isoformat(), before.clicks) if before is not None else (*now, "", "")


def _breakdown(stats: Stats, table: str) -> Iterable[tuple[Any, ...]]:
    yield "key", "clicks"
    for share in getattr(stats, table):
        yield f"'{share.key}" if share.key.startswith(_FORMULA_BEGINS) else share.key, share.clicks
