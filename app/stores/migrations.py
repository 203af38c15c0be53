"""Brings stored documents up to date while programs use them: in small batches, from a position that is kept.

In: migrations, as rooms declare them. Out: changed documents, and in the collection `schema` a row for each migration:

    _id = version, name, position (the last `_id` of a collection that was looked at; none: at its beginning),
    looked (how many documents of this pass), changed, failed, begun, pass_begun, ended (dates)

    batch   BATCH ids behind `position` in the order of `_id`; of these the documents that lack what the migration
            makes are read, changed by a pure function, and written only where they still lack it and are as read
    keep    the position behind them
    pass    ends at the end of the collection. A program of the release before may run beside this one and write
            documents of the old kind behind the position; so passes are repeated, REST_S apart, until one that began
            SETTLE_S after the first changes nothing

kill -9 anywhere: the batch is done again and changes only what it did not reach. One of many does it, by lease; a
stale holder that goes on does no harm, as its writes are the same. No version of a link rises, so nothing is announced.
May import: pymongo.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from app.stores.connections import Database
from app.stores.schema import SCHEMA

__all__ = ["Migration", "MigrationCounts", "Migrations", "mark_migrated"]

BATCH = 1_000  # 20 ms of a worker and of MongoDB
REST_S = 600.0  # between two passes
SETTLE_S = 3_600.0  # a rolling upgrade of all nodes takes no longer

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Migration:
    """One change of what documents hold.

    Attributes:
        version: the SCHEMA_VERSION that it came with; never used again.
        missing: a query for documents that it has not reached; what `change` makes must end it.
        change: the update for a whole document. Pure; what it raises leaves that document as it is, counted as failed.
        same: fields that must be as they were read for the update to be made.
    """

    version: int
    name: str
    collection: str
    missing: Document
    change: Callable[[Document], Document]
    same: Sequence[str] = ()


@dataclass(slots=True)
class MigrationCounts:
    """Since this process's start, but for `pending` and `progress` (0 to 1, of the pass under way)."""

    changed: int = 0
    failed: int = 0
    pending: int = 0
    progress: float = 1.0


