"""The shape of the data: indexes, and a version that an older program does not touch.

In: the indexes that each room names. Out: a database that has them, and the document `schema` = {version}.

    stored version   what a program of SCHEMA_VERSION does
    none             writes its own: the database is new
    lower            raises it; so far every change is one that older programs bear
    equal            nothing
    higher           refuses: it would write documents that the newer program no longer reads

Idempotent, so that any number of processes may do it at once; a version never falls, whoever comes last.
May import: pymongo.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pymongo import IndexModel

from app.stores.connections import Database

__all__ = ["SCHEMA", "SCHEMA_VERSION", "SchemaError", "prepare_schema"]

SCHEMA = "schema"
SCHEMA_VERSION = 1
_ID = "boltlink"


class SchemaError(Exception):
    """The database was written by a newer release; `stored` is its version."""

    def __init__(self, stored: int) -> None:
        super().__init__(
            f"the database has schema version {stored}, this program knows {SCHEMA_VERSION}: install a newer release"
        )
        self.stored = stored


async def prepare_schema(database: Database, indexes: Mapping[str, Sequence[IndexModel]]) -> None:
    """Checks the version, then makes the indexes of each collection that are missing.

    Raises:
        SchemaError: the database is newer than this program; nothing was changed.
        PyMongoError: it does not answer.
    """
    row = await database[SCHEMA].find_one({"_id": _ID})
    if row is not None and row["version"] > SCHEMA_VERSION:
        raise SchemaError(row["version"])
    for collection, models in indexes.items():
        await database[collection].create_indexes(models)
    await database[SCHEMA].update_one({"_id": _ID}, {"$max": {"version": SCHEMA_VERSION}}, upsert=True)
