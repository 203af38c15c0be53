"""Follows changes of links in MongoDB, in batches, from any point that its oplog still holds.

In: the change stream of `links` (`app.stores.stream`). Out: keys whose `version` changed, in order, and a token behind
them. Changes that leave the version alone (counts written by rollup) are filtered by MongoDB. What a key now holds is
read separately: the newest is wanted, whatever the event was. May import: stores.
"""

from __future__ import annotations

from typing import Any

from app.links.storage import LINKS
from app.stores import ChangeStream, Database

__all__ = ["ChangeFeed"]

BATCH_MAX = 1_000  # events; read again in one `$in`, announced in one pipeline: 0.1 s
_PIPELINE: list[dict[str, Any]] = [
    {
        "$match": {
            "$or": [{"operationType": {"$ne": "update"}}, {"updateDescription.updatedFields.version": {"$gt": 0}}]
        }
    },
    {"$project": {"operationType": 1, "documentKey": 1}},
]


class ChangeFeed:
    """One reader of the stream."""

    def __init__(self, database: Database) -> None:
        self._stream = ChangeStream(database[LINKS], _PIPELINE)

    @property
    def token(self) -> str | None:
        """Behind the last batch that was taken; None until a stream from now on has said where that is."""
        return self._stream.token

    async def open(self, token: str | None) -> None:
        """Follows from behind `token`; None: from now on. Raises HistoryLostError: then nothing is open."""
        await self._stream.open(token)

    async def next_batch(self, wait_s: float) -> list[str]:
        """Keys that changed, each once, as many as have come; none after `wait_s` seconds.

        Raises:
            HistoryLostError: what happened since the token cannot be known.
            PyMongoError: MongoDB does not answer; `open` goes on behind the last batch.
        """
        events = await self._stream.take(BATCH_MAX, wait_s)
        return list(dict.fromkeys(event["documentKey"]["_id"] for event in events))

    async def close(self) -> None:
        """Ends the stream, if there is one."""
        await self._stream.close()
