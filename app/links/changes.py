"""Follows changes of links in MongoDB, in batches, from any point that its oplog still holds.

In: the change stream of `links`, on a majority. Out: keys whose `version` changed, in order, and a token behind them.
Changes that leave the version alone (counts written by rollup) are filtered by MongoDB. What a key now holds is read
separately: the newest is wanted, whatever the event was.

One `getMore` is always under way, so that a change is seen when it happens and not at the next poll; whoever takes a
batch gets what has come until then. A token is a hex string, and tokens compare as their points in time do (MongoDB's
manual, "Change Streams", resume tokens). May import: pymongo, stores.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.errors import OperationFailure

from app.links.storage import LINKS
from app.stores import Database

__all__ = ["ChangeFeed", "HistoryLostError"]

BATCH_MAX = 1_000  # events; read again in one `$in`, announced in one pipeline: 0.1 s
AWAIT_MS = 1_000  # how long MongoDB holds an empty answer back; also how old a token of a quiet time is
_PIPELINE: list[dict[str, Any]] = [
    {
        "$match": {
            "$or": [{"operationType": {"$ne": "update"}}, {"updateDescription.updatedFields.version": {"$gt": 0}}]
        }
    },
    {"$project": {"operationType": 1, "documentKey": 1}},
]
_OF_ONE_KEY = frozenset({"insert", "update", "replace", "delete"})
#: FailedToParse and Overflow (no token at all), InvalidResumeToken, ChangeStreamFatalError, ChangeStreamHistoryLost
#: (MongoDB's error_codes.yml).
_LOST_CODES = frozenset({9, 15, 260, 280, 286})


class HistoryLostError(Exception):
    """What happened since the token cannot be known: the oplog is too short, or the collection was replaced."""


class ChangeFeed:
    """One reader of the stream.

    Attributes:
        token: behind the last batch that was taken; None until a stream from now on has said where that is.
    """

    def __init__(self, database: Database) -> None:
        self.token: str | None = None
        self._links = database[LINKS]
        self._stream: AsyncChangeStream[Mapping[str, Any]] | None = None
        self._next: asyncio.Task[tuple[Mapping[str, Any] | None, str | None]] | None = None

    async def open(self, token: str | None) -> None:
        """Follows from behind `token`; None: from now on.

        Raises:
            HistoryLostError: that point is gone; nothing is open.
        """
        await self.close()
        after = None if token is None else {"_data": token}
        try:
            self._stream = await self._links.watch(_PIPELINE, start_after=after, max_await_time_ms=AWAIT_MS)
        except OperationFailure as error:
            raise _judged(error) from error
        self.token = token

    async def next_batch(self, wait_s: float) -> list[str]:
        """Keys that changed, each once, as many as have come; none after `wait_s` seconds.

        Raises:
            HistoryLostError: see `open`.
            PyMongoError: MongoDB does not answer; `open` goes on behind the last batch.
        """
        keys: dict[str, None] = {}
        for _ in range(BATCH_MAX):
            change, token = await self._advance(0.0 if keys else wait_s)
            if token is not None:
                self.token = token
            if change is None:
                break
            if change["operationType"] not in _OF_ONE_KEY:
                raise HistoryLostError(f"the collection {LINKS}: {change['operationType']}")
            keys[change["documentKey"]["_id"]] = None
        return list(keys)

    async def close(self) -> None:
        """Ends the stream, if there is one."""
        stream, pending = self._stream, self._next
        self._stream = self._next = None
        if pending is not None:
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)
        if stream is not None:
            await stream.close()

    async def _advance(self, wait_s: float) -> tuple[Mapping[str, Any] | None, str | None]:
        """The next event, or None, and the token behind it; (None, None) while MongoDB holds its answer back."""
        if self._next is None:
            self._next = asyncio.create_task(self._try_next())
        done, _ = await asyncio.wait({self._next}, timeout=wait_s)
        if not done:
            return None, None
        found, self._next = self._next, None
        try:
            return found.result()
        except OperationFailure as error:
            raise _judged(error) from error

    async def _try_next(self) -> tuple[Mapping[str, Any] | None, str | None]:
        # The token is read in the same step as its event: read later, it might be that of an event not yet taken.
        assert self._stream is not None
        change = await self._stream.try_next()
        token = self._stream.resume_token
        return change, None if token is None else str(token["_data"])


def _judged(error: OperationFailure) -> Exception:
    return HistoryLostError(str(error).split(", full error")[0]) if error.code in _LOST_CODES else error
