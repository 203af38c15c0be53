"""Reads a database at one moment and writes it as a backup, step by step.

In: a database and a file. Out: a whole backup in the file, or an error. Memory holds one batch, whatever is read.

Left out is what belongs to a running instance and not to its data: who holds which lease, which backups are under way,
what an unfinished restore has loaded; and, if asked, everything that counts clicks. `checkpoints` are always in it,
with the buckets of the same moment: with a node's journals at hand, exactly what is missing is applied after a restore.
May import: stores.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from importlib.metadata import version
from typing import Any, BinaryIO

from app.backup.format import BlockWriter, Collection, Head
from app.backup.moment import BACKUPS, Moment, MomentLostError
from app.stores import LEASES, SCHEMA, SCHEMA_VERSION, Database, check_data

__all__ = ["STAGING", "Dump", "kept_collections"]

STAGING = "restoring."  # names of collections that a restore fills begin so
CLICKS = "clicks_"  # names of collections that count clicks begin so
OPEN_TRIES = 20  # of a moment in which no collection is just being made; half a second apart
OPEN_PAUSE_S = 0.5
_NOT_DATA = frozenset({LEASES, BACKUPS})


async def kept_collections(database: Database) -> list[str]:
    """Names of the collections that hold data, in order."""
    names = await database.list_collection_names(filter={"type": "collection"})
    return sorted(name for name in names if name not in _NOT_DATA and not name.startswith(("system.", STAGING)))


class Dump:
    """One backup that is being written: `open`, `step` until it says so, then `close`; `close` also after an error.

    Args:
        monotonic: seconds that only grow.
        wall: Unix time in seconds.

    Attributes:
        writer: its counts say how far this is.
        expected: about how many documents there will be.
        name: the finished backup's digest.
    """

    def __init__(
        self,
        database: Database,
        *,
        has_clicks: bool,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.writer: BlockWriter | None = None
        self.expected = 0
        self.name = ""
        self._database = database
        self._has_clicks = has_clicks
        self._monotonic = monotonic
        self._wall = wall
        self._moment = Moment(database, monotonic=monotonic)
        self._names: list[str] = []
        self._batches: AsyncIterator[bytes] | None = None
        self._current = 0

    async def open(self, file: BinaryIO) -> None:
        """Fixes the moment and writes the head.

        Raises:
            MomentLostError: collections are being made all the time.
            SchemaError, HalfRestoredError: this is no data to keep.
        """
        await check_data(self._database)
        for tries_left in reversed(range(OPEN_TRIES)):
            self._names = await self._collections()
            moment_s = self._wall()
            try:
                await self._moment.open(self._names)
            except MomentLostError:
                if not tries_left:
                    raise
            else:
                if await self._collections() == self._names:  # what was made in between holds something at the moment
                    break
            await self._moment.close()
            await asyncio.sleep(OPEN_PAUSE_S)
        collections = [Collection(name, await self._indexes(name)) for name in self._names]
        for name in self._names:
            self.expected += await self._database[name].estimated_document_count()
        row = await self._database[SCHEMA].find_one({"_id": "boltlink"})
        head = Head(
            moment_s=moment_s,
            release=version("boltlink"),
            schema=SCHEMA_VERSION if row is None else int(row["version"]),
            has_clicks=self._has_clicks,
            collections=collections,
        )
        self.writer = await asyncio.to_thread(BlockWriter, file, head)

    async def step(self) -> bool:
        """Writes one batch; False when there is none left and the end is written.

        Raises:
            MomentLostError: what was written is of no use.
            PyMongoError: MongoDB does not answer; the same holds.
            OSError: the file cannot be written.
        """
        assert self.writer is not None
        await self._moment.tend()
        while self._current < len(self._names):
            if self._batches is None:
                self._batches = self._moment.batches(self._names[self._current])
            batch = await anext(self._batches, None)
            if batch is not None:
                await asyncio.to_thread(self.writer.add, self._current, batch)
                return True
            self._batches, self._current = None, self._current + 1
        self.name = await asyncio.to_thread(self.writer.end)
        return False

    async def close(self) -> None:
        """Lets MongoDB forget the moment."""
        await self._moment.close()

    async def _collections(self) -> list[str]:
        names = await kept_collections(self._database)
        return [name for name in names if self._has_clicks or not name.startswith(CLICKS)]

    async def _indexes(self, collection: str) -> list[dict[str, Any]]:
        rows = await (await self._database[collection].list_indexes()).to_list()
        return [_plain(row) for row in rows if row["name"] != "_id_"]


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: dict(value) if isinstance(value, Mapping) else value for key, value in row.items() if key != "v"}
