"""What is kept for how long: days some time, months longer or for ever.

In: settings and the date. Out: fewer `clicks_day` and `clicks_month`, and the horizon that queries obey.

The horizon says which days and months are complete: those from it on. It rises before anything is removed and never
falls, whatever the settings become, so nobody takes a half removed time for a quiet one. A day is removed only when its
month is there; by construction it always is (`app.analytics.moves`). Late clicks of a day before the horizon make that
day anew; it is removed again, and its month keeps the clicks.

What is removed never comes back, so a wrong clock is not believed at once: the date goes on by at most a day with each
step. A clock that is a year ahead for an hour costs the minutes of the oldest days, as many as there were steps.
May import: stores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession

from app.analytics.bucket import day_number
from app.analytics.ledger import CHECKPOINTS
from app.analytics.periods import (
    CLICKS_DAY,
    CLICKS_MONTH,
    days_of,
    key_of,
    month_id,
    month_number,
    month_of,
    months_of,
)
from app.stores import Database, Lease, Trace, transaction

__all__ = ["Horizon", "Retention", "read_horizon"]

REMOVED_MAX = 1_000  # documents of one transaction: 50 ms
_ID = "retention"  # among the checkpoints


@dataclass(frozen=True, slots=True)
class Horizon:
    """From which day on days are kept, and from which month on months are; 0, the beginning of 1970: all."""

    day: int = 0
    month: int = 0


async def read_horizon(database: Database, session: AsyncClientSession | None = None) -> Horizon:
    """What holds now, or at the moment that `session` sees."""
    row = await database[CHECKPOINTS].find_one({"_id": _ID}, session=session)
    return Horizon() if row is None else _horizon_of(row)


class Retention:
    """Removes for whoever holds `lease`.

    Args:
        days_kept: whole UTC days before today.
        months_kept: whole months before this one; None for ever.
        today: the UTC day, since 1970.
    """

    def __init__(
        self,
        database: Database,
        lease: Lease,
        *,
        days_kept: int,
        months_kept: int | None,
        today: Callable[[], int],
        trace: Trace = lambda step: None,
    ) -> None:
        self.orphans = 0  # days that are old and in no month, of those that the last step saw
        self.removed = 0
        self.believed = 0  # the day that the last step took for today; see above why
        self._database = database
        self._lease = lease
        self._days_kept = days_kept
        self._months_kept = months_kept
        self._today = today
        self._trace = trace

    async def step(self) -> bool:
        """Raises the horizon, removes some of what is behind it; True when there may be more.

        Raises:
            LostRaceError: nothing is known to have happened.
            LeaseLostError: another holds the lease; nothing happened.
        """
        horizon = await self._raise_horizon()
        async with transaction(self._database, self._trace) as session:
            removed = await self._remove_days(session, horizon) + await self._remove_months(session, horizon)
            if removed:
                await self._lease.check_in(session)
        self.removed += removed
        return removed >= REMOVED_MAX

    async def _raise_horizon(self) -> Horizon:
        """In a transaction of its own, before anything is removed."""
        rows, today = self._database[CHECKPOINTS], self._today()
        row = await rows.find_one({"_id": _ID})
        believed = self.believed = today if row is None else min(today, days_of(row["today"]) + 1)
        stored = Horizon() if row is None else _horizon_of(row)
        day = max(stored.day, believed - self._days_kept)
        month = stored.month
        if self._months_kept is not None:
            month = max(month, month_of(believed) - self._months_kept)
        fields = {"day": day_number(day), "month": month_number(month), "today": day_number(believed)}
        if row is None or any(row[name] != value for name, value in fields.items()):
            async with transaction(self._database, self._trace) as session:
                self._trace("raise horizon")
                await rows.update_one({"_id": _ID}, {"$set": fields}, upsert=True, session=session)
                await self._lease.check_in(session)
        return Horizon(day, month)

    async def _remove_days(self, session: AsyncClientSession, horizon: Horizon) -> int:
        query = {"day": {"$lt": day_number(horizon.day)}}
        cursor = self._database[CLICKS_DAY].find(query, {"_id": 1}, session=session).limit(REMOVED_MAX)
        months = {row["_id"]: _month_of(row["_id"]) async for row in cursor}
        wanted = {"_id": {"$in": list(set(months.values()))}}
        found = {row["_id"] async for row in self._database[CLICKS_MONTH].find(wanted, {"_id": 1}, session=session)}
        ids = [day for day, month in months.items() if month in found or month_is_gone(month, horizon)]
        self.orphans = len(months) - len(ids)
        return await self._remove(session, CLICKS_DAY, ids)

    async def _remove_months(self, session: AsyncClientSession, horizon: Horizon) -> int:
        query = {"month": {"$lt": month_number(horizon.month)}}
        cursor = self._database[CLICKS_MONTH].find(query, {"_id": 1}, session=session).limit(REMOVED_MAX)
        return await self._remove(session, CLICKS_MONTH, [row["_id"] async for row in cursor])

    async def _remove(self, session: AsyncClientSession, collection: str, ids: list[str]) -> int:
        if not ids:
            return 0
        self._trace(f"remove {collection}")
        return (await self._database[collection].delete_many({"_id": {"$in": ids}}, session=session)).deleted_count


def _horizon_of(row: Mapping[str, Any]) -> Horizon:
    return Horizon(days_of(row["day"]), months_of(row["month"]))


def _month_of(day_id: str) -> str:
    link, day = key_of(day_id)
    return month_id(link, month_of(day))


def month_is_gone(month_id_: str, horizon: Horizon) -> bool:
    """Whether a month is behind the horizon, so that its days need not be in it."""
    return months_of(int(month_id_.rpartition("-")[2])) < horizon.month
