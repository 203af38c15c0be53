"""Follows a collection's change stream from any point that MongoDB's oplog still holds.

In: a pipeline, and a token. Out: events in the order of their commits, on a majority, and the token behind each.
One `getMore` is always under way, so that a change is seen when it happens and not at the next poll. A token is a hex
string, and tokens compare as their points in time do (MongoDB's manual, "Change Streams", resume tokens).
May import: pymongo.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import OperationFailure

__all__ = ["ChangeStream", "HistoryLostError"]

AWAIT_MS = 1_000  # how long MongoDB holds an empty answer back; also how old a token of a quiet time is
_OF_ONE_KEY = frozenset({"insert", "update", "replace", "delete"})
#: FailedToParse and Overflow (no token at all), InvalidResumeToken, ChangeStreamFatalError, ChangeStreamHistoryLost
#: (MongoDB's error_codes.yml).
_LOST_CODES = frozenset({9, 15, 260, 280, 286})


class HistoryLostError(Exception):
    """What happened since the token cannot be known: the oplog is too short, or the collection was replaced."""


class ChangeStream:
    """One reader of a collection's stream.

    Attributes:
        token: behind the last event that was taken; None until a stream from now on has said where that is.
    """

    def __init__(self, collection: AsyncCollection[Mapping[str, Any]], pipeline: Sequence[Mapping[str, Any]]) -> None:
        self.token: str | None = None
        self._collection = collection
        self._pipeline = pipeline
        self._stream: AsyncChangeStream[Mapping[str, Any]] | None = None
        self._next: asyncio.Task[tuple[Mapping[str, Any] | None, str | None]] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it follows."""
        return self._stream is not None

    async def open(self, token: str | None) -> None:
        """Follows from behind `token`; None: from now on.

        Raises:
            HistoryLostError: that point is gone; nothing is open.
        """
        await self.close()
        after = None if token is None else {"_data": token}
        try:
            self._stream = await self._collection.watch(self._pipeline, start_after=after, max_await_time_ms=AWAIT_MS)
        except OperationFailure as error:
            raise _judged(error) from error
        self.token = token

    async def take(self, most: int, wait_s: float) -> list[Mapping[str, Any]]:
        """Events as many as have come, `most` of them; none after `wait_s` seconds.

        Raises:
            HistoryLostError: see `open`.
            PyMongoError: MongoDB does not answer; `open` goes on behind what was taken last.
        """
        events: list[Mapping[str, Any]] = []
        for _ in range(most):
            event, token = await self._advance(0.0 if events else wait_s)
            if token is not None:
                self.token = token
            if event is None:
                break
            if event["operationType"] not in _OF_ONE_KEY:
                raise HistoryLostError(f"the collection {self._collection.name}: {event['operationType']}")
            events.append(event)
        return events

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
        event = await self._stream.try_next()
        token = self._stream.resume_token
        return event, None if token is None else str(token["_data"])


def _judged(error: OperationFailure) -> Exception:
    return HistoryLostError(str(error).split(", full error")[0]) if error.code in _LOST_CODES else error
