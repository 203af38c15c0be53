"""All of it or none: a transaction of MongoDB, and the one thing its caller must do when it did not happen.

In: writes within a session. Out: committed on a majority, or `LostRaceError`: read again what is stored.
Reads within it see one moment. May import: pymongo, stores.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from app.stores import Database

__all__ = ["LostRaceError", "Trace", "transaction"]

#: Called with the name of each effect just before it happens.
Trace = Callable[[str], None]
_LOST_LABELS = ("TransientTransactionError", "UnknownTransactionCommitResult")


class LostRaceError(Exception):
    """The transaction did not happen, or nobody can say whether it did: read again what is stored."""


@asynccontextmanager
async def transaction(database: Database, trace: Trace = lambda step: None) -> AsyncIterator[AsyncClientSession]:
    """A session whose writes are committed when the block ends, and forgotten when it raises.

    Raises:
        LostRaceError: another wrote the same, or the commit's answer was lost.
        PyMongoError: MongoDB does not answer; nothing is known either.
    """
    async with database.client.start_session() as session:
        trace("begin")
        await session.start_transaction(ReadConcern("snapshot"), WriteConcern("majority"))
        try:
            yield session
            trace("commit")
            await session.commit_transaction()
        except (DuplicateKeyError, BulkWriteError) as error:
            raise LostRaceError(str(error)) from error
        except OperationFailure as error:
            if any(error.has_error_label(label) for label in _LOST_LABELS):
                raise LostRaceError(str(error)) from error
            raise
        trace("committed")
