"""Slugs of a domain that become case-insensitive: which differ only in case, and how those with capitals are renamed.

In: a domain. Out: its keys with capitals and the slugs that clash; then the same links under keys in lower case, each
renamed in one transaction with the note that tells of it. A link keeps its id, and so its statistics.

    old key   its document goes; a tombstone whose new key is somebody's stays as it is, for nobody
    new key   the same document, with a version above both; it takes the place of a tombstone, never of a living link

Until a link is renamed it is found as it is spelled (`app.front.slot`), so a crash in between ends nothing.
May import: pymongo, `rows`, stores.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson.int64 import Int64
from pymongo.errors import ExecutionTimeout

from app.links.model import Link, LinkState
from app.links.noting import LINKS, WriteNotes
from app.links.rows import from_row
from app.stores import Database, Session, insert_rows, transact

__all__ = ["CAPITALS_MAX", "CLASHES_MAX", "STEP", "Capitals", "Folding", "FoldingError", "TellRenamed"]

CAPITALS_MAX = 10_000  # links of one domain that are renamed: 10 s
CLASHES_MAX = 100  # that are told
LOOK_MS = 8_000  # for keys with capitals among all of a domain
STEP = 250  # of one transaction
#: Makes the note of a renaming, of the old key and the link as it is then.
TellRenamed = Callable[[str, Link], Mapping[str, Any]]
_DELETED = LinkState.DELETED.value


class FoldingError(ValueError):
    """A domain that cannot become case-insensitive; the text says why."""


@dataclass(frozen=True, slots=True)
class Capitals:
    """What stands in the way: `keys` with capitals, and `clashes`, slugs that differ only in case."""

    keys: list[str]
    clashes: list[tuple[str, ...]]


class Folding:
    """The links of one database; raises `PyMongoError` when it does not answer."""

    def __init__(self, database: Database, write_notes: WriteNotes | None) -> None:
        self._database = database
        self._links = database[LINKS]
        self._write_notes = write_notes

    async def look(self, domain: str) -> Capitals:
        """The keys of a domain with capitals, and at most CLASHES_MAX clashes of living links; raises FoldingError."""
        query = {"_id": {"$regex": f"^{re.escape(domain)}/.*[A-Z]"}}
        found = self._links.find(query, {"state": 1}, max_time_ms=LOOK_MS).limit(CAPITALS_MAX + 1)
        try:
            rows = await found.to_list()
        except ExecutionTimeout as error:
            raise FoldingError("has too many links to look through") from error
        if len(rows) > CAPITALS_MAX:
            raise FoldingError(f"has more than {CAPITALS_MAX} links with capitals in their slugs")
        spelled: dict[str, list[str]] = {}
        for row in rows:
            if row["state"] != _DELETED:
                spelled.setdefault(row["_id"].lower(), []).append(row["_id"])
        for key in await self._living(list(spelled)):
            spelled[key].append(key)
        clashes = [tuple(sorted(_slug(key) for key in keys)) for keys in spelled.values() if len(keys) > 1]
        return Capitals([row["_id"] for row in rows], clashes[:CLASHES_MAX])

    async def rename(self, keys: Sequence[str], *, now_ms: int, tell: TellRenamed) -> list[tuple[str, Link]]:
        """Renames links, at most STEP of them: old keys and the links of the new ones. What clashes stays."""

        async def work(session: Session) -> list[tuple[str, Link]]:
            asked = {"_id": {"$in": [*keys, *(key.lower() for key in keys)]}}
            rows = {row["_id"]: row for row in await self._links.find(asked, session=session).to_list()}
            moved = _moved([rows[key] for key in keys if key in rows], rows, now_ms)
            if not moved:
                return []
            gone = [old for old, _ in moved] + [new["_id"] for _, new in moved if new["_id"] in rows]
            await self._links.delete_many({"_id": {"$in": gone}}, session=session)
            await insert_rows(self._database, LINKS, [new for _, new in moved], session)
            links = [(old, from_row(new)) for old, new in moved]
            notes = [tell(old, link) for old, link in links]
            assert self._write_notes is not None
            await self._write_notes(notes, session)
            return links

        return await transact(self._database, work)

    async def _living(self, keys: list[str]) -> list[str]:
        living = {"_id": {"$in": keys}, "state": {"$ne": _DELETED}}
        return [row["_id"] for row in await self._links.find(living, {"_id": 1}).to_list()]


def _moved(
    rows: Sequence[Mapping[str, Any]], known: Mapping[str, Mapping[str, Any]], now_ms: int
) -> list[tuple[str, Mapping[str, Any]]]:
    """(old key, new document) of those that can be renamed; of two for one key the first living one."""
    moved: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["state"] == _DELETED):
        key = row["_id"].lower()
        other = known.get(key)
        is_free = other is None or (other["state"] == _DELETED and row["state"] != _DELETED)
        if is_free and key not in moved:
            version = max(row["version"] + 1, now_ms, 0 if other is None else other["version"] + 1)
            moved[key] = row["_id"], {**row, "_id": key, "version": Int64(version)}
    return list(moved.values())


def _slug(key: str) -> str:
    return key.partition("/")[2]
