"""`/api/v1/links/{slug}/stats`: what happened to a link.

In: a range, a unit and a time zone from the query. Out: `LinkStats`. May import: analytics, links.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from app.analytics import Range, RangeError, link_stats
from app.api.handler import Handler
from app.api.problems import FieldError, Problem
from app.links import join_key

__all__ = ["LinkStatsHandler"]

DEFAULT_DAYS = 30


class LinkStatsHandler(Handler):
    """One link's statistics."""

    async def get(self, slug: str) -> None:
        """By default the last 30 days, by day, in UTC."""
        link = await self.services.links.get(join_key(self.domain_argument(), slug))
        if link is None:
            raise Problem(HTTPStatus.NOT_FOUND, "There is no such link.")
        self.answer(await link_stats(self.services.database, link.link, self._range()))

    def _range(self) -> Range:
        zone = self._zone()
        now = datetime.fromtimestamp(self.services.now_s(), UTC)
        end = self._moment("to", zone) or now + timedelta(seconds=1)
        start = self._moment("from", zone) or end - timedelta(days=DEFAULT_DAYS)
        try:
            return Range.make(start, end, self.get_query_argument("unit", "day"), zone)
        except RangeError as error:
            raise _wrong(error.field, str(error)) from error

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


def _wrong(field: str, message: str) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{field} {message}.", [FieldError(field, message)])
