"""One of many does a piece of work: a lease in MongoDB, with a number that rises with each new holder.

In: the lease's name and who asks. Out: whether this process holds it, and a check that a transaction can rely on.

    leases   _id = name, holder, epoch (rises with each new holder), until (a date by MongoDB's clock), check_ins,
             kept (what a holder leaves to the next one)

    acquire    free, expired or held by a former run of the same holder: epoch + 1, until = now + life
    renew      holder and epoch are still ours: until = now + life, and `kept` if given, in that one write
    check_in   the same inside a transaction
    release    until = now

Expiry is judged by MongoDB ($$NOW), never by this machine's clock, so that a clock that steps makes no second holder.
A process may be stopped at any instruction and go on after its lease went to another. It then believes that it holds
it; so every effect that must happen once is in a transaction that checks in. `check_in` writes the row: either the
next holder's `acquire` came first, and the transaction fails (no match, or a write conflict), or it waits for the
transaction's end. So a stale holder changes nothing. A process that is stopped just then, its transaction open, holds
the next one up until MongoDB ends it (transactionLifetimeLimitSeconds, half as much again at worst): so check in last,
right before the commit.

A holder's name is stable over restarts of one program on one machine, where a lock says that the former run is dead:
so a killed program holds its lease again at once, while others wait until it expires. May import: pymongo.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from bson.int64 import Int64
from pymongo import ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError, PyMongoError

from app.stores.connections import Database

__all__ = ["LEASES", "Lease", "LeaseLostError", "renewing"]

LEASES = "leases"
LIFE_S = 10.0  # a holder that is gone is replaced within this and one try; well above a stepped-down primary's 2-3 s
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


class LeaseLostError(Exception):
    """This process is not the holder any more: it must stop what it did as one, and may stand by."""

    def __init__(self, name: str, epoch: int) -> None:
        super().__init__(f"the lease {name!r} went to another holder after epoch {epoch}")
        self.name = name
        self.epoch = epoch


class Lease:
    """One process's claim to one lease; its methods raise `PyMongoError` when MongoDB does not answer.

    Args:
        holder: who asks; two processes that live at the same time must differ.
        monotonic: a clock in seconds, only for when to renew.

    Attributes:
        epoch: the number under which this process holds the lease; 0 while it does not.
        kept: what the last holder kept, as read when the lease was acquired, then what this one kept.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        *,
        holder: str,
        monotonic: Callable[[], float],
        life_s: float = LIFE_S,
    ) -> None:
        self.name = name
        self.holder = holder
        self.epoch = 0
        self.kept: Mapping[str, Any] = {}
        self.life_s = life_s
        self._rows = database[LEASES]
        self._monotonic = monotonic
        self._renewed_s = float("-inf")
        self._has_row = False
        self._held_once = False

    @property
    def is_held(self) -> bool:
        """Whether this process has no reason to think that it lost the lease."""
        return self.epoch > 0

    @property
    def is_due(self) -> bool:
        """Whether to renew now: a third of the life is over."""
        return self._monotonic() - self._renewed_s >= self.life_s / 3

    async def acquire(self) -> bool:
        """Takes the lease if it is free; whether it is held now."""
        if self.is_held:
            return True
        if not self._has_row:
            await self._make_row()
        free: list[dict[str, Any]] = [{"$expr": {"$lte": ["$until", "$$NOW"]}}]
        if not self._held_once:  # what a former run of this holder had; never again, or two would take turns
            free.append({"holder": self.holder})
        asked_s = self._monotonic()
        taken = {"holder": self.holder, "epoch": {"$add": ["$epoch", Int64(1)]}, "until": self._until()}
        row = await self._rows.find_one_and_update(
            {"_id": self.name, "$or": free}, [{"$set": taken}], return_document=ReturnDocument.AFTER
        )
        if row is None:
            return False
        self.epoch, self.kept = int(row["epoch"]), row.get("kept", {})
        self._renewed_s = asked_s
        self._held_once = True
        return True

    async def renew(self, kept: Mapping[str, Any] | None = None) -> None:
        """Holds the lease for another life, and keeps `kept` for whoever holds it next.

        Raises:
            LeaseLostError: another holds it; nothing was kept.
        """
        asked_s = self._monotonic()
        fields: dict[str, Any] = {"until": self._until()}
        if kept is not None:
            fields["kept"] = {"$literal": dict(kept)}
        await self._change(fields, None)
        self._renewed_s = asked_s
        if kept is not None:
            self.kept = dict(kept)

    async def check_in(self, session: AsyncClientSession) -> None:
        """Inside the session's transaction: it commits only if this process is the holder then.

        A write conflict with another's `acquire` is a PyMongoError labelled TransientTransactionError, as any; the
        transaction tried again, as `with_transaction` does, ends with:

        Raises:
            LeaseLostError: another holds it, or nobody.
        """
        # Counted, because an update that changes nothing writes nothing, and would conflict with nobody.
        await self._change({"until": self._until(), "check_ins": self._one_more("$check_ins")}, session)

    async def release(self) -> None:
        """Lets the next one have it at once; does nothing if it is not held."""
        if not self.is_held:
            return
        await self._rows.update_one(self._mine(), [{"$set": {"until": "$$NOW"}}])
        self.epoch = 0

    async def _change(self, fields: Mapping[str, Any], session: AsyncClientSession | None) -> None:
        done = await self._rows.update_one(self._mine(), [{"$set": dict(fields)}], session=session)
        if not done.matched_count:
            epoch, self.epoch = self.epoch, 0
            raise LeaseLostError(self.name, epoch)

    async def _make_row(self) -> None:
        row = {"holder": "", "epoch": Int64(0), "until": _NEVER, "check_ins": Int64(0)}
        with contextlib.suppress(DuplicateKeyError):  # another made it at the same moment
            await self._rows.update_one({"_id": self.name}, {"$setOnInsert": row}, upsert=True)
        self._has_row = True

    def _mine(self) -> dict[str, Any]:
        return {"_id": self.name, "holder": self.holder, "epoch": Int64(self.epoch)}

    def _until(self) -> dict[str, Any]:
        return {"$add": ["$$NOW", Int64(self.life_s * 1000)]}

    @staticmethod
    def _one_more(field: str) -> dict[str, Any]:
        return {"$add": [field, Int64(1)]}


@contextlib.asynccontextmanager
async def renewing(lease: Lease) -> AsyncIterator[None]:
    """Keeps a lease that is held while something takes long that may be done twice; gives it back at the end."""
    task = asyncio.create_task(_renew_for_ever(lease))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await lease.release()


async def _renew_for_ever(lease: Lease) -> None:
    while True:
        await asyncio.sleep(lease.life_s / 3)
        with contextlib.suppress(PyMongoError):  # asked again in time, or it runs out
            await lease.renew()
