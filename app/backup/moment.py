"""One point in time of the whole database, held for as long as it takes to read it.

In: a database. Out: its collections as they were at one moment, in batches of BSON. Reads are MongoDB's snapshot reads:
the first one fixes the time (`atClusterTime`), all others of the session see the same, whatever is written meanwhile.

MongoDB keeps that history for `minSnapshotHistoryWindowInSeconds`, 300 by default. A backup that takes longer raises it
step by step, so that one that is killed leaves it raised by no more than it had taken, and puts it back at its end:

    backups  _id "window/HOST"  before: the window of this mongod when no backup was under way
             _id random         since, seen: a backup that is under way; not seen for FORGOTTEN_S: it was killed

The window is what the longest of them needs, so they may run side by side; the next one mends what a killed one left.
Who may not set the parameter reads without it: as soon as the history is gone, `MomentLostError` says so, and nothing
that was read is kept. May import: stores.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import OperationFailure

from app.stores import Database

__all__ = ["BACKUPS", "Moment", "MomentLostError"]

BACKUPS = "backups"
BATCH_DOCUMENTS = 2_000  # of one answer, and one block: 2 MB of buckets
EXTEND_S = 30.0  # between two looks at the window
MARGIN_S = 300  # above what has passed: ten looks may fail
FORGOTTEN_S = 180
_WINDOW = "minSnapshotHistoryWindowInSeconds"
#: SnapshotTooOld; SnapshotUnavailable: the collection or its indexes were made or changed after the moment.
_LOST_CODES: dict[int | None, str] = {
    239: "its history was dropped",
    246: "a collection or an index was made meanwhile",
}
#: Unauthorized, CommandNotFound, InvalidOptions: a hosted MongoDB, or a role that may only read and write.
_FORBIDDEN_CODES = frozenset({13, 59, 72})


class MomentLostError(Exception):
    """The point in time cannot be read any more, or not yet: try again."""

    def __init__(self, after_s: float, reason: str, *, may_extend: bool) -> None:
        hint = "" if may_extend else f"; this user may not raise {_WINDOW}: grant it setParameter, or raise it yourself"
        super().__init__(f"no longer one point in time after {after_s:.0f} s: {reason}{hint}")
        self.after_s = after_s


class Moment:
    """One backup's view. `open`, then `batches` of each collection with `tend` now and then, then `close`.

    Args:
        monotonic: seconds that only grow.
    """

    def __init__(self, database: Database, *, monotonic: Callable[[], float]) -> None:
        self._database = database
        self._monotonic = monotonic
        self._backups = database[BACKUPS]
        self._id = secrets.token_hex(8)
        self._session: AsyncClientSession | None = None
        self._since = datetime.now(UTC)
        self._began_s = self._tended_s = monotonic()
        self._may_extend = True

    async def open(self, collections: Sequence[str]) -> None:
        """Fixes the moment; every one of `collections` can be read as it was then.

        Raises:
            MomentLostError: one of them was just being made.
        """
        self._since = datetime.now(UTC)
        self._began_s = self._monotonic()
        await self._extend()
        self._session = self._database.client.start_session(snapshot=True)
        for name in collections:
            with self._judging():
                await self._database[name].find_one({}, {"_id": 1}, session=self._session)

    async def batches(self, collection: str) -> AsyncIterator[bytes]:
        """A collection's documents at that moment."""
        assert self._session is not None
        # The cursor lives as long as its session, however slowly the reader of a pipe takes what it gets.
        cursor: Any = self._database[collection].find_raw_batches(
            {}, session=self._session, batch_size=BATCH_DOCUMENTS, no_cursor_timeout=True
        )
        try:
            with self._judging():
                async for batch in cursor:
                    yield batch
        finally:
            await cursor.close()

    async def tend(self) -> None:
        """Keeps the history; cheap, so call it with each batch."""
        if self._monotonic() - self._tended_s >= EXTEND_S:
            await self._extend()

    async def close(self) -> None:
        """Ends the view and puts the window back, unless another backup needs it."""
        if self._session is not None:
            await self._session.end_session()
            self._session = None
        await self._backups.delete_one({"_id": self._id})
        if self._may_extend:
            await self._set_window()

    async def _extend(self) -> None:
        self._tended_s = self._monotonic()
        update = [{"$set": {"since": self._since, "seen": "$$NOW"}}]
        await self._backups.update_one({"_id": self._id}, update, upsert=True)
        if not self._may_extend:
            return
        try:
            await self._set_window()
        except OperationFailure as error:
            if error.code not in _FORBIDDEN_CODES:
                raise
            self._may_extend = False

    async def _set_window(self) -> None:
        """Sets what the longest living backup needs, or what was set before there was any."""
        admin = self._database.client.admin
        place = {"_id": f"window/{(await admin.command('hello')).get('me', '')}"}
        now_s = int((await admin.command({"getParameter": 1, _WINDOW: 1}))[_WINDOW])
        forgotten = {"since": {"$exists": True}, "$expr": {"$lt": ["$seen", _ago("$$NOW", FORGOTTEN_S)]}}
        await self._backups.delete_many(forgotten)
        oldest = await self._backups.find_one({"since": {"$exists": True}}, sort=[("since", 1)])
        if oldest is None:
            note: Any = await self._backups.find_one_and_delete(place)
            wanted_s = now_s if note is None else int(note["before"])
        else:
            await self._backups.update_one(place, {"$setOnInsert": {"before": now_s}}, upsert=True)
            note = await self._backups.find_one(place)
            before_s = now_s if note is None else int(note["before"])
            needed = datetime.now(UTC) - oldest["since"] + timedelta(seconds=MARGIN_S)
            wanted_s = max(before_s, int(needed.total_seconds()))
        if wanted_s != now_s:
            await admin.command({"setParameter": 1, _WINDOW: wanted_s})

    @contextmanager
    def _judging(self) -> Iterator[None]:
        """Says of MongoDB's errors which mean that the moment is lost."""
        try:
            yield
        except OperationFailure as error:
            if error.code not in _LOST_CODES:
                raise
            passed_s = self._monotonic() - self._began_s
            raise MomentLostError(passed_s, _LOST_CODES[error.code], may_extend=self._may_extend) from error


def _ago(moment: str, seconds: int) -> dict[str, Any]:
    return {"$subtract": [moment, seconds * 1000]}
