"""Puts a verified backup in place of a database's data, so that a kill at any moment is gone on from.

In: a file that was read to its end and found whole, and a database on which no program works. Out: the data of the
backup, with its indexes, and nothing else; caches that forgot everything.

    schema {_id: restore}   file, name (digest), stage, blocks (done), version_min; while it is there, no program works

    LOADING    blocks go into collections `restoring.NAME`, where nothing was; the data that was there is untouched.
               `blocks` follows every few; what a kill cut short is inserted again, and what is there already is skipped
    SWAPPING   indexes are made and documents counted; each is then renamed over its namesake, what the backup does not
               hold is dropped. Done again, a rename finds nothing left to do
    TELLING    jobs that are not over are dead, and may be done again by hand; leases are forgotten, and with them how
               far the announcer was; Redis forgets every link; every process is told that any link may have changed
    (gone)     programs may start; in the same transaction the restore is noted in the audit log

Versions: a cache may hold a link as it was after the backup, with a higher version, which would win. So each link is
given a version that is higher than any given out before: max(its own + 1, `version_min`), where `version_min` is the
time of the restore and CLOCK_SLACK_MS, for the clocks of other nodes. May import: jobs, links, stores.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, BinaryIO

import bson
from bson.int64 import Int64
from bson.raw_bson import RawBSONDocument
from pymongo import IndexModel
from pymongo.errors import BulkWriteError, CollectionInvalid, PyMongoError

from app.backup.dump import STAGING, kept_collections
from app.backup.format import Block, BlockReader, split_documents
from app.backup.verify import Contents
from app.jobs import JobQueue
from app.links import LINKS, LinkCache
from app.stores import LEASES, RESTORE_ID, SCHEMA, Database, Lease, LeaseLostError, Session, transact

__all__ = [
    "LEASE",
    "Load",
    "LoadError",
    "Stage",
    "Unfinished",
    "abandon",
    "find_unfinished",
    "is_empty",
    "working_programs",
]

GROUP_BLOCKS = 4  # inserted side by side, and done again after a kill: 8 MB of buckets
CLOCK_SLACK_MS = 300_000
DUPLICATE_KEY = 11000
LEASE = "restore"


class LoadError(Exception):
    """The restore cannot go on; the text says why. What was there is there still, if the stage is LOADING."""


class Stage(StrEnum):
    """Of a restore."""

    LOADING = "loading"
    SWAPPING = "swapping"
    TELLING = "telling"


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A restore that is under way or was killed: what it reads, and how far it is."""

    file: str
    name: str
    stage: Stage
    blocks: int
    version_min: int


async def find_unfinished(database: Database) -> Unfinished | None:
    """The restore that this database is in; None when there is none."""
    row = await database[SCHEMA].find_one({"_id": RESTORE_ID})
    if row is None:
        return None
    return Unfinished(row["file"], row["name"], Stage(row["stage"]), int(row["blocks"]), int(row["version_min"]))


async def is_empty(database: Database) -> bool:
    """Whether there is no data that a restore would take away."""
    for name in await kept_collections(database):
        if await database[name].find_one({"_id": {"$ne": RESTORE_ID}}, {"_id": 1}) is not None:
            return False
    return True


async def working_programs(database: Database) -> list[str]:
    """Holders of leases: where one is, a whole node works on this database."""
    held = {"_id": {"$ne": LEASE}, "$expr": {"$gt": ["$until", "$$NOW"]}}
    return sorted([f"{row['_id']} of {row['holder']}" async for row in database[LEASES].find(held)])


async def abandon(database: Database) -> None:
    """Gives up a restore that has replaced nothing yet: the data is what it was before.

    Raises:
        LoadError: it has replaced some of it.
    """
    found = await find_unfinished(database)
    if found is not None and found.stage is not Stage.LOADING:
        raise LoadError(f"the data is partly replaced already: finish it with `boltlink restore {found.file}`")
    await _drop_staging(database)
    await database[SCHEMA].delete_one({"_id": RESTORE_ID})


