"""The whole schema, as the rooms declare it, and who brings a database up to it.

In: indexes of the rooms. Out: a database that has them, made by one process of all (the lease `schema`). Documents are
migrated by `app.migrating`.

    new database        nobody serves the API before the indexes are there, as unique ones guard what is written
    outdated database   served at once: what is new is missing for as long as it takes to make it, and no longer
    current database    its indexes are looked at, as one may have been dropped; nothing is made, and nobody waits

Redirects wait for none of this. May import: the rooms that store.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from pymongo.errors import PyMongoError

from app.accounts import INDEXES as ACCOUNT_INDEXES
from app.analytics import INDEXES as CLICK_INDEXES
from app.api import INDEXES as API_INDEXES
from app.jobs import INDEXES as JOB_INDEXES
from app.links import INDEXES as LINK_INDEXES
from app.links import LINKS
from app.links import OBSOLETE as LINK_OBSOLETE
from app.migrating import MIGRATIONS
from app.observe import get_logger, reason_of
from app.stores import (
    Database,
    Lease,
    SchemaState,
    Shape,
    make_schema,
    mark_migrated,
    read_schema,
    renewing,
)
from app.webhooks import INDEXES as WEBHOOK_INDEXES

__all__ = ["SHAPE", "bring_up"]

SHAPE = Shape(
    {LINKS: LINK_INDEXES, **ACCOUNT_INDEXES, **API_INDEXES, **CLICK_INDEXES, **JOB_INDEXES, **WEBHOOK_INDEXES},
    {LINKS: LINK_OBSOLETE},
)
WAIT_S = 0.1  # for another process that makes the indexes
RETRY_S = 0.5


async def bring_up(database: Database, holder: str, on_usable: Callable[[], Awaitable[None]]) -> None:
    """Until the database has the schema; `on_usable` is awaited once, as soon as the API may be served.

    Raises:
        SchemaError, HalfRestoredError: it is no database for this program.
    """
    lease = Lease(database, "schema", holder=holder, monotonic=time.monotonic)
    is_usable = False
    while True:
        try:
            state = await read_schema(database, SHAPE)
            if state is not SchemaState.NEW and not is_usable:
                await on_usable()
                is_usable = True
            if state is SchemaState.CURRENT:
                return
            if await lease.acquire():
                async with renewing(lease):
                    await _make(database, state)
            else:
                await asyncio.sleep(WAIT_S)
        except PyMongoError as error:
            get_logger().warning("waiting for MongoDB", reason=reason_of(error))
            await asyncio.sleep(RETRY_S)


async def _make(database: Database, state: SchemaState) -> None:
    began_s = time.monotonic()
    get_logger().info("making indexes", state=state.value)
    if state is SchemaState.NEW:
        await mark_migrated(database, MIGRATIONS)
    await make_schema(database, SHAPE)
    get_logger().info("indexes made", seconds=round(time.monotonic() - began_s, 3))