class Migrations:
    """The work of one holder of the lease. `now` is the time of day, `tell` a logger's `info`."""

    def __init__(
        self,
        database: Database,
        migrations: Sequence[Migration],
        *,
        now: Callable[[], datetime],
        tell: Callable[..., object],
        batch: int = BATCH,
    ) -> None:
        self.counts = MigrationCounts()
        self._database = database
        self._rows = database[SCHEMA]
        self._migrations = sorted(migrations, key=lambda migration: migration.version)
        self._now = now
        self._tell = tell
        self._batch = batch
        self._told_percent = 0

    async def step(self) -> bool:
        """One batch of the first migration that has not ended; True when there may be more at once."""
        pending = await self._pending()
        self.counts.pending = len(pending)
        for migration, row in pending:
            began = row.get("pass_begun")
            if "position" not in row and began is not None and self._time() - began < timedelta(seconds=REST_S):
                continue  # between two passes
            if "position" not in row:
                row = await self._begin_pass(migration, row)  # noqa: PLW2901
            await self._do_batch(migration, row)
            return True
        return False

    def _time(self) -> datetime:
        """Now, in ms as MongoDB keeps it."""
        now = self._now()
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    async def _pending(self) -> list[tuple[Migration, dict[str, Any]]]:
        rows = {row["_id"]: dict(row) async for row in self._rows.find({"_id": {"$type": "number"}})}
        pairs = [(migration, rows.get(migration.version, {})) for migration in self._migrations]
        return [(migration, row) for migration, row in pairs if "ended" not in row]

    async def _begin_pass(self, migration: Migration, row: dict[str, Any]) -> dict[str, Any]:
        now = self._time()
        first = {"name": migration.name, "begun": now, "changed": 0, "failed": 0}
        begun = {"pass_begun": now, "position": None, "pass_changed": 0, "looked": 0}
        new = {name: value for name, value in first.items() if name not in row}
        await self._rows.update_one({"_id": migration.version}, {"$set": {**new, **begun}}, upsert=True)
        self._told_percent = 0
        if new:
            self._tell("migration begun", migration=migration.name, version=migration.version)
        return {**row, **new, **begun}

    async def _do_batch(self, migration: Migration, row: dict[str, Any]) -> None:
        collection = self._database[migration.collection]
        behind = {} if row["position"] is None else {"$gt": row["position"]}
        ids = collection.find({"_id": behind} if behind else {}, {"_id": 1}).sort("_id").limit(self._batch)
        found = [document["_id"] async for document in ids]
        if not found:
            await self._end_pass(migration, row)
            return
        query = {"$and": [{"_id": {**behind, "$lte": found[-1]}}, migration.missing]}
        documents = await collection.find(query).to_list()
        changed, failed = await self._change(migration, documents)
        more = {"changed": changed, "failed": failed, "pass_changed": changed, "looked": len(found)}
        await self._rows.update_one(
            {"_id": migration.version, "pass_begun": row["pass_begun"]},
            {"$set": {"position": found[-1]}, "$inc": more},
        )
        self.counts.changed += changed
        self.counts.failed += failed
        await self._tell_progress(migration, row.get("looked", 0) + len(found))

    async def _change(self, migration: Migration, documents: Sequence[Document]) -> tuple[int, int]:
        """(changed, failed); who was changed by another meanwhile is neither, and comes with the next pass."""
        updates: list[UpdateOne] = []
        failed = 0
        for document in documents:
            try:
                update = migration.change(document)
            except Exception as error:
                failed += 1
                self._tell("document not migrated", migration=migration.name, id=document["_id"], reason=str(error))
                continue
            as_read = {"_id": document["_id"], **{name: document.get(name) for name in migration.same}}
            updates.append(UpdateOne({"$and": [as_read, migration.missing]}, update))
        if not updates:
            return 0, failed
        try:
            result = await self._database[migration.collection].bulk_write(updates, ordered=False)
        except BulkWriteError as error:
            if error.details.get("writeConcernErrors"):
                raise
            refused = error.details["writeErrors"]
            self._tell("documents not migrated", migration=migration.name, reason=refused[0].get("errmsg", "")[:200])
            return error.details["nModified"], failed + len(refused)
        return result.modified_count, failed

    async def _end_pass(self, migration: Migration, row: dict[str, Any]) -> None:
        is_settled = row["pass_begun"] - row["begun"] >= timedelta(seconds=SETTLE_S)
        change: dict[str, Any] = {"$unset": {"position": ""}}
        is_last = is_settled and not row["pass_changed"]
        if is_last:
            change["$set"] = {"ended": self._time()}
        await self._rows.update_one({"_id": migration.version, "pass_begun": row["pass_begun"]}, change)
        self.counts.progress = 1.0
        say = "migration ended" if is_last else "migration passed"
        self._tell(say, migration=migration.name, changed=row["changed"], failed=row["failed"])

    async def _tell_progress(self, migration: Migration, looked: int) -> None:
        count = await self._database[migration.collection].estimated_document_count()
        self.counts.progress = min(1.0, looked / max(1, count))
        percent = int(self.counts.progress * 10) * 10
        if percent > self._told_percent:
            self._told_percent = percent
            self._tell("migrating", migration=migration.name, percent=percent)


async def mark_migrated(database: Database, migrations: Sequence[Migration]) -> None:
    """Notes of a new database that there is nothing to migrate; what has documents is looked at as any other."""
    now = datetime.now(UTC)
    for migration in migrations:
        if await database[migration.collection].find_one({}, {"_id": 1}) is None:
            row = {"name": migration.name, "changed": 0, "failed": 0, "begun": now, "ended": now}
            await database[SCHEMA].update_one({"_id": migration.version}, {"$setOnInsert": row}, upsert=True)
