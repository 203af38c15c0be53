"""Moves buckets of nodes into days and months, totals links, removes what is too old: `python -m workers.rollup`.

In: `clicks_node`, as aggregators write it. Out: `clicks_day`, `clicks_month`, `clicks` of links. One is active,
by lease. Chores take turns; each does a short step, and comes again when its time is up:

    sums       what batches counted of many links' sums, of any day: nobody writes it again (`app.analytics.scopes`)
    days       node documents of days that every aggregator has left behind; late ones whenever they come
    totals     looks round at what links have been clicked (`app.analytics.totals`)
    retention  `app.analytics.retention`
    audit      removes entries of the audit log that are too old, by the same date as statistics
    tags       renaming and ending of tags that somebody began (`app.links.tags`)
    deleted    links that were deleted so long ago that nothing of them is kept (`app.links.tombstones`)

A day is moved SETTLED_S after its end, when all nodes have counted it: an aggregator would otherwise make anew what was
just moved, and lose a race for each. A chore whose round takes long comes less often: it rests nine times as long.
Migrations (`app.stores.migrations`) go on beside it, by a lease of their own.
kill -9 anywhere: each step is one transaction that checks in with the lease.
May import: everything below it.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from app.accounts import AuditLog
from app.analytics import (
    CLICKS_NODE,
    CLICKS_SUM,
    MOVED_MAX,
    Mover,
    Retention,
    Totals,
    day_number,
    read_as_of,
)
from app.links import LinkStore, Tags
from app.migrating import migrate
from app.observe import Metrics, get_logger, reason_of, traced
from app.process import node_id, refuse_second, run_program, wait_for_data, work_by_lease
from app.settings import Settings
from app.stores import Database, Lease, LostRaceError, Trace, mongodb_url, open_mongodb, run_dir

__all__ = ["Rollup", "RollupCounts"]

DAY_S = 86_400
SETTLED_S = 600.0  # behind a day's end
PAUSE_S = 0.5
PUBLISH_S = 1.0
RETRY_S = 0.2  # after a lost race
BUSY_SHARE = 0.1
SUMS_S, DAYS_S, TOTALS_S, RETENTION_S, DELETED_S, TAGS_S = 10.0, 30.0, 5.0, 600.0, 600.0, 5.0


@dataclass(slots=True)
class RollupCounts:
    """Plain counts since the start; `orphans` are old days that are in no month, as of the last look."""

    moved: int = 0
    removed: int = 0
    orphans: int = 0
    lost_races: int = 0


@dataclass
class Chore:
    """Something to do now and then; `step` says whether there may be more at once."""

    name: str
    step: Callable[[], Awaitable[bool]]
    every_s: float
    due_s: float = float("-inf")
    spent_s: float = 0.0  # since it last had nothing more to do


class Rollup:
    """The work of whoever holds `lease`.

    Args:
        deleted_kept: seconds.
        wall: Unix time in seconds.
        monotonic: a clock in seconds, for when a chore comes again.
        trace: called with the name of each effect just before it happens.
    """

    def __init__(
        self,
        *,
        database: Database,
        lease: Lease,
        days_kept: int,
        months_kept: int | None,
        audit_days_kept: int,
        deleted_kept: int,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        trace: Trace = lambda step: None,
    ) -> None:
        self.counts = RollupCounts()
        self._database = database
        self._wall = wall
        self._audit_days_kept = audit_days_kept
        self._audit = AuditLog(database, now_s=wall, token_bytes=secrets.token_bytes)
        self._monotonic = monotonic
        self._round = 0  # documents of days that were moved since there was none
        self._tags = Tags(database)
        self._tombstones = LinkStore(database, kept_s=deleted_kept).tombstones
        self._mover = Mover(database, lease, trace=trace)
        self._totals = Totals(database, lease, trace=trace)
        self._retention = Retention(
            database,
            lease,
            days_kept=days_kept,
            months_kept=months_kept,
            today=lambda: int(wall() // DAY_S),
            trace=trace,
        )
        self._chores = [
            Chore("sums", self._move_sums, SUMS_S),
            Chore("days", self._move_days, DAYS_S),
            Chore("totals", self._totals.step, TOTALS_S),
            Chore("retention", self._remove, RETENTION_S),
            Chore("audit", self._remove_audit, RETENTION_S),
            Chore("deleted", self._forget, DELETED_S),
            Chore("tags", self._tags.resume, TAGS_S),
        ]

    async def open(self) -> None:
        """Nothing is remembered from before: every step begins with what is stored."""

    async def loop(self) -> bool:
        """A step of each chore that is due; True when there may be more at once."""
        is_more = False
        for chore in self._chores:
            began_s = self._monotonic()
            if began_s < chore.due_s:
                continue
            try:
                with traced(f"rollup {chore.name}"):
                    goes_on = await chore.step()
            except LostRaceError as error:
                self.counts.lost_races += 1
                get_logger().info("lost a race, looking again", reason=reason_of(error))
                chore.due_s = self._monotonic() + RETRY_S
                continue
            now_s = self._monotonic()
            chore.spent_s += now_s - began_s
            if not goes_on:
                chore.due_s = now_s + max(chore.every_s, chore.spent_s / BUSY_SHARE)
                chore.spent_s = 0.0
            is_more |= goes_on
        return is_more

    async def drain(self) -> None:
        """Nothing is under way between two steps."""

    async def _move_sums(self) -> bool:
        return await self._move(CLICKS_SUM, {})

    async def _move_days(self) -> bool:
        now_s = self._wall()
        as_of = await read_as_of(self._database, now_s)
        known_s = now_s if as_of is None else min(now_s, as_of.timestamp())
        settled = int((known_s - SETTLED_S) // DAY_S)
        before = self.counts.moved
        is_more = await self._move(CLICKS_NODE, {"day": {"$lt": day_number(settled)}})
        self._round += self.counts.moved - before
        if self._round and not is_more:
            get_logger().info("days moved", before=day_number(settled), documents=self._round)
            self._round = 0
        return is_more

    async def _remove(self) -> bool:
        is_more = await self._retention.step()
        self.counts.removed, self.counts.orphans = self._retention.removed, self._retention.orphans
        return is_more

    async def _remove_audit(self) -> bool:
        return await self._audit.remove_before((self._retention.believed - self._audit_days_kept) * DAY_S)

    async def _forget(self) -> bool:
        """Also beside a stale holder it does no harm: what is forgotten twice is forgotten."""
        return await self._tombstones.forget(int(self._wall())) > 0

    async def _move(self, collection: str, query: dict[str, object]) -> bool:
        cursor = self._database[collection].find(query, {"_id": 1}).sort("_id" if not query else "day").limit(MOVED_MAX)
        ids = [row["_id"] async for row in cursor]
        if not ids:
            return False
        moved = await self._mover.move(ids, collection)
        self._totals.forget(moved.counted)
        self.counts.moved += moved.documents
        return len(ids) >= MOVED_MAX or not moved.is_all


async def main(settings: Settings, name: str, stop: asyncio.Event) -> None:
    """Works or stands by until stopped."""
    refuse_second(settings.state_dir, name)
    metrics = Metrics(name, run_dir(settings) / "metrics")
    database = open_mongodb(mongodb_url(settings))
    holder = f"{node_id(settings.state_dir)}/{name}"
    lease = Lease(database, "rollup", holder=holder, monotonic=time.monotonic)
    rollup = Rollup(
        database=database,
        lease=lease,
        days_kept=settings.days_kept,
        months_kept=settings.months_kept,
        audit_days_kept=settings.audit_days_kept,
        deleted_kept=settings.deleted_kept,
        wall=time.time,
        monotonic=time.monotonic,
    )
    get_logger().info("started", holder=holder)
    publishing = asyncio.create_task(_publish(rollup, lease, metrics))
    try:
        await wait_for_data(database, stop)
        work = work_by_lease(lease, rollup, stop, pause_s=PAUSE_S)
        await asyncio.gather(work, migrate(database, holder, metrics, stop))
    finally:
        publishing.cancel()
        await database.client.close()


async def _publish(rollup: Rollup, lease: Lease, metrics: Metrics) -> None:
    while True:
        metrics.set("rollup_active", float(lease.is_held))
        metrics.count_to("moved", rollup.counts.moved)
        metrics.count_to("removed", rollup.counts.removed)
        metrics.set("orphans", rollup.counts.orphans)
        metrics.count_told()
        metrics.count_to("rollup_races", rollup.counts.lost_races)
        await asyncio.sleep(PUBLISH_S)


if __name__ == "__main__":
    sys.exit(run_program("rollup", main))
