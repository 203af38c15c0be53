"""What is answered to who asks for statistics.

In: counts by dimension and key. Out: typed answers, bounded: POINTS_MAX points and BREAKDOWN_MAX keys a breakdown.
Pure. May import: msgspec, and the names of dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.analytics.bucket import OTHER

__all__ = ["BREAKDOWNS", "BREAKDOWN_MAX", "Orphans", "Period", "Point", "Share", "Stats", "shares"]

BREAKDOWN_MAX = 100
Moment = Annotated[datetime, Meta(tz=True)]
DIRECT = "(none)"  # clicks that said nothing: no referrer, an agent that nobody knows
#: Fields of the answer -> dimensions of buckets.
BREAKDOWNS = {
    "referrers": "referrer",
    "countries": "country",
    "devices": "device",
    "os": "os",
    "browsers": "browser",
    "languages": "language",
    "bot_names": "bot",
    "variants": "variant",
}


class Point(msgspec.Struct, frozen=True):
    """Clicks of one unit; `t` is its beginning in the zone that was asked for."""

    t: Moment
    clicks: int


class Share(msgspec.Struct, frozen=True):
    """Clicks of one key."""

    key: str
    clicks: int


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """What an earlier period of the same length had; `start` and `end` as in a request's from and to."""

    start: Moment = msgspec.field(name="from")
    end: Moment = msgspec.field(name="to")
    clicks: int
    visitors: int
    bots: int
    series: list[Point]


class Orphans(msgspec.Struct, frozen=True):
    """Requests of people for slugs that no link has; the most wanted ones."""

    visits: int
    slugs: list[Share]


class Stats(msgspec.Struct, kw_only=True):
    """The answer. `clicks` are people's and exact for the range; what is no part of the series covers whole UTC days.

    Attributes:
        visitors: different people by day, added up: a person is known again on the same day only.
        as_of: every click before it is counted; None when no node has said so of late.
        misses: requests that were not led on: expired, not begun, disabled, banned, spent, or asked for a password.
    """

    clicks: int
    visitors: int
    bots: int
    heads: int
    previews: int
    prefetches: int
    excluded: int
    misses: int
    as_of: Moment | None
    unit: str
    series: list[Point]
    breakdown_from: date
    breakdown_to: date
    referrers: list[Share]
    countries: list[Share]
    devices: list[Share]
    os: list[Share]
    browsers: list[Share]
    languages: list[Share]
    bot_names: list[Share]
    variants: list[Share]
    previous: Period | UnsetType = UNSET
    orphans: Orphans | UnsetType = UNSET


def shares(keys: Mapping[str, int]) -> list[Share]:
    """The largest first; what is behind BREAKDOWN_MAX counts as `other`, which comes last."""
    ordered = sorted((item for item in keys.items() if item[0] != OTHER), key=lambda item: (-item[1], item[0]))
    found = [Share(key or DIRECT, count) for key, count in ordered[:BREAKDOWN_MAX]]
    rest = keys.get(OTHER, 0) + sum(count for _, count in ordered[BREAKDOWN_MAX:])
    return [*found, Share(OTHER, rest)] if rest else found
