"""Backups of real databases in memory, and what a database holds, to be compared."""

from __future__ import annotations

import io
import time
from collections.abc import Awaitable, Callable
from typing import Any

from app.backup import LEASE, Dump, Load, kept_collections, verify
from app.links import LINKS, LinkCache
from app.stores import Database, Lease, Session
from tests.conftest import Stores

__all__ = ["contents_of", "dump", "fill", "load", "make_load"]


async def fill(database: Database, count: int) -> None:
    """Links with an index, and something beside them."""
    rows = [
        {"_id": f"/s{number}", "link": number + 1, "version": 1_000 + number, "target": f"https://example.com/{number}"}
        for number in range(count)
    ]
    await database[LINKS].insert_many(rows)
    await database[LINKS].create_index([("link", 1)], unique=True)
    await database["checkpoints"].insert_one({"_id": "web_0-0000000000000000", "applied": 64})
    await database["clicks_node"].insert_many([{"_id": f"{number:016x}", "rev": 7} for number in range(count // 2)])


async def dump(database: Database, *, has_clicks: bool = True) -> bytes:
    """A whole backup."""
    file = io.BytesIO()
    made = Dump(database, has_clicks=has_clicks, monotonic=time.monotonic, wall=time.time)
    try:
        await made.open(file)
        while await made.step():
            pass
    finally:
        await made.close()
    return file.getvalue()


async def write_nothing(session: Session) -> None:
    """No note."""


def make_load(
    stores: Stores,
    data: bytes,
    on_progress: Callable[[int], None] = lambda blocks: None,
    write_note: Callable[[Session], Awaitable[None]] = write_nothing,
) -> Load:
    """A restore of a backup, as a command that has the lease begins it."""
    return Load(
        stores.database,
        LinkCache(stores.redis),
        stores_lease(stores),
        contents=verify(io.BytesIO(data)),
        file=io.BytesIO(data),
        path="x.backup",
        on_progress=on_progress,
        write_note=write_note,
    )


def stores_lease(stores: Stores) -> Lease:
    """The lease of restores; `acquire` it."""
    return Lease(stores.database, LEASE, holder="here/restore", monotonic=time.monotonic)


async def load(stores: Stores, data: bytes, *, now_ms: int = 1) -> None:
    """A restore from its beginning to its end."""
    made = make_load(stores, data)
    assert await made.lease.acquire()
    await made.begin(now_ms)
    await made.run()
    await made.lease.release()


async def contents_of(database: Database) -> dict[str, tuple[list[Any], Any]]:
    """Documents and indexes of each collection; versions of links, which a restore raises, left out."""
    found = {}
    for name in await kept_collections(database):
        rows = await database[name].find({}, {"version": 0} if name == LINKS else {}).sort("_id").to_list()
        found[name] = rows, await database[name].index_information()
    return found
