"""Every link once, in the order of keys, a few at a time: for whoever looks at all of them over days.

In: a key. Out: the links behind it, tombstones too, as far as a look at them needs; the place is the caller's to keep.
So a walk goes on behind where it was, whatever happened in between: a link that was made before that place, or behind
it, is met now or with the next walk. May import: pymongo, `model`.
"""

from __future__ import annotations

from app.links.model import Link
from app.links.noting import LINKS
from app.links.rows import from_row
from app.stores import Database

__all__ = ["LinkWalk"]

_FIELDS = dict.fromkeys(("link", "target", "version", "state", "starts", "expires", "max_visits", "visits"), 1)


class LinkWalk:
    """Through one database; raises `PyMongoError` when it does not answer."""

    def __init__(self, database: Database) -> None:
        self._links = database[LINKS]

    async def count(self) -> int:
        """About how many there are; what is counted is MongoDB's to know, so it costs nothing."""
        return await self._links.estimated_document_count()

    async def step(self, behind: str, limit: int) -> list[Link]:
        """The next ones; fewer than `limit` are the last."""
        query = {"_id": {"$gt": behind}}
        rows = await self._links.find(query, _FIELDS, hint="_id_").sort("_id", 1).limit(limit).to_list()
        return [from_row(row) for row in rows]
