"""Backups on a schedule: `python -m workers.backup`, where BOLTLINK_BACKUP_DIR is set. One is active, by lease.

In: MongoDB. Out: `BOLTLINK_BACKUP_DIR/boltlink-TIME.backup`, and fewer of them, as BOLTLINK_BACKUP_KEEP says.

    due       the newest backup in the folder is older than BOLTLINK_BACKUP_EVERY; the folder is the only memory, so
              nodes may share one, and a node with an empty one of its own makes a backup as soon as it is active;
              what a clock that had jumped ahead dated into the future stays, and counts as none
    away      a folder that held backups and holds none is not made anew: that fails, and says so
    step      a second of reading and writing at a time, between which the lease is renewed
    failed    the part is removed, MongoDB forgets the moment, and it is tried again after RETRY_S
    done      on disk and under its name; only then are old ones removed

kill -9 leaves a hidden part, which the next backup of this folder removes. Two that believe to be active, for a moment,
make two backups, and each removes only what the rule says. May import: everything below it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from pymongo.errors import PyMongoError

from app.backup import BackupFile, BackupFolder, Dump, Keep, MomentLostError, backup_name, parse_keep, to_remove
from app.observe import Metrics, Span, begin, get_logger, reason_of, within
from app.process import node_id, refuse_second, run_program, wait_for_data, work_by_lease
from app.settings import Settings
from app.stores import Database, HalfRestoredError, Lease, SchemaError, mongodb_url, open_mongodb, run_dir

__all__ = ["BackupCounts", "Backups"]

STEP_S = 1.0
RETRY_S = 300.0
PAUSE_S = 1.0
PUBLISH_S = 1.0
AHEAD_S = 600.0  # as clocks of nodes that share a folder may differ
LEASE_LIFE_S = 60.0  # fsync of a large file on a slow disk comes between two renewals
_FAILURES = (MomentLostError, SchemaError, HalfRestoredError, PyMongoError, OSError)


@dataclass(slots=True)
class BackupCounts:
    """Of the last try: whether it failed, how long it took, how large it became."""

    made: int = 0
    has_failed: bool = False
    seconds: float = 0.0
    size_bytes: int = 0


@dataclass(slots=True)
class _Running:
    """A backup that is being written."""

    dump: Dump
    target: BackupFile
    began_s: float
    span: Span


class Backups:
    """The work of whoever holds the lease.

    Args:
        wall: Unix time in seconds.
        monotonic: seconds that only grow.
    """

    def __init__(
        self,
        *,
        database: Database,
        folder: BackupFolder,
        every_s: float,
        keep: Keep,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self.counts = BackupCounts()
        self._database = database
        self._folder = folder
        self._every_s = every_s
        self._keep = keep
        self._wall = wall
        self._monotonic = monotonic
        self._not_before_s = float("-inf")
        self._running: _Running | None = None

    @property
    def age_s(self) -> float | None:
        """Of the newest backup that was seen; None before the first."""
        newest = self._folder.newest(self._latest())
        return None if newest is None else max(0.0, self._wall() - newest.timestamp())

    async def open(self) -> None:
        """What was begun under a former lease is given up."""
        await self._give_up()

    async def loop(self) -> bool:
        """A second of the backup that is under way, or a look whether one is due; True when there is more at once."""
        try:
            if self._running is None:
                if not self._is_due():
                    return False
                self._running = await self._begin()
            with within(self._running.span):
                await self._step(self._running)
        except _FAILURES as error:
            self.counts.has_failed = True
            self._not_before_s = self._monotonic() + RETRY_S
            get_logger().error("backup failed", reason=reason_of(error))
            await self._give_up()
        return self._running is not None

    async def drain(self) -> None:
        """A backup that is under way is given up: it may take longer than the end of the program may."""
        await self._give_up()

    def _is_due(self) -> bool:
        if self._monotonic() < self._not_before_s:
            return False
        age_s = self.age_s
        return age_s is None or age_s >= self._every_s or not self._made()

    async def _begin(self) -> _Running:
        with ExitStack() as cleanup:
            await asyncio.to_thread(self._folder.prepare)
            path = self._folder.path / backup_name(datetime.fromtimestamp(self._wall(), UTC))
            target = cleanup.enter_context(BackupFile(path))
            dump = Dump(self._database, has_clicks=True, monotonic=self._monotonic, wall=self._wall)
            span = begin("backup", {})
            try:
                with within(span):
                    await dump.open(target.file)
            except BaseException as error:
                span.end(error)
                await dump.close()
                raise
            cleanup.pop_all()
        return _Running(dump, target, self._monotonic(), span)

    async def _step(self, running: _Running) -> None:
        ends_s = self._monotonic() + STEP_S
        while self._monotonic() < ends_s:
            if await running.dump.step():
                continue
            await asyncio.to_thread(running.target.commit)
            await running.dump.close()
            self._running = None
            await asyncio.to_thread(self._finish, running)
            return

    def _finish(self, running: _Running) -> None:
        assert running.dump.writer is not None
        self.counts.made += 1
        self.counts.has_failed = False
        self.counts.seconds = self._monotonic() - running.began_s
        self.counts.size_bytes = running.dump.writer.size_bytes
        running.span.set("boltlink.bytes", self.counts.size_bytes)
        running.span.end()
        removed = to_remove(self._made(), self._keep)
        for name in removed:
            (self._folder.path / name).unlink(missing_ok=True)
        get_logger().info(
            "backup made",
            file=running.target.path.name,
            documents=sum(running.dump.writer.documents),
            bytes=self.counts.size_bytes,
            seconds=round(self.counts.seconds, 1),
            removed=removed,
        )

    async def _give_up(self) -> None:
        running, self._running = self._running, None
        if running is None:
            return
        running.span.end("given up")
        running.target.__exit__(None, None, None)
        try:
            await running.dump.close()
        except PyMongoError as error:  # the next backup does what could not be done
            get_logger().warning("moment not closed", reason=reason_of(error))

    def _made(self) -> Mapping[str, datetime]:
        """Backups of the folder by name, without those of the future."""
        return self._folder.made(self._latest())

    def _latest(self) -> datetime:
        return datetime.fromtimestamp(self._wall() + AHEAD_S, UTC)


async def main(settings: Settings, name: str, stop: asyncio.Event) -> None:
    """Works or stands by until stopped."""
    if settings.backup_dir is None:
        raise RuntimeError("BOLTLINK_BACKUP_DIR is not set")
    refuse_second(settings.state_dir, name)
    metrics = Metrics(name, run_dir(settings) / "metrics")
    database = open_mongodb(mongodb_url(settings))
    holder = f"{node_id(settings.state_dir)}/{name}"
    lease = Lease(database, "backup", holder=holder, monotonic=time.monotonic, life_s=LEASE_LIFE_S)
    backups = Backups(
        database=database,
        folder=BackupFolder(settings.backup_dir, settings.state_dir / "backup-folder"),
        every_s=settings.backup_every,
        keep=parse_keep(settings.backup_keep),
        wall=time.time,
        monotonic=time.monotonic,
    )
    get_logger().info("started", holder=holder, folder=str(settings.backup_dir))
    publishing = asyncio.create_task(_publish(backups, settings.backup_every, metrics))
    try:
        await wait_for_data(database, stop)
        await work_by_lease(lease, backups, stop, pause_s=PAUSE_S)
    finally:
        publishing.cancel()
        await database.client.close()


async def _publish(backups: Backups, every_s: int, metrics: Metrics) -> None:
    """Also where another node is active: its backups are seen where nodes share a folder."""
    while True:
        age_s = await asyncio.to_thread(lambda: backups.age_s)
        if age_s is not None:
            metrics.set("backup_age", age_s)
        metrics.count_told()
        metrics.set("backup_every", float(every_s))
        metrics.set("backup_failed", float(backups.counts.has_failed))
        if backups.counts.made:  # else what this program's last run wrote stands
            metrics.set("backup_seconds", backups.counts.seconds)
            metrics.set("backup_bytes", float(backups.counts.size_bytes))
        await asyncio.sleep(PUBLISH_S)


if __name__ == "__main__":
    sys.exit(run_program("backup", main))