class Load:
    """One restore; the caller holds `lease` and calls `begin`, `run`.

    Args:
        file: the verified backup, open for reading.
        path: where it is, as a person would name it.
        on_progress: hears how many blocks are done.
    """

    def __init__(
        self,
        database: Database,
        cache: LinkCache,
        lease: Lease,
        *,
        contents: Contents,
        file: BinaryIO,
        path: str,
        on_progress: Callable[[int], None],
        write_note: Callable[[Session], Awaitable[None]],
    ) -> None:
        self._write_note = write_note
        self._database = database
        self._cache = cache
        self.lease = lease
        self._contents = contents
        self._file = file
        self._path = path
        self._on_progress = on_progress
        self._names = [collection.name for collection in contents.head.collections]
        self._state = Unfinished(path, contents.name, Stage.LOADING, 0, 0)

    async def begin(self, now_ms: int) -> None:
        """From here on no program works on this database. Goes on with what was begun with the same backup."""
        found = await find_unfinished(self._database)
        if found is not None and found.name == self._contents.name:
            self._state = found
            return
        if found is not None and found.stage is not Stage.LOADING:
            raise LoadError(f"another backup is half restored: finish it first with `boltlink restore {found.file}`")
        await _drop_staging(self._database)
        self._state = Unfinished(self._path, self._contents.name, Stage.LOADING, 0, now_ms + CLOCK_SLACK_MS)
        await self._note(Stage.LOADING, 0)

    async def run(self) -> None:
        """Does what is left to do.

        Raises:
            LoadError, DamagedError, LeaseLostError, PyMongoError, RedisError: run again to go on.
        """
        renewing = asyncio.create_task(self._keep_lease())
        try:
            await self._run()
        finally:
            renewing.cancel()

    async def _run(self) -> None:
        if self._state.stage is Stage.LOADING:
            await self._load()
            await self._finish_staging()
            await self._note(Stage.SWAPPING, self._contents.blocks)
        if self._state.stage is Stage.SWAPPING:
            await self._swap()
            await self._note(Stage.TELLING, self._contents.blocks)
        await self._tell()
        await transact(self._database, self._end)

    async def _end(self, session: Session) -> None:
        """The mark goes and the note comes in one step: noted once, however often it was killed."""
        await self._write_note(session)
        await self._database[SCHEMA].delete_one({"_id": RESTORE_ID}, session=session)

    async def _load(self) -> None:
        for name in self._names:
            with suppress(CollectionInvalid):  # made before a kill
                await self._database.create_collection(STAGING + name)
        async for group in self._groups():
            await asyncio.gather(*(self._insert(block) for block in group))
            await self._note(Stage.LOADING, group[-1].number)
            self._on_progress(group[-1].number)

    async def _groups(self) -> AsyncIterator[list[Block]]:
        """Blocks that are not done; each is checked again as it is read."""
        reader = BlockReader(self._file)
        if reader.head != self._contents.head:
            raise LoadError("the file was changed after it was verified")
        blocks = (block for block in reader.blocks() if block.number > self._state.blocks)
        while group := await asyncio.to_thread(lambda: list(islice(blocks, GROUP_BLOCKS))):
            yield group
        if reader.totals is None or reader.totals.sha256.hex() != self._contents.name:
            raise LoadError("the file was changed after it was verified")

    async def _insert(self, block: Block) -> None:
        assert block.collection is not None
        name = self._names[block.collection]
        rows: list[Mapping[str, Any]] = [RawBSONDocument(bytes(part)) for part in split_documents(block.content)]
        if name == LINKS:
            rows = [self._raised(row) for row in rows]
        try:
            await self._database[STAGING + name].insert_many(rows, ordered=False)
        except BulkWriteError as error:
            details: Mapping[str, Any] = error.details
            codes = {failure["code"] for failure in details["writeErrors"]}
            if codes != {DUPLICATE_KEY} or details.get("writeConcernErrors"):
                raise

    def _raised(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        assert isinstance(row, RawBSONDocument)
        link: dict[str, Any] = bson.decode(row.raw)
        link["version"] = Int64(max(int(link["version"]) + 1, self._state.version_min))
        return link

    async def _finish_staging(self) -> None:
        for collection, expected in zip(self._contents.head.collections, self._contents.documents, strict=True):
            staged = self._database[STAGING + collection.name]
            found = await staged.count_documents({}, hint="_id_")
            if found != expected:
                raise LoadError(f"{collection.name}: {found} documents where the backup has {expected}")
            if collection.indexes:
                await staged.create_indexes([_model(index) for index in collection.indexes])

    async def _swap(self) -> None:
        staged = set(await self._database.list_collection_names(filter={"type": "collection"}))
        for name in self._names:
            if name != SCHEMA and STAGING + name in staged:
                places = (f"{self._database.name}.{STAGING}{name}", f"{self._database.name}.{name}")
                rename = {"renameCollection": places[0], "to": places[1], "dropTarget": True}
                await self._database.client.admin.command(rename)
        if STAGING + SCHEMA in staged:
            await self._swap_schema()
        for name in await kept_collections(self._database):
            if name not in self._names and name != SCHEMA:
                await self._database[name].drop()

    async def _swap_schema(self) -> None:
        """Document by document: the one that keeps programs off must stay."""
        rows = await self._database[STAGING + SCHEMA].find().to_list()
        kept = [RESTORE_ID, *(row["_id"] for row in rows)]
        await self._database[SCHEMA].delete_many({"_id": {"$nin": kept}})
        for row in rows:
            await self._database[SCHEMA].replace_one({"_id": row["_id"]}, row, upsert=True)
        await self._database[STAGING + SCHEMA].drop()

    async def _tell(self) -> None:
        """The announcer does the same at its start, and once more, for readers that are under way just now.

        What waited to be done when the backup was made may have been done since.
        """
        await JobQueue(self._database, kept_s=0).set_aside("the database was restored")
        await self._database[LEASES].delete_many({"_id": {"$ne": LEASE}})
        await self._cache.forget_announced()
        async for _ in self._cache.clear():
            pass
        await self._cache.announce_all()

    async def _note(self, stage: Stage, blocks: int) -> None:
        if not self.lease.is_held:
            raise LeaseLostError(self.lease.name, self.lease.epoch)
        state = self._state
        self._state = Unfinished(state.file, state.name, stage, blocks, state.version_min)
        row = {
            "file": state.file,
            "name": state.name,
            "stage": stage.value,
            "blocks": blocks,
            "version_min": Int64(state.version_min),
        }
        await self._database[SCHEMA].replace_one({"_id": RESTORE_ID}, row, upsert=True)

    async def _keep_lease(self) -> None:
        """Renews beside the work, of which one step may take minutes; a lost lease is noticed at the next note."""
        with suppress(LeaseLostError):
            while True:
                await asyncio.sleep(self.lease.life_s / 3)
                with suppress(PyMongoError):  # tried again; the work fails by itself if it goes on
                    await self.lease.renew()


async def _drop_staging(database: Database) -> None:
    for name in await database.list_collection_names(filter={"type": "collection"}):
        if name.startswith(STAGING):
            await database[name].drop()


def _model(index: Mapping[str, Any]) -> IndexModel:
    options = {name: value for name, value in index.items() if name not in ("key", "ns")}
    return IndexModel(list(index["key"].items()), **options)
