"""Statistics of a link, or of many links together, read at one moment.

In: an id (a link's, or a scope's of `app.analytics.scopes`), a range. Out: `Stats`. Everything is read in one snapshot
of MongoDB: while rollup moves a document, a query sees it where it was or where it is, never in both or neither. Every
read is a range of `_id`, so its cost is bounded by the range and not by how many links or clicks there are:

    months      at most 120, as `app.analytics.plan` says
    days        at most 61
    not moved   of a link: one document per day and aggregator, mostly of today
                of a scope: one per batch since rollup last moved them; UNMOVED_MAX at most

A query works for some milliseconds in the loop of a process that answers redirects: it lets others have their turn
after each document. May import: stores.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import OperationFailure

from app.analytics.answers import BREAKDOWNS, Orphans, Period, Point, Stats, shares
from app.analytics.bucket import EPOCH, NO_LINK_ID, TALLIES, bucket_id
from app.analytics.ledger import CLICKS_NODE
from app.analytics.periods import (
    CLICKS_DAY,
    CLICKS_MONTH,
    DAY_MINUTES,
    QUARTER_MINUTES,
    day_id,
    first_day,
    is_link,
    key_of,
    month_id,
    months_of,
)
from app.analytics.plan import Plan, make_plan
from app.analytics.progress import read_as_of
from app.analytics.ranges import Range, RangeError
from app.analytics.retention import Horizon, read_horizon
from app.analytics.scopes import CLICKS_SUM
from app.analytics.series import Series
from app.analytics.visitors import estimate_visitors, load_sketches, unite_visitors
from app.stores import Database

__all__ = ["BehindError", "read_stats"]

UNMOVED_MAX = 20_000  # documents of a scope, an hour of them while rollup rests; 2 s
SNAPSHOT_PAUSES_S = (0.01, 0.05, 0.2, 0.5)  # between tries, until a majority has what was just made
#: SnapshotTooOld, SnapshotUnavailable (MongoDB's error_codes.yml): it took minutes, or a collection was just made.
_SNAPSHOT_CODES = frozenset({239, 246})
_unpack_dims = msgspec.msgpack.Decoder(dict[str, dict[str, int]]).decode


class BehindError(Exception):
    """Rollup has not moved for so long that the answer would cost too much: come again when it works."""


async def read_stats(
    database: Database, subject: int, wanted: Range, *, now_s: float, compare: bool = False, orphans: bool = False
) -> Stats:
    """Statistics of the link or scope with the id `subject`.

    Args:
        now_s: Unix time.
        compare: also of the period before.
        orphans: also what nobody's slugs were asked for.

    Raises:
        RangeError: the range holds what is not kept any more.
        BehindError: see there.
    """
    if not load_sketches.cache_info().currsize:
        await asyncio.to_thread(load_sketches)
    for pause_s in SNAPSHOT_PAUSES_S:
        try:
            return await _read_at_once(database, subject, wanted, now_s, compare, orphans)
        except OperationFailure as error:
            if error.code not in _SNAPSHOT_CODES:
                raise
            await asyncio.sleep(pause_s)
    return await _read_at_once(database, subject, wanted, now_s, compare, orphans)


async def _read_at_once(
    database: Database, subject: int, wanted: Range, now_s: float, compare: bool, orphans: bool
) -> Stats:
    async with database.client.start_session(snapshot=True) as session:
        as_of = await read_as_of(database, now_s, session)
        horizon = await read_horizon(database, session)
        plan = make_plan(wanted, horizon)
        reader = _Reader(database, session, subject)
        found = await reader.read(plan, breaks_down=True)
        previous = await _read_previous(reader, wanted.previous(), horizon) if compare else None
        nobodys = await _Reader(database, session, NO_LINK_ID).read(plan, breaks_down=True) if orphans else None
    stats = _stats(wanted, plan, found, as_of)
    if previous is not None:
        stats.previous = previous
    if nobodys is not None:
        stats.orphans = Orphans(nobodys.tallies["clicks"], shares(nobodys.dims.get("slug", {})))
    return stats


async def _read_previous(reader: _Reader, wanted: Range, horizon: Horizon) -> Period:
    try:
        found = await reader.read(make_plan(wanted, horizon), breaks_down=False)
    except RangeError as error:
        raise RangeError("compare", f"cannot reach back that far: {error.field} {error}") from error
    series = _points(found.series, wanted)
    return Period(
        start=wanted.start,
        end=wanted.end,
        clicks=sum(point.clicks for point in series),
        visitors=estimate_visitors(unite_visitors(found.sketches)),
        bots=found.tallies["bots"],
        series=series,
    )


class _Found:
    """What documents add up to; `tallies`, `dims` and `sketches` of whole days, `series` of the range."""

    def __init__(self, plan: Plan) -> None:
        self.tallies: Counter[str] = Counter()
        self.dims: dict[str, dict[str, int]] = {}
        self.sketches: list[bytes] = []
        self.series = Series(plan.start, plan.end)

    def add(self, document: Mapping[str, Any]) -> None:
        """Counts what has no time within the document's days."""
        for name in TALLIES:
            if count := document.get(name):
                self.tallies[name] += count
        if sketch := document.get("visitors"):
            self.sketches.append(sketch)
        if packed := document.get("dims"):
            for name, keys in _unpack_dims(packed).items():
                into = self.dims.get(name)
                if into is None:
                    self.dims[name] = keys
                    continue
                for key, count in keys.items():
                    into[key] = into.get(key, 0) + count


