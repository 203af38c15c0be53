"""Migrates stored documents in the background: which migrations there are, and who does them.

In: migrations of the rooms (`app.stores.migrations`). Out: batches, one after another, by one worker of all (the lease
`migrations`). May import: the rooms that declare migrations, process.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from app.links import MIGRATIONS as LINK_MIGRATIONS
from app.observe import Metrics, get_logger
from app.process import work_by_lease
from app.stores import Database, Lease, Migrations

__all__ = ["MIGRATIONS", "migrate"]

MIGRATIONS = LINK_MIGRATIONS
MIGRATE_PAUSE_S = 2.0


async def migrate(database: Database, holder: str, metrics: Metrics, stop: asyncio.Event) -> None:
    """Migrates, or stands by, until `stop`."""
    log = get_logger()
    migrations = Migrations(database, MIGRATIONS, now=lambda: datetime.now(UTC), tell=log.info)
    lease = Lease(database, "migrations", holder=holder, monotonic=time.monotonic)
    await work_by_lease(lease, _MigrationWork(migrations, lease, metrics), stop, pause_s=MIGRATE_PAUSE_S)


class _MigrationWork:
    """Batch after batch; between two it rests as long as one took, so that MongoDB has time for others."""

    def __init__(self, migrations: Migrations, lease: Lease, metrics: Metrics) -> None:
        self._migrations = migrations
        self._lease = lease
        self._metrics = metrics

    async def open(self) -> None:
        """Every batch begins with what is stored."""

    async def loop(self) -> bool:
        """One batch; True when there may be more."""
        began_s = time.monotonic()
        is_more = await self._migrations.step()
        counts = self._migrations.counts
        self._metrics.count_to("migrated", counts.changed)
        self._metrics.count_to("migration_failures", counts.failed)
        self._metrics.set("migrations_pending", counts.pending)
        self._metrics.set("migration_progress", counts.progress)
        if is_more:
            await asyncio.sleep(min(1.0, time.monotonic() - began_s))
        return is_more

    async def drain(self) -> None:
        """Nothing is under way between two batches."""
