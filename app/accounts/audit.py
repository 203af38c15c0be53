"""The audit log: who changed what, and when.

In: a note of each change, which whoever makes the change writes in the change's own transaction, so that there is
never the one without the other, whatever is killed; and what changes nothing, such as a sign-in that failed. Out: pages
of the collection `audit`, the newest first. A row is never changed.

    _id       6 bytes of Unix time in ms, 4 of this process's run, 2 of its count: in the order of time
    who       key:ID, user:ID or system
    what      one of WHATS
    subject   link:DOMAIN/SLUG, domain:NAME, tag:NAME, key:ID, user:ID, webhook:ID, database:NAME
    link      the id of the link, because its slug may be taken again by another one
    owner, version, tags   of the link, as the change left it: who may hear of it, and what it was
    old, new  {name: value} of what differs; of a secret only whether there is one
    request   the request's id, as in the log
    address   of the client, if BOLTLINK_AUDIT_ADDRESSES is on

    asked by                     index
    nothing, or times alone      _id
    who, who and what            who, what, _id; for who alone MongoDB merges the runs of each `what`
    what                         what, _id
    subject, perhaps with more   subject, _id: a subject has few rows

May import: links, stores.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from bson import ObjectId
from bson.int64 import Int64
from pymongo import ASCENDING, DESCENDING, IndexModel

from app.links import Link, StoredLink
from app.stores import Database, Session, insert_rows

__all__ = [
    "AUDIT",
    "AUDIT_INDEXES",
    "SYSTEM",
    "WHATS",
    "AuditLog",
    "AuditSearch",
    "Author",
    "Note",
    "fields_of",
    "first_id",
    "time_of",
]

AUDIT = "audit"
AUDIT_INDEXES = [
    IndexModel([("who", ASCENDING), ("what", ASCENDING), ("_id", DESCENDING)]),
    IndexModel([("what", ASCENDING), ("_id", DESCENDING)]),
    IndexModel([("subject", ASCENDING), ("_id", DESCENDING)]),
]
WHATS = (
    *("link.create", "link.update", "link.delete", "link.restore", "link.erase"),
    *("link.broken", "link.mended"),
    *("domain.create", "domain.update", "domain.delete"),
    *("tag.rename", "tag.delete"),
    *("key.create", "key.revoke"),
    *("user.create", "user.update", "user.delete", "user.logout", "login", "login.failed", "logout"),
    *("totp.enable", "totp.disable", "database.restore"),
    *("webhook.create", "webhook.update", "webhook.delete", "webhook.secret", "webhook.disable"),
)
SECONDS_MAX = 2**48 // 1000 - 1
REMOVED_MAX = 10_000  # rows of one removal: 0.1 s
_COUNT_MASK = 0xFFFF

Note = Mapping[str, Any]


class Author(msgspec.Struct, frozen=True):
    """Who does something, and in which request; `address` is "" unless it is to be kept."""

    who: str
    request: str = ""
    address: str = ""


SYSTEM = Author("system")


class AuditSearch(msgspec.Struct, frozen=True):
    """What is wanted; "" is anything. Times are Unix seconds, `until` is not included."""

    who: str = ""
    what: str = ""
    subject: str = ""
    link: int | None = None
    since: int | None = None
    until: int | None = None

    def query(self, after: ObjectId | None) -> dict[str, Any]:
        """What to find, behind `after` in the order of the newest first."""
        equal = {"subject": self.subject, "link": self.link, "who": self.who, "what": self.what}
        query: dict[str, Any] = {name: value for name, value in equal.items() if value}
        if self.who and not self.what and not self.subject:
            query["what"] = {"$in": list(WHATS)}
        bounds = {
            "$gte": None if self.since is None else first_id(self.since),
            "$lt": min((end for end in (_end(self.until), after) if end is not None), default=None),
        }
        within = {name: bound for name, bound in bounds.items() if bound is not None}
        return query | ({"_id": within} if within else {})


def time_of(note: Note) -> float:
    """When a note was made, in Unix seconds."""
    return int.from_bytes(note["_id"].binary[:6]) / 1000


class AuditLog:
    """The log of one database, for one process.

    Args:
        now_s: Unix time in seconds.
        token_bytes: `secrets.token_bytes`.
    """

    def __init__(self, database: Database, *, now_s: Callable[[], float], token_bytes: Callable[[int], bytes]) -> None:
        self._database = database
        self._rows = database[AUDIT]
        self._now_s = now_s
        self._run = token_bytes(4)
        self._count = 0
        self._waiting: list[Note] = []
        self._writing: asyncio.Task[None] | None = None

    def note(
        self,
        author: Author,
        what: str,
        subject: str,
        *,
        old: Mapping[str, Any] | None = None,
        new: Mapping[str, Any] | None = None,
        link: StoredLink | None = None,
    ) -> Note:
        """A row, to be written with the change that it tells of; `link` as it is then."""
        assert what in WHATS
        self._count = (self._count + 1) & _COUNT_MASK
        row: dict[str, Any] = {
            "_id": ObjectId(int(self._now_s() * 1000).to_bytes(6) + self._run + self._count.to_bytes(2)),
            "who": author.who,
            "what": what,
            "subject": subject,
        }
        if link is not None:
            row["link"] = link.link
        if isinstance(link, Link):
            row |= {"owner": link.owner, "version": Int64(link.version)} | ({"tags": link.tags} if link.tags else {})
        if old:
            row["old"] = old
        if new:
            row["new"] = new
        if author.request:
            row["request"] = author.request
        if author.address:
            row["address"] = author.address
        return row

    async def write(self, notes: Sequence[Note], session: Session) -> None:
        """Writes notes in the transaction of what they tell of."""
        await insert_rows(self._database, AUDIT, notes, session)

    async def add(self, note: Note) -> None:
        """Writes a note of what is no change of the database, in one write with others of this turn of the loop."""
        self._waiting.append(note)
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write_waiting())
        await asyncio.shield(self._writing)

    async def _write_waiting(self) -> None:
        await asyncio.sleep(0)  # those of this turn
        notes, self._waiting, self._writing = self._waiting, [], None
        await self._rows.insert_many(notes)

    async def page(self, search: AuditSearch, *, limit: int, after: str = "") -> tuple[list[Note], str | None]:
        """Rows, the newest first, and where the next page begins; None at the end. `after` is such a place."""
        query = search.query(ObjectId(after) if after else None)
        rows = await self._rows.find(query).sort("_id", DESCENDING).limit(limit + 1).to_list()
        return rows[:limit], str(rows[limit - 1]["_id"]) if len(rows) > limit else None

    async def remove_before(self, end_s: int) -> bool:
        """Removes rows older than Unix time `end_s`, at most REMOVED_MAX; True when there may be more."""
        query = {"_id": {"$lt": first_id(end_s)}}
        ids = [row["_id"] async for row in self._rows.find(query, {"_id": 1}).sort("_id").limit(REMOVED_MAX)]
        if ids:
            await self._rows.delete_many({"_id": {"$gte": ids[0], "$lte": ids[-1]}})
        return len(ids) == REMOVED_MAX


def fields_of(note: Note) -> dict[str, tuple[Any, Any]]:
    """What a note tells of, old and new, as JSON has it."""
    old, new = note.get("old", {}), note.get("new", {})
    return {name: (_plain(old.get(name)), _plain(new.get(name))) for name in {**old, **new}}


def _plain(value: Any) -> Any:
    """MongoDB gives whole numbers of more than 32 bits in a type of their own."""
    if isinstance(value, Int64):
        return int(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return {name: _plain(item) for name, item in value.items()} if isinstance(value, dict) else value


def first_id(second: float) -> ObjectId:
    """The least id that an entry of that Unix time may have."""
    return ObjectId(int(max(0, min(second, SECONDS_MAX)) * 1000).to_bytes(6) + bytes(6))


def _end(until: int | None) -> ObjectId | None:
    return None if until is None else first_id(until)
