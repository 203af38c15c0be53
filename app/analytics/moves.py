"""Moves buckets of nodes into days and months: adds, deletes, never recomputes.

In: `_id`s of node documents, of any link and day, or of sums over many links. Out: one transaction that

    1  reads them, and the days and months they belong to, as of one moment
    2  deletes each at the `rev` it read
    3  adds them to their days and to their months
    4  adds their clicks to `counted` of their links, leaving `version` alone: nothing is announced
    5  checks in with the lease: a holder that was stopped and went on too late changes nothing

So a click is in exactly one node document, or in exactly one day and its month. kill -9 between any two steps leaves
the state before the transaction or after it. An aggregator that writes one of the documents at the same time wins or
loses as a whole; one that remembers a document which is gone begins a new one, and that is moved the same way.
May import: links, stores.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession

from app.analytics.bucket import NO_LINK_ID, Bucket, BucketKey, signed
from app.analytics.erasure import read_erasures
from app.analytics.ledger import CLICKS_NODE
from app.analytics.periods import (
    CLICKS_DAY,
    CLICKS_MONTH,
    day_document,
    day_id,
    is_link,
    key_of,
    month_document,
    month_id,
    month_of,
    month_part,
)
from app.links import LINKS
from app.stores import Database, Lease, LostRaceError, Trace, transaction

__all__ = ["MOVED_BYTES_MAX", "MOVED_MAX", "Moved", "Mover"]

MOVED_MAX = 500  # documents of one transaction: 0.1 s when they are small
MOVED_BYTES_MAX = 2_000_000  # and 0.3 s when they are large
READ_AT_ONCE = 50  # documents of at most 64 KB
_Write = DeleteOne | InsertOne[Mapping[str, Any]] | ReplaceOne[Mapping[str, Any]] | UpdateOne


@dataclass
class Moved:
    """What one transaction did.

    Attributes:
        documents: how many node documents it moved.
        is_all: False when MOVED_BYTES_MAX left some for the next one.
        counted: clicks added to links, by link id.
    """

    documents: int = 0
    is_all: bool = True
    counted: dict[int, int] = field(default_factory=dict)


class Mover:
    """Moves for whoever holds `lease`.

    Args:
        trace: called with the name of each effect just before it happens.
    """

    def __init__(self, database: Database, lease: Lease, *, trace: Trace = lambda step: None) -> None:
        self._database = database
        self._lease = lease
        self._trace = trace

    async def move(self, ids: Sequence[str], collection: str = CLICKS_NODE) -> Moved:
        """Moves these documents of `clicks_node` or `clicks_sum`, as far as they are there and one transaction goes.

        Raises:
            LostRaceError: nothing is known to have happened: look again what there is.
            LeaseLostError: another holds the lease; nothing happened.
            PyMongoError: MongoDB does not answer; nothing is known either.
        """
        moved = Moved()
        async with transaction(self._database, self._trace) as session:
            parts = await self._take(session, collection, ids, moved)
            await self._add_to_days(session, parts)
            await self._add_to_months(session, parts)
            await self._add_to_links(session, parts, moved)
            self._trace("check in")
            await self._lease.check_in(session)
        return moved

    async def _take(
        self, session: AsyncClientSession, collection: str, ids: Sequence[str], moved: Moved
    ) -> dict[BucketKey, Bucket]:
        """Reads and deletes; what was read and not erased, by link and day."""
        found: defaultdict[BucketKey, list[Bucket]] = defaultdict(list)
        deletes: list[_Write] = []
        size_bytes = 0
        query = {"_id": {"$in": ids}}
        async with self._database[collection].find(query, batch_size=READ_AT_ONCE, session=session) as cursor:
            async for document in cursor:
                size_bytes += sum(len(document.get(name, b"")) for name in ("minutes", "visitors", "dims"))
                if size_bytes > MOVED_BYTES_MAX and deletes:
                    moved.is_all = False
                    break
                found[key_of(document["_id"])].append(Bucket.from_document(document))
                deletes.append(DeleteOne({"_id": document["_id"], "rev": document["rev"]}))
        moved.documents = await self._write(session, collection, deletes)
        if moved.documents != len(deletes):
            raise LostRaceError("a bucket was changed by its aggregator")
        erased = await read_erasures(self._database, session, {link for link, _ in found})
        return {
            (link, day): Bucket.united(buckets)
            for (link, day), buckets in found.items()
            if day >= erased.get(link, day)
        }

    async def _add_to_days(self, session: AsyncClientSession, parts: Mapping[BucketKey, Bucket]) -> None:
        stored = await self._stored(session, CLICKS_DAY, [day_id(*key) for key in parts])
        writes = []
        for (link, day), part in parts.items():
            total = stored.get(day_id(link, day))
            bucket = total or Bucket()
            bucket.unite(part)
            writes.append(replacing(day_document(link, day, bucket), is_new=total is None))
        await self._write(session, CLICKS_DAY, writes)

    async def _add_to_months(self, session: AsyncClientSession, parts: Mapping[BucketKey, Bucket]) -> None:
        keys = {(link, month_of(day)) for link, day in parts}
        stored = await self._stored(session, CLICKS_MONTH, [month_id(*key) for key in keys])
        buckets = {key: stored.get(month_id(*key)) or Bucket() for key in keys}
        for (link, day), part in parts.items():
            buckets[link, month_of(day)].unite(part, **month_part(day))
        writes = [
            replacing(month_document(link, month, bucket), is_new=month_id(link, month) not in stored)
            for (link, month), bucket in buckets.items()
        ]
        await self._write(session, CLICKS_MONTH, writes)

    async def _add_to_links(self, session: AsyncClientSession, parts: Mapping[BucketKey, Bucket], moved: Moved) -> None:
        for (link, _), part in parts.items():
            if part.clicks and link != NO_LINK_ID and is_link(link):
                moved.counted[link] = moved.counted.get(link, 0) + part.clicks
        writes = [
            UpdateOne(
                {"link": signed(link)},
                [
                    {"$set": {"counted": {"$add": [{"$ifNull": ["$counted", 0]}, clicks]}}},
                    {"$set": {"clicks": {"$max": ["$clicks", "$counted"]}}},
                ],
            )
            for link, clicks in moved.counted.items()
        ]
        await self._write(session, LINKS, writes)

    async def _stored(self, session: AsyncClientSession, collection: str, ids: Sequence[str]) -> dict[str, Bucket]:
        cursor = self._database[collection].find({"_id": {"$in": ids}}, session=session)
        return {document["_id"]: Bucket.from_document(document) async for document in cursor}

    async def _write(self, session: AsyncClientSession, collection: str, writes: Sequence[_Write]) -> int:
        """Does the writes, if there are any; returns how many documents were deleted."""
        if not writes:
            return 0
        self._trace(f"write {collection}")
        done = await self._database[collection].bulk_write(list(writes), ordered=False, session=session)
        return done.deleted_count


def replacing(document: dict[str, Any], *, is_new: bool) -> _Write:
    """The write that stores a document; a new one must not be there yet."""
    return InsertOne(document) if is_new else ReplaceOne({"_id": document["_id"]}, document)
