"""Deleted links: what is kept of them, for how long, and how they come back.

    living       DELETE: state `deleted`, `was` its state, `deleted` the second; nothing of what indexes need of it
    deleted      for `kept_s` seconds: can be restored, is listed as deleted, nobody gets its slug
    forgotten    then: its slug may be taken by a new link with another id. `forget` takes its content away, so that
                 only id, owner and version stay: the version of a key never falls, whoever has it

In: keys. Out: rows of `links`, on a majority. Each change is one write that looks at what it found, so a restore and
a new link of the same slug cannot both be. May import: pymongo.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pymongo import DESCENDING, IndexModel, ReplaceOne
from pymongo.asynchronous.collection import AsyncCollection

from app.links.model import Link, LinkState
from app.links.noting import NotedLinks, Tell
from app.links.rows import DERIVED, derived_fields, from_row, set_fields

__all__ = ["DELETED_INDEX", "NotKeptError", "Tombstones", "bury_fields", "free_query"]

FORGOTTEN_MAX = 1_000  # of one write
RESTORES_MAX = 4  # times that it is tried while the tombstone changes
_STAYS = ("_id", "link", "owner", "state", "version")
DELETED_INDEX = IndexModel([("deleted", DESCENDING), ("_id", DESCENDING)], sparse=True)


class NotKeptError(Exception):
    """The link was deleted so long ago that nothing of it is kept."""


def bury_update(now_ms: int) -> list[dict[str, Any]]:
    """The update that deletes a living link, whatever its state."""
    gone = {"state": LinkState.DELETED.value, "deleted": now_ms // 1000, **dict.fromkeys(DERIVED)}
    return [{"$set": {"was": "$state"}}, *set_fields(gone, now_ms)]


def bury_fields(link: Link, now_ms: int) -> dict[str, Any]:
    """The same as fields, for a link whose state is known."""
    deleted = {"state": LinkState.DELETED.value, "was": link.state.value, "deleted": now_ms // 1000}
    return {**deleted, **dict.fromkeys(DERIVED)}


def free_query(key: str, now_s: int, kept_s: int) -> dict[str, Any]:
    """A key that a new link may have though one had it before."""
    is_over = [{"deleted": None}, {"deleted": {"$lte": now_s - kept_s}}]
    return {"_id": key, "state": LinkState.DELETED.value, "$or": is_over}


class Tombstones:
    """Deleted links of one collection; raises `PyMongoError` when it does not answer."""

    def __init__(self, links: AsyncCollection[Mapping[str, Any]], noted: NotedLinks, kept_s: int) -> None:
        self._links = links
        self._noted = noted
        self.kept_s = kept_s

    async def bury(self, key: str, *, now_ms: int, version: int | None, tell: Tell = None) -> Link | None:
        """Deletes a living link; None when there is none at that version (None: any)."""
        query: dict[str, Any] = {"_id": key, "state": {"$ne": LinkState.DELETED.value}}
        if version is not None:
            query["version"] = version
        return await self._noted.update(query, bury_update(now_ms), tell)

    async def restore(
        self, key: str, *, now_ms: int, tell: Tell = None, may: Callable[[Link], bool] = lambda link: True
    ) -> Link | None:
        """Brings a deleted link back as it was; None when the key is a living link's, or nobody's, or one `may` not.

        Raises:
            NotKeptError: it cannot come back any more.
        """
        for _ in range(RESTORES_MAX):
            row = await self._links.find_one({"_id": key, "state": LinkState.DELETED.value})
            if row is None or not may(from_row(row)):
                return None
            if row.get("deleted", 0) <= now_ms // 1000 - self.kept_s:
                raise NotKeptError(key)
            state = {"state": row["was"], "deleted": None, "was": None}
            link = from_row({**row, **state})
            found = {"_id": key, "version": row["version"]}
            update = set_fields(state | derived_fields(link), now_ms)
            restored = await self._noted.update(found, update, tell)
            if restored is not None:
                return restored
        return None

    async def forget(self, now_s: int) -> int:
        """Takes the content of some tombstones away whose time is over; how many, FORGOTTEN_MAX at most.

        A target stays, empty: a redirect reads one of every document.
        """
        over = self._links.find({"deleted": {"$lte": now_s - self.kept_s}}, dict.fromkeys(_STAYS, 1))
        rows = await over.sort("deleted").limit(FORGOTTEN_MAX).to_list()
        if not rows:
            return 0
        # Each at its version: it may be a new link's key by now.
        writes: list[ReplaceOne[Mapping[str, Any]]] = [
            ReplaceOne({"_id": row["_id"], "version": row["version"]}, {**row, "target": ""}) for row in rows
        ]
        await self._links.bulk_write(writes, ordered=False)
        return len(rows)
