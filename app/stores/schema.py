"""The shape of the data: indexes, a version that an older program does not touch, and whether it is whole.

In: the indexes that each room names. Out: a database that has them, and the document `schema` = {version}.

    stored version   what a program of SCHEMA_VERSION does
    none             writes its own: the database is new
    lower            raises it; so far every change is one that older programs bear
    equal            nothing
    higher           refuses: it would write documents that the newer program no longer reads

While a restore is under way, or was killed, `schema` also holds {_id: restore}; no program works on such a database.
Idempotent, so that any number of processes may do it at once; a version never falls, whoever comes last.
May import: pymongo.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pymongo import IndexModel

from app.stores.connections import Database

__all__ = ["RESTORE_ID", "SCHEMA", "SCHEMA_VERSION", "HalfRestoredError", "SchemaError", "check_data", "prepare_schema"]

SCHEMA = "schema"
SCHEMA_VERSION = 1
RESTORE_ID = "restore"
_ID = "boltlink"


class SchemaError(Exception):
    """The database was written by a newer release; `stored` is its version."""

    def __init__(self, stored: int) -> None:
        super().__init__(
            f"the database has schema version {stored}, this program knows {SCHEMA_VERSION}: install a newer release"
        )
        self.stored = stored


class HalfRestoredError(Exception):
    """A restore is under way or was killed; `file` is what it reads."""

    def __init__(self, file: str) -> None:
        super().__init__(f"the database is half restored: finish it with `boltlink restore {file}`, then start again")
        self.file = file


async def check_data(database: Database) -> None:
    """Returns when a program of this release may work on the data.

    Raises:
        SchemaError: it is newer than this program.
        HalfRestoredError: it is not whole.
        PyMongoError: the database does not answer.
    """
    rows = {row["_id"]: row async for row in database[SCHEMA].find({"_id": {"$in": [_ID, RESTORE_ID]}})}
    if (unfinished := rows.get(RESTORE_ID)) is not None:
        raise HalfRestoredError(unfinished.get("file", "FILE"))
    if (row := rows.get(_ID)) is not None and row["version"] > SCHEMA_VERSION:
        raise SchemaError(row["version"])


async def prepare_schema(database: Database, indexes: Mapping[str, Sequence[IndexModel]]) -> None:
    """Checks the version, then makes the indexes of each collection that are missing.

    Raises:
        SchemaError, HalfRestoredError, PyMongoError: see `check_data`; nothing was changed.
    """
    await check_data(database)
    for collection, models in indexes.items():
        await database[collection].create_indexes(models)
    await database[SCHEMA].update_one({"_id": _ID}, {"$max": {"version": SCHEMA_VERSION}}, upsert=True)
