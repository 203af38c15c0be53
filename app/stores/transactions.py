"""All of it or none: a transaction of MongoDB, and the one thing its caller must do when it did not happen.

In: writes within a session. Out: committed on a majority, or `LostRaceError`: read again what is stored.
Reads within it see one moment. May import: pymongo.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from app.stores.connections import Database

__all__ = ["LostRaceError", "Session", "Trace", "UnknownOutcomeError", "insert_rows", "transact", "transaction"]

T = TypeVar("T")

#: What a write is given to belong to a transaction.
Session = AsyncClientSession
#: Called with the name of each effect just before it happens.
Trace = Callable[[str], None]
_LOST = "TransientTransactionError"
PATIENCE_S = 5.0  # behind others who write the same: a hundred at once in one program take 2 s
PAUSE_S = 0.005
PAUSE_S_MAX = 0.32
INSERT_ROWS = 250  # of one command, which PyMongo encodes in one go: 1 ms; with rows of 70 KB 18 MB, and 48 may be sent


class LostRaceError(Exception):
    """The transaction did not happen, or nobody can say whether it did: read again what is stored."""


class UnknownOutcomeError(LostRaceError):
    """Nobody can say whether it did: the commit's answer was lost."""


@asynccontextmanager
async def transaction(database: Database, trace: Trace = lambda step: None) -> AsyncIterator[AsyncClientSession]:
    """A session whose writes are committed when the block ends, and forgotten when it raises.

    Raises:
        LostRaceError: another wrote the same, or the commit's answer was lost.
        PyMongoError: MongoDB does not answer; nothing happened.
    """
    async with database.client.start_session() as session:
        trace("begin")
        await session.start_transaction(ReadConcern("snapshot"), WriteConcern("majority"))
        try:
            yield session
        except (DuplicateKeyError, BulkWriteError) as error:
            raise LostRaceError(str(error)) from error
        except OperationFailure as error:
            if error.has_error_label(_LOST):
                raise LostRaceError(str(error)) from error
            raise
        await _commit(session, trace)


async def transact(
    database: Database,
    work: Callable[[Session], Awaitable[T]],
    *,
    chance: Callable[[], float] = random.random,
    monotonic: Callable[[], float] = time.monotonic,
) -> T:
    """Does `work` in a transaction, again while others write the same; what it raises ends it.

    Raises:
        DuplicateKeyError, BulkWriteError: what they say; nothing happened.
        PyMongoError: MongoDB does not answer, or others kept writing; the last commit's answer may have been lost.
    """
    until_s, pause_s = monotonic() + PATIENCE_S, PAUSE_S
    while True:
        try:
            async with transaction(database) as session:
                return await work(session)
        except LostRaceError as error:
            cause = error.__cause__
            assert cause is not None
            is_final = isinstance(error, UnknownOutcomeError) or isinstance(cause, DuplicateKeyError | BulkWriteError)
            if is_final or monotonic() >= until_s:
                raise cause from None
        await asyncio.sleep(pause_s * chance())  # all of it by chance: who lost together does not come together again
        pause_s = min(2 * pause_s, PAUSE_S_MAX)


async def insert_rows(database: Database, collection: str, rows: Sequence[Mapping[str, Any]], session: Session) -> None:
    """Inserts documents that have an `_id`, within a transaction: a third cheaper than PyMongo's `insert_many`.

    Raises:
        BulkWriteError: a key is taken; nothing of the transaction happened.
    """
    for start in range(0, len(rows), INSERT_ROWS):
        documents = rows[start : start + INSERT_ROWS]
        reply = await database.command("insert", collection, documents=documents, session=session)
        if "writeErrors" in reply:
            raise BulkWriteError(reply)


async def _commit(session: AsyncClientSession, trace: Trace) -> None:
    try:
        trace("commit")
        await session.commit_transaction()
        trace("committed")
    except PyMongoError as error:
        if error.has_error_label(_LOST):
            raise LostRaceError(str(error)) from error
        raise UnknownOutcomeError(str(error)) from error
