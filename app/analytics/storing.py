"""Stores one batch: checkpoints move and buckets are written, all or nothing.

In: checkpoints by where they must stand and where they go; documents with the `rev` that must be there. Out: nothing,
when a majority has it; else an error that says what is known.

Effects, in order: begin, move checkpoints, compare buckets, write buckets, commit. `rev` is compared by one read of all
buckets that are to be replaced: it sees the same snapshot as the writes, and a bucket that changes after it makes its
write fail. A replacement by `_id` alone costs MongoDB half of one by `_id` and `rev`: docs/performance.md#aggregator.
May import: stores.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bson.int64 import Int64
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import OperationFailure

from app.stores import Database, LostRaceError, Trace, transaction

__all__ = ["CHECKPOINTS", "Move", "RefusedError", "Storing", "Write"]

CHECKPOINTS = "checkpoints"
COMMAND_BYTES_MAX = 2 * 1024 * 1024  # of documents in one command: it is in memory as objects and as BSON
_DUPLICATE_KEY = 11000
#: Commands that fail for these reasons fail whatever the document is: no right, no transactions, no time, no disk.
_NOT_THE_DOCUMENT = frozenset({None, 13, 18, 20, 26, 50, 59, 8000, 14031})


class RefusedError(Exception):
    """MongoDB refuses one of the documents; nothing happened."""


class _TrialError(Exception):
    """It was a trial: nothing is to happen."""


@dataclass(frozen=True, slots=True)
class Move:
    """From where to where a batch was read in a source."""

    source: str
    begin: int
    end: int


class Write(NamedTuple):
    """One bucket to store.

    Attributes:
        rev: of the document that is there and shall be replaced; 0: there is none.
        size_bytes: about the document's.
    """

    collection: str
    document: Mapping[str, Any]
    rev: int
    size_bytes: int


class Storing:
    """Stores the batches of one ledger.

    Args:
        trace: called with the name of each effect just before it happens.
    """

    def __init__(self, database: Database, trace: Trace) -> None:
        self._database = database
        self._trace = trace

    async def store(
        self,
        moves: Sequence[Move],
        fields: Mapping[str, Any],
        writes: Sequence[Write],
        notes: Sequence[Mapping[str, Any]],
    ) -> None:
        """Stores everything or nothing.

        Args:
            moves: checkpoints.
            fields: what each moved checkpoint says besides.
            notes: more updates of checkpoints, as MongoDB's command takes them.

        Raises:
            LostRaceError: nothing happened.
            UnknownOutcomeError: it happened or not.
            RefusedError: nothing happened.
            PyMongoError: nothing happened; MongoDB does not answer, or refuses everything.
        """
        try:
            async with transaction(self._database, self._trace) as session:
                await self._move_checkpoints(session, moves, fields, notes)
                await self._write(session, writes)
        except OperationFailure as error:
            raise _judged(error) from error

    async def try_out(self, writes: Sequence[Write]) -> None:
        """Writes and gives up before the commit; raises what `store` would raise of the writes."""
        try:
            async with transaction(self._database, self._trace) as session:
                await self._write(session, writes)
                raise _TrialError
        except _TrialError:
            return
        except OperationFailure as error:
            raise _judged(error) from error

    async def _move_checkpoints(
        self,
        session: AsyncClientSession,
        moves: Sequence[Move],
        fields: Mapping[str, Any],
        notes: Sequence[Mapping[str, Any]],
    ) -> None:
        updates: list[Mapping[str, Any]] = [
            {
                "q": {"_id": move.source, "applied": Int64(move.begin)},
                "u": {"$set": {"applied": Int64(move.end), **fields}, "$unset": {"retired": ""}},
                "upsert": move.begin == 0,
            }
            for move in moves
        ]
        updates += notes
        if updates:
            self._trace("move checkpoints")
            await self._command(session, {"update": CHECKPOINTS, "updates": updates, "ordered": True}, len(updates))

    async def _write(self, session: AsyncClientSession, writes: Sequence[Write]) -> None:
        for name in sorted({write.collection for write in writes}):
            mine = [write for write in writes if write.collection == name]
            replaced = [write for write in mine if write.rev]
            if replaced:
                await self._compare(session, name, {write.document["_id"]: write.rev for write in replaced})
            self._trace("write buckets")
            for documents in _portions(replaced):
                updates = [{"q": {"_id": document["_id"]}, "u": document} for document in documents]
                command = {"update": name, "updates": updates, "ordered": False}
                await self._command(session, command, len(updates))
            for documents in _portions(write for write in mine if not write.rev):
                command = {"insert": name, "documents": documents, "ordered": False}
                await self._command(session, command, len(documents))

    async def _compare(self, session: AsyncClientSession, name: str, revs: dict[str, int]) -> None:
        """Raises LostRaceError unless each bucket is there with the `rev` it had."""
        self._trace("compare buckets")
        command = {
            "find": name,
            "filter": {"_id": {"$in": list(revs)}},
            "projection": {"rev": 1},
            "batchSize": len(revs) + 1,
            "singleBatch": True,
        }
        reply = await self._database.command(command, session=session)
        if {row["_id"]: row["rev"] for row in reply["cursor"]["firstBatch"]} != revs:
            raise LostRaceError("a bucket was changed by another")

    async def _command(self, session: AsyncClientSession, command: dict[str, Any], count: int) -> None:
        """A write of `count` documents, all of which must be written."""
        reply = await self._database.command(command, session=session)
        if errors := reply.get("writeErrors"):
            if errors[0]["code"] == _DUPLICATE_KEY:
                raise LostRaceError(errors[0]["errmsg"][:200])
            raise RefusedError(errors[0]["errmsg"][:200])
        if reply["n"] != count:
            raise LostRaceError("a checkpoint or a bucket was changed by another")


def _judged(error: OperationFailure) -> Exception:
    return error if error.code in _NOT_THE_DOCUMENT else RefusedError(str(error)[:200])


def _portions(writes: Iterable[Write]) -> Iterable[list[Mapping[str, Any]]]:
    """Documents, as many at once as a command may hold."""
    portion: list[Mapping[str, Any]] = []
    size = 0
    for write in writes:
        if portion and size + write.size_bytes > COMMAND_BYTES_MAX:
            yield portion
            portion, size = [], 0
        portion.append(write.document)
        size += write.size_bytes
    if portion:
        yield portion
