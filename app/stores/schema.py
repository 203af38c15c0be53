"""The shape of the data: indexes, and versions that tell programs whether they understand each other.

In: the indexes that the rooms name. Out: a database that has them, and in the collection `schema` the document

    boltlink   version  of the newest program that has made its indexes here
               oldest   version a program must have at least to work on it
               digest   of the indexes that were made, so that a start asks for one document and makes none

    stored                    what a program does
    none                      makes everything: the database is new
    oldest > its own          refuses: it would write documents that the newer program no longer reads
    version > its own         nothing: a newer program runs beside it, and has made what it needs
    version lower, or digest  makes missing indexes, then drops those that nobody wants any more
    the same                  nothing

While a restore is under way, or was killed, `schema` also holds {_id: restore}; no program works on such a database.
Idempotent, so that any number of processes may do it at once; versions never fall, whoever comes last. Contents are
moved by `app.stores.migrations`, which keeps its own rows here. Which changes are allowed: docs/architecture.md.
May import: pymongo.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import pymongo
from pymongo import IndexModel
from pymongo.errors import OperationFailure

from app.stores.connections import Database

__all__ = [
    "RESTORE_ID",
    "SCHEMA",
    "SCHEMA_VERSION",
    "HalfRestoredError",
    "SchemaError",
    "SchemaState",
    "Shape",
    "check_data",
    "make_schema",
    "missing_indexes",
    "read_schema",
]

SCHEMA = "schema"
SCHEMA_VERSION = 2  # rises with each migration and each index that is dropped
OLDEST_VERSION = 1  # of the programs that may run beside this one
BUILD_S = 3_600.0  # of one collection's indexes; MongoDB goes on building when nobody waits any more
INDEX_NOT_FOUND, NAMESPACE_NOT_FOUND = 27, 26
RESTORE_ID = "restore"
_ID = "boltlink"


class SchemaError(Exception):
    """The database needs a newer release; `oldest` is the version that a program must have."""

    def __init__(self, oldest: int) -> None:
        super().__init__(
            f"the database needs programs of schema version {oldest} or later, this one has {SCHEMA_VERSION}: "
            "install a newer release"
        )
        self.oldest = oldest


class HalfRestoredError(Exception):
    """A restore is under way or was killed; `file` is what it reads."""

    def __init__(self, file: str) -> None:
        super().__init__(f"the database is half restored: finish it with `boltlink restore {file}`, then start again")
        self.file = file


class SchemaState(Enum):
    """How a database stands to this program."""

    NEW = "new"
    OUTDATED = "outdated"
    CURRENT = "current"


@dataclass(frozen=True)
class Shape:
    """The indexes of each collection, and names of those that earlier releases made."""

    indexes: Mapping[str, Sequence[IndexModel]]
    obsolete: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def digest(self) -> str:
        """Equal for equal indexes."""
        wanted = {name: [model.document for model in models] for name, models in self.indexes.items()}
        text = json.dumps([wanted, {name: list(names) for name, names in self.obsolete.items()}], default=dict)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


async def check_data(database: Database) -> Mapping[str, Any] | None:
    """What is noted of a database that this program may work on; None of a new one.

    Raises:
        SchemaError: the database needs a newer program.
        HalfRestoredError: it is not whole.
        PyMongoError: it does not answer.
    """
    rows = {row["_id"]: row async for row in database[SCHEMA].find({"_id": {"$in": [_ID, RESTORE_ID]}})}
    if (unfinished := rows.get(RESTORE_ID)) is not None:
        raise HalfRestoredError(unfinished.get("file", "FILE"))
    row = rows.get(_ID)
    oldest: int = 0 if row is None else row.get("oldest", row["version"])
    if oldest > SCHEMA_VERSION:
        raise SchemaError(oldest)
    return row


async def read_schema(database: Database, shape: Shape) -> SchemaState:
    """Looks whether there is something to make; changes nothing and raises as `check_data`."""
    row = await check_data(database)
    if row is None:
        return SchemaState.NEW
    if row["version"] > SCHEMA_VERSION:  # a newer release knows better which there shall be
        return SchemaState.CURRENT
    is_noted = (row["version"], row.get("digest")) == (SCHEMA_VERSION, shape.digest())
    is_made = is_noted and not await missing_indexes(database, shape)
    return SchemaState.CURRENT if is_made else SchemaState.OUTDATED


async def missing_indexes(database: Database, shape: Shape) -> list[str]:
    """`COLLECTION.INDEX` of each that is not there, as somebody may have dropped one by hand."""
    there = set(await database.list_collection_names())
    missing: list[str] = []
    for collection, models in shape.indexes.items():
        known = await database[collection].index_information() if collection in there else {}
        names = (str(model.document["name"]) for model in models)
        missing += [f"{collection}.{name}" for name in names if name not in known]
    return missing


async def make_schema(database: Database, shape: Shape) -> None:
    """Makes the indexes that are missing, drops those that are obsolete, and notes the version.

    Raises:
        SchemaError, HalfRestoredError: see `check_data`; nothing was changed.
        PyMongoError: it does not answer, or holds what an index forbids.
    """
    if await read_schema(database, shape) is SchemaState.CURRENT:
        return
    with pymongo.timeout(BUILD_S):
        for collection, models in shape.indexes.items():
            await database[collection].create_indexes(list(models))
    for collection, names in shape.obsolete.items():
        for name in names:
            await _drop(database, collection, name)
    made: dict[str, Any] = {"version": SCHEMA_VERSION, "oldest": OLDEST_VERSION}
    await database[SCHEMA].update_one({"_id": _ID}, {"$max": made, "$set": {"digest": shape.digest()}}, upsert=True)


async def _drop(database: Database, collection: str, name: str) -> None:
    try:
        await database[collection].drop_index(name)
    except OperationFailure as error:
        if error.code not in (INDEX_NOT_FOUND, NAMESPACE_NOT_FOUND):
            raise
