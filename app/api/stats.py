"""`/api/v1/links/{slug}/stats` and `/api/v1/stats`: what happened to a link, or to many together.

In: a range, a unit, a time zone and a format from the query. Out: `Stats` as JSON, or one of its tables as CSV.
May import: analytics, links.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta

from app.analytics import ALL, BehindError, Range, RangeError, Stats, erase, read_stats, scope_id
from app.api.fields import shown
from app.api.handler import Handler
from app.api.operation import Answer, operation
from app.api.parameters import DomainName, LinkQuery
from app.api.problems import FieldError, Problem
from app.api.tables import Table, stats_csv
from app.stores import LostRaceError

__all__ = ["LinkStatsHandler", "StatsHandler"]

#: Days that are shown by default, by unit.
DEFAULT_DAYS = {"minute": 1, "hour": 7, "day": 30, "week": 182, "month": 365}
RETRY_AFTER_S = 10
Unit = Literal["minute", "hour", "day", "week", "month"]
_MOMENT = {"anyOf": [{"format": "date"}, {"format": "date-time"}]}


class RangeQuery(msgspec.Struct, kw_only=True):
    """What time, and how it is shown."""

    start: (
        Annotated[
            str, shown("A date or time; without an offset in `tz`. Left out: so that there are some points.", **_MOMENT)
        ]
        | None
    ) = msgspec.field(default=None, name="from")
    end: Annotated[str, shown("A date or time that is not included; left out: now.", **_MOMENT)] | None = msgspec.field(
        default=None, name="to"
    )
    unit: Annotated[Unit, Meta(description="At most 5,000 of them; weeks begin on Monday.")] = "day"
    tz: Annotated[str, shown("An IANA time zone: units begin where its clock says so.", "Europe/Berlin")] = "UTC"
    compare: Annotated[Literal["previous"], Meta(description="Also the period before, as long.")] | None = None
    format: Annotated[Literal["json", "csv"], Meta(description="By default as `Accept` says.")] | None = None
    of: Annotated[Table, Meta(description="Which table a CSV holds.")] = "series"


class LinkStatsQuery(RangeQuery, kw_only=True):
    """As above, and where the link lives."""

    domain: DomainName = ""


class ScopeQuery(RangeQuery, kw_only=True):
    """As above, and of which links; at most one of the three."""

    tag: Annotated[str, Meta(description="Of those with this tag.", examples=["rfc"])] | None = None
    domain: Annotated[str, Meta(description="Of those of this domain; empty: of the default one.")] | None = None
    user: Annotated[str, Meta(description="Of those of this user.")] | None = None


class Erased(msgspec.Struct):
    """What may still come."""

    detail: str


SHOWN = {200: Answer(Stats, media=("text/csv",), headers=("Content-Disposition",))}
TOO_LATE = "A store does not answer, or rollup has rested for an hour."


class _StatsHandler(Handler):
    """What both have in common: everything but whose statistics they are."""

    cost = 5
    kind = "stats"

    async def show(self, subject: int, name: str, query: RangeQuery) -> None:
        """Answers with the statistics of a link or scope, of which a file would be called `name`."""
        is_csv = query.format == "csv" if query.format is not None else self._accepts_csv()
        try:
            stats = await read_stats(
                self.services.database,
                subject,
                self._range(query),
                now_s=self.services.now_s(),
                compare=query.compare is not None,
                orphans=subject == ALL,
            )
        except RangeError as error:
            raise _wrong(error.field, str(error)) from error
        except BehindError as error:
            headers = {"Retry-After": str(RETRY_AFTER_S)}
            detail = "Rollup has not worked for a while: see boltlink status."
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=headers) from error
        if is_csv:
            self._answer_csv(stats, query.of, name)
        else:
            self.answer(stats)

    def _answer_csv(self, stats: Stats, table: Table, name: str) -> None:
        self.set_header("Content-Type", "text/csv; charset=utf-8; header=present")
        self.set_header("Content-Disposition", f'attachment; filename="{name}-{table}.csv"')
        self.write(stats_csv(stats, table))

    def _accepts_csv(self) -> bool:
        accepted = [media.partition(";")[0].strip() for media in self.request.headers.get("Accept", "").split(",")]
        return "text/csv" in accepted and "application/json" not in accepted

    def _range(self, query: RangeQuery) -> Range:
        """The range of a query; by default up to now. Raises Problem, RangeError."""
        zone = _zone(query.tz)
        days = DEFAULT_DAYS[query.unit]
        end, start = _moment("to", query.end, zone), _moment("from", query.start, zone)
        if end is None:
            end = datetime.fromtimestamp(self.services.now_s(), zone) + timedelta(seconds=1)
            today = end.replace(hour=0, minute=0, second=0, microsecond=0)
            start = start or today - timedelta(days=days - 1)
        return Range.make(start or end - timedelta(days=days), end, query.unit, zone)


class LinkStatsHandler(_StatsHandler):
    """One link's statistics."""

    @operation(SHOWN, query=LinkStatsQuery, refuses={404: "There is no such link.", 503: TOO_LATE})
    async def get(self, slug: str) -> None:
        """Show the statistics of a link.

        By default of the last 30 days, by day, in UTC.
        """
        query = self.query(LinkStatsQuery)
        link = await self.find_link(self.key_of(slug, query.domain))
        await self.show(link.link, slug, query)

    @operation(
        {
            204: Answer(says="Nothing of them is stored any more."),
            202: Answer(Erased, says="Erased; clicks of today that a node has not counted yet may still come."),
        },
        query=LinkQuery,
        refuses={404: "There was never such a link.", 503: "A store does not answer, or others write them right now."},
    )
    async def delete(self, slug: str) -> None:
        """Erase the statistics of a link.

        Of a deleted link too. Sums over many links keep their counts, which name no link.
        """
        key = self.key_of(slug, self.query(LinkQuery).domain)
        found = await self.services.links.find_many(self.spellings(key))
        if not found:
            raise Problem(HTTPStatus.NOT_FOUND, "There is no such link.")
        key, link = next((key, found[key]) for key in self.spellings(key) if key in found)
        note = self.services.audit.note(self.author, "link.erase", f"link:{key}", link=link)
        await self.services.audit.add(note)
        try:
            is_complete = await erase(self.services.database, link.link, now_s=self.services.now_s)
        except LostRaceError as error:
            headers = {"Retry-After": str(RETRY_AFTER_S)}
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "Others write these statistics.", headers=headers) from error
        if is_complete:
            self.answer_nothing()
            return
        pending = "Erased; clicks of today that a node has not counted yet may still come."
        self.answer(Erased(pending), HTTPStatus.ACCEPTED)