class _Reader:
    """Reads documents of one subject in one session."""

    def __init__(self, database: Database, session: AsyncClientSession, subject: int) -> None:
        self._database = database
        self._session = session
        self._subject = subject

    async def read(self, plan: Plan, *, breaks_down: bool) -> _Found:
        """Everything that a plan names; without breakdowns where they are not wanted, as they are most of the bytes."""
        found = _Found(plan)
        left_out = {"link": 0, "rev": 0} if breaks_down else {"link": 0, "dims": 0}
        await self._read_months(plan, found, left_out)
        await self._read_days(plan, found, left_out)
        await self._read_unmoved(plan, found, left_out)
        return found

    async def _read_months(self, plan: Plan, found: _Found, left_out: dict[str, int]) -> None:
        if plan.months is None:
            return
        first, last = plan.months
        within = {"$gte": month_id(self._subject, first), "$lte": month_id(self._subject, last)}
        async for document in self._find(CLICKS_MONTH, within, left_out):
            base = first_day(months_of(document["month"])) * DAY_MINUTES
            found.series.add(document.get("minutes", b""), base, QUARTER_MINUTES, plan.quarters_end)
            found.add(document)
            await asyncio.sleep(0)

    async def _read_days(self, plan: Plan, found: _Found, left_out: dict[str, int]) -> None:
        for first, last, is_series_only in plan.days:
            within = {"$gte": day_id(self._subject, first), "$lte": day_id(self._subject, last)}
            async for document in self._find(CLICKS_DAY, within, {"minutes": 1} if is_series_only else left_out):
                _, day = key_of(document["_id"])
                found.series.add(document.get("minutes", b""), day * DAY_MINUTES)
                if not is_series_only:
                    found.add(document)
                await asyncio.sleep(0)

    async def _read_unmoved(self, plan: Plan, found: _Found, left_out: dict[str, int]) -> None:
        collection = CLICKS_NODE if is_link(self._subject) else CLICKS_SUM
        within = {"$gte": bucket_id(self._subject, plan.first, ""), "$lt": bucket_id(self._subject, plan.last + 1, "")}
        count = 0
        async for document in self._find(collection, within, left_out):
            count += 1
            if count > UNMOVED_MAX:
                raise BehindError
            _, day = key_of(document["_id"])
            found.series.add(document.get("minutes", b""), day * DAY_MINUTES)
            found.add(document)
            await asyncio.sleep(0)

    def _find(self, collection: str, within: Mapping[str, str], projection: Mapping[str, int]) -> Any:
        return self._database[collection].find({"_id": within}, projection, session=self._session)


def _points(series: Series, wanted: Range) -> list[Point]:
    begins = list(wanted.beginnings())
    clicks = series.by_unit([int(begin.timestamp()) // 60 for begin in begins])
    return [Point(begin, count) for begin, count in zip(begins, clicks, strict=True)]


def _stats(wanted: Range, plan: Plan, found: _Found, as_of: datetime | None) -> Stats:
    series = _points(found.series, wanted)
    breakdowns: dict[str, Any] = {field: shares(found.dims.get(name, {})) for field, name in BREAKDOWNS.items()}
    tallies: dict[str, Any] = {name: found.tallies[name] for name in TALLIES if name != "clicks"}
    return Stats(
        clicks=sum(point.clicks for point in series),
        visitors=estimate_visitors(unite_visitors(found.sketches)),
        as_of=as_of,
        unit=wanted.unit,
        series=series,
        breakdown_from=EPOCH + timedelta(days=plan.first),
        breakdown_to=EPOCH + timedelta(days=plan.last),
        **tallies,
        **breakdowns,
    )
