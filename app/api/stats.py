"""`/api/v1/links/{slug}/stats` and `/api/v1/stats`: what happened to a link, or to many together.

In: a range, a unit, a time zone and a format from the query. Out: `Stats` as JSON, or one of its tables as CSV.
May import: analytics, links.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from app.analytics import ALL, BehindError, LostRaceError, Range, RangeError, Stats, erase, read_stats, scope_id
from app.api.handler import Handler
from app.api.problems import FieldError, Problem
from app.api.tables import TABLES, stats_csv
from app.links import join_key

__all__ = ["LinkStatsHandler", "StatsHandler"]

#: Days that are shown by default, by unit.
DEFAULT_DAYS = {"minute": 1, "hour": 7, "day": 30, "week": 182, "month": 365}
RETRY_AFTER_S = 10


class _StatsHandler(Handler):
    """What both have in common: everything but whose statistics they are."""

    cost = 5

    async def show(self, subject: int, name: str) -> None:
        """Answers with the statistics of a link or scope, of which a file would be called `name`."""
        compare = self._choice("compare", ("", "previous")) == "previous"
        is_csv = self._choice("format", ("json", "csv") if not self._accepts_csv() else ("csv", "json")) == "csv"
        table = self._choice("of", TABLES)
        try:
            stats = await read_stats(
                self.services.database,
                subject,
                self._range(),
                now_s=self.services.now_s(),
                compare=compare,
                orphans=subject == ALL,
            )
        except RangeError as error:
            raise _wrong(error.field, str(error)) from error
        except BehindError as error:
            headers = {"Retry-After": str(RETRY_AFTER_S)}
            detail = "Rollup has not worked for a while: see boltlink status."
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=headers) from error
        if is_csv:
            self._answer_csv(stats, table, name)
        else:
            self.answer(stats)

    def _answer_csv(self, stats: Stats, table: str, name: str) -> None:
        self.set_header("Content-Type", "text/csv; charset=utf-8; header=present")
        self.set_header("Content-Disposition", f'attachment; filename="{name}-{table}.csv"')
        self.write(stats_csv(stats, table))

    def _accepts_csv(self) -> bool:
        accepted = [media.partition(";")[0].strip() for media in self.request.headers.get("Accept", "").split(",")]
        return "text/csv" in accepted and "application/json" not in accepted

    def _choice(self, name: str, words: tuple[str, ...]) -> str:
        """One of some words; the first is what no argument means. Raises Problem."""
        word = self.get_query_argument(name, words[0])
        if word not in words:
            raise _wrong(name, "must be one of " + ", ".join(word for word in words if word))
        return word

    def _range(self) -> Range:
        """The range of the query; by default up to now. Raises Problem, RangeError."""
        zone = self._zone()
        unit = self.get_query_argument("unit", "day")
        days = DEFAULT_DAYS.get(unit, 1)
        end, start = self._moment("to", zone), self._moment("from", zone)
        if end is None:
            end = datetime.fromtimestamp(self.services.now_s(), zone) + timedelta(seconds=1)
            today = end.replace(hour=0, minute=0, second=0, microsecond=0)
            start = start or today - timedelta(days=days - 1)
        return Range.make(start or end - timedelta(days=days), end, unit, zone)

    def _zone(self) -> ZoneInfo:
        name = self.get_query_argument("tz", "UTC")
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise _wrong("tz", "must be a time zone of the IANA database, such as Europe/Berlin") from None

    def _moment(self, name: str, zone: ZoneInfo) -> datetime | None:
        """A date or time of the query; one without offset is in `zone`."""
        text = self.get_query_argument(name, "")
        if not text:
            return None
        try:
            moment = datetime.fromisoformat(text.replace(" ", "+"))
            moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
            moment.astimezone(UTC)
        except (ValueError, OverflowError):
            raise _wrong(name, "must be a date or time such as 2026-01-31 or 2026-01-31T12:00:00Z") from None
        return moment


class LinkStatsHandler(_StatsHandler):
    """One link's statistics."""

    async def get(self, slug: str) -> None:
        """By default the last 30 days, by day, in UTC."""
        link = await self.services.links.get(join_key(self.domain_argument(), slug))
        if link is None:
            raise Problem(HTTPStatus.NOT_FOUND, "There is no such link.")
        await self.show(link.link, slug)

    async def delete(self, slug: str) -> None:
        """Erases them, of a deleted link too; answers when nothing is stored any more."""
        key = join_key(self.domain_argument(), slug)
        link = (await self.services.links.find_many([key])).get(key)
        if link is None:
            raise Problem(HTTPStatus.NOT_FOUND, "There is no such link.")
        try:
            is_complete = await erase(self.services.database, link.link, now_s=self.services.now_s)
        except LostRaceError as error:
            headers = {"Retry-After": str(RETRY_AFTER_S)}
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "Others write these statistics.", headers=headers) from error
        if is_complete:
            self.clear_header("Content-Type")
            self.set_status(HTTPStatus.NO_CONTENT)
            return
        pending = "Erased; clicks of today that a node has not counted yet may still come."
        self.answer({"detail": pending}, HTTPStatus.ACCEPTED)


class StatsHandler(_StatsHandler):
    """Statistics of all links together, or of those of a domain, of a user or with a tag."""

    async def get(self) -> None:
        """By default of all."""
        names = [name for name in ("tag", "domain", "user") if self.get_query_argument(name, None) is not None]
        if len(names) > 1:
            raise _wrong(names[1], f"cannot be combined with {names[0]}")
        if not names:
            await self.show(ALL, "all")
            return
        kind = names[0]
        value = self.domain_argument() if kind == "domain" else self.get_query_argument(kind)
        await self.show(scope_id(kind, value), kind)


def _wrong(field: str, message: str) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{field} {message}.", [FieldError(field, message)])