class StatsHandler(_StatsHandler):
    """Statistics of all links together, or of those of a domain, of a user or with a tag."""

    @operation(SHOWN, query=ScopeQuery, refuses={503: TOO_LATE})
    async def get(self) -> None:
        """Show the statistics of many links.

        Of all together, with visits to slugs that do not exist; or of those with a tag, of a domain, or of a user.
        """
        query = self.query(ScopeQuery)
        names = [name for name in ("tag", "domain", "user") if getattr(query, name) is not None]
        if len(names) > 1:
            raise _wrong(names[1], f"cannot be combined with {names[0]}")
        kind = names[0] if names else ""
        value = getattr(query, kind) if kind else ""
        value = self.domain_named(value) if kind == "domain" else value
        if not self.caller.bounds.is_wide:
            kind, value = self._within_bounds(kind, value)
        if not kind:
            await self.show(ALL, "all", query)
            return
        await self.show(scope_id(kind, value), kind, query)

    def _within_bounds(self, kind: str, value: str) -> tuple[str, str]:
        """What a narrowed caller is shown: the sum over exactly the links that are theirs; raises Problem."""
        bounds = self.caller.bounds
        theirs = {"domain": bounds.domain, "tag": bounds.tag or None, "user": bounds.owner or None}
        (found, *others) = [(name, bound) for name, bound in theirs.items() if bound is not None]
        if others or (kind and (kind, value) != found):
            raise Problem(HTTPStatus.FORBIDDEN, "There is no sum over these links that this key may see.")
        return found


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise _wrong("tz", "must be a time zone of the IANA database, such as Europe/Berlin") from None


def _moment(name: str, text: str | None, zone: ZoneInfo) -> datetime | None:
    """A date or time of the query; one without offset is in `zone`."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
        moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _wrong(name, "must be a date or time such as 2026-01-31 or 2026-01-31T12:00:00Z") from None
    return moment


def _wrong(field: str, message: str) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{field} {message}.", [FieldError(field, message)])
