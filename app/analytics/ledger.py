"""Applies batches to MongoDB exactly once: buckets and the source's checkpoint in one transaction.

In: a batch and where it begins and ends in its source. Out: either all of it is on a majority, or none is.

The checkpoint moves by compare-and-set from where the batch began to where it ends, and each changed bucket is replaced
by compare-and-set on `rev`, or inserted. So a crash, a stale second aggregator, a failover or a lost reply can neither
lose nor double a click: whoever lost the race hears `LostRaceError`, forgets what it believed and reads again.

A bucket may also be gone: rollup moved it into its day, or its link's data was erased. Whoever remembers it hears the
same, and inserts it afresh from zero. `rev` of a new document begins at random, so that no memory of a former document
with the same `_id` ever fits the next one.

Effects, in order, of `apply`: read buckets, move the checkpoint, write buckets, commit. kill -9 between any two leaves
the state before the transaction or after it. May import: stores.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from bson.int64 import Int64
from pymongo import ASCENDING, IndexModel, InsertOne, ReplaceOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.read_concern import ReadConcern

from app.analytics.bucket import Bucket, BucketKey, Delta, bucket_id
from app.analytics.periods import PERIOD_INDEXES
from app.analytics.scopes import CLICKS_SUM, ScopeBook, sum_documents
from app.analytics.transactions import LostRaceError, Trace, transaction
from app.stores import Database

__all__ = ["CHECKPOINTS", "CLICKS_NODE", "INDEXES", "Ledger", "LostRaceError"]

CLICKS_NODE = "clicks_node"
CHECKPOINTS = "checkpoints"
RETIRED_DAYS = 400  # a journal that a restored disk brings back within this time is not counted again
INDEXES = {
    **PERIOD_INDEXES,
    CLICKS_NODE: [IndexModel([("day", ASCENDING)])],
    CHECKPOINTS: [
        IndexModel([("retired", ASCENDING)], expireAfterSeconds=RETIRED_DAYS * 86_400),
        IndexModel([("as_of", ASCENDING)], sparse=True),
    ],
}
REV_BITS = 48  # of a new document's first rev
KNOWN_MAX = 50_000  # buckets in memory, the least recently used go first: 100 MB at 2 KB each


class Ledger:
    """The buckets of one aggregator.

    Args:
        node: node and aggregator, the end of each bucket's `_id`.
        trace: called with the name of each effect just before it happens.
        randbits: as `secrets.randbits`.
    """

    def __init__(
        self,
        database: Database,
        node: str,
        *,
        trace: Trace = lambda step: None,
        randbits: Callable[[int], int] = secrets.randbits,
    ) -> None:
        self.node = node
        self._database = database
        self._clicks = database[CLICKS_NODE]
        self._checkpoints = database.get_collection(CHECKPOINTS, read_concern=ReadConcern("majority"))
        self._known: OrderedDict[BucketKey, Bucket] = OrderedDict()
        self._trace = trace
        self._randbits = randbits
        self._scopes = ScopeBook(database)

    async def position(self, source: str) -> int:
        """How far a source is applied; 0 for one that never was."""
        row = await self._checkpoints.find_one({"_id": source})
        return 0 if row is None else int(row["applied"])

    async def apply(self, source: str, begin: int, end: int, deltas: Mapping[BucketKey, Delta]) -> None:
        """Adds a batch to its buckets and moves the checkpoint from `begin` to `end`.

        Raises:
            LostRaceError: nothing is known to have happened; `position` tells.
            PyMongoError: MongoDB does not answer; nothing is known either.
        """
        try:
            buckets = await self._load(deltas)
            sums = sum_documents(await self._scopes.sums(deltas), source, begin)
            stored = {key: bucket.rev for key, bucket in buckets.items()}
            for key, delta in deltas.items():
                buckets[key].add(delta)
                buckets[key].rev = stored[key] + 1 if stored[key] else self._randbits(REV_BITS) + 1
            async with transaction(self._database, self._trace) as session:
                await self._write(session, source, begin, end, buckets, stored)
                if sums:
                    self._trace("write sums")
                    await self._database[CLICKS_SUM].insert_many(sums, ordered=False, session=session)
        except BaseException:
            self.forget()
            raise
        for key, bucket in buckets.items():
            self._known[key] = bucket
            self._known.move_to_end(key)
        while len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)

    async def retire(self, source: str, applied: int) -> None:
        """Notes that a dead source was applied to its end; its checkpoint stays RETIRED_DAYS."""
        self._trace("note retirement")
        fields = {"applied": Int64(applied), "retired": datetime.now(UTC)}
        await self._checkpoints.update_one({"_id": source}, {"$set": fields}, upsert=True)

    async def note_progress(self, as_of: datetime) -> None:
        """Says that every click of this aggregator's sources before `as_of` is counted."""
        await self._checkpoints.update_one({"_id": f"aggregator/{self.node}"}, {"$set": {"as_of": as_of}}, upsert=True)

    def forget(self) -> None:
        """Drops the buckets in memory: another may have changed them."""
        self._known.clear()

    async def _load(self, keys: Iterable[BucketKey]) -> dict[BucketKey, Bucket]:
        """Each bucket as it stands, from memory where it is known."""
        found: dict[BucketKey, Bucket] = {}
        missing: dict[str, BucketKey] = {}
        for key in keys:
            known = self._known.get(key)
            if known is None:
                missing[bucket_id(key[0], key[1], self.node)] = key
            else:
                found[key] = known
        if missing:
            self._trace("read buckets")
            async for document in self._clicks.find({"_id": {"$in": list(missing)}}):
                found[missing.pop(document["_id"])] = Bucket.from_document(document)
            found.update((key, Bucket()) for key in missing.values())
        return found

    async def _write(
        self,
        session: AsyncClientSession,
        source: str,
        begin: int,
        end: int,
        buckets: Mapping[BucketKey, Bucket],
        stored: Mapping[BucketKey, int],
    ) -> None:
        self._trace("move checkpoint")
        moved = await self._database[CHECKPOINTS].update_one(
            {"_id": source, "applied": Int64(begin)},
            {"$set": {"applied": Int64(end), "node": self.node}, "$unset": {"retired": ""}},
            upsert=begin == 0,
            session=session,
        )
        if not moved.matched_count and moved.upserted_id is None:
            raise LostRaceError(f"{source} is not at {begin}")
        writes: list[InsertOne[dict[str, Any]] | ReplaceOne[dict[str, Any]]] = []
        for key, bucket in buckets.items():
            document = bucket.document(key, self.node)
            rev = stored[key]  # 0: there was no document
            writes.append(ReplaceOne({"_id": document["_id"], "rev": rev}, document) if rev else InsertOne(document))
        if writes:
            self._trace("write buckets")
            done = await self._clicks.bulk_write(writes, ordered=False, session=session)
            if done.matched_count + done.inserted_count != len(writes):
                raise LostRaceError("a bucket was changed by another")
