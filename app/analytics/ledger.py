"""Applies batches to MongoDB exactly once: buckets and their sources' checkpoints in one transaction.

In: counts, and from where to where they were read in which sources. Out: either all of it is on a majority, or none is.

Each checkpoint moves by compare-and-set from where the batch began in its source to where it ends, and each changed
bucket is replaced only if its `rev` is the one that was read, or inserted. So a crash, a stale second aggregator, a
failover or a lost reply can neither lose nor double a click: whoever lost the race hears `LostRaceError`, and reads
again.

A bucket may also be gone: rollup moved it into its day, or its link's data was erased. Whoever remembers it hears the
same, and inserts it afresh from zero. `rev` of a new document begins at random, so that no memory of a former document
with the same `_id` ever fits the next one.

Buckets stay in memory, bounded by bytes, the least recently used go first. A batch is prepared on them while the one
before is committed; if that fails, both are forgotten. Whether a commit happened whose reply was lost, only the
checkpoint says: it holds the run and the number of the batch that moved it.

A bucket that MongoDB refuses (a validator, an index of somebody else's making) is found by halving the batch, and
counted in `clicks_set_aside` from then on, in the same transactions; nothing else waits for it. Effects: read buckets,
then those of `app.analytics.transaction`. May import: stores.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bson.int64 import Int64
from pymongo import ASCENDING, IndexModel
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

from app.analytics.bucket import OVERHEAD_BYTES, Bucket, BucketKey, Delta, bucket_id
from app.analytics.periods import PERIOD_INDEXES
from app.analytics.salts import SALT_INDEXES, SALTS
from app.analytics.scopes import CLICKS_SUM, ScopeBook, sum_documents
from app.analytics.storing import CHECKPOINTS, Move, RefusedError, Storing, Write
from app.stores import Database, Trace

__all__ = ["CHECKPOINTS", "CLICKS_NODE", "INDEXES", "SET_ASIDE", "Checkpoint", "Ledger", "Prepared", "TooLargeError"]

CLICKS_NODE = "clicks_node"
SET_ASIDE = "clicks_set_aside"
RETIRED_DAYS = 400  # a journal that a restored disk brings back within this time is not counted again
INDEXES = {
    **PERIOD_INDEXES,
    SALTS: SALT_INDEXES,
    CLICKS_NODE: [IndexModel([("day", ASCENDING)])],
    CHECKPOINTS: [
        IndexModel([("retired", ASCENDING)], expireAfterSeconds=RETIRED_DAYS * 86_400),
        IndexModel([("as_of", ASCENDING)], sparse=True),
    ],
}
REV_BITS = 48  # of a new document's first rev
KNOWN_BYTES_MAX = 40 * 1024 * 1024  # of buckets in memory: 70,000 small ones
BATCH_BYTES_MAX = 16 * 1024 * 1024  # of one batch's buckets, of which two are in memory at a time
STEP_BUCKETS = 250  # between two turns of the loop, so that the commit of the batch before goes on: 10 ms
REFUSED_MAX = 20  # of one batch; more is no matter of single buckets


class TooLargeError(Exception):
    """The batch's buckets are larger than memory allows: make it of fewer."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a source is applied.

    Attributes:
        run: of the ledger that moved it there, "" for none.
        batch: that ledger's number of the batch.
    """

    applied: int = 0
    run: str = ""
    batch: int = 0


@dataclass(slots=True)
class Prepared:
    """A batch, ready to be stored.

    Attributes:
        number: of the batch in this ledger.
        writes: its buckets as they shall be, which later batches do not change.
        sums: documents of sums over many links.
    """

    number: int
    moves: Sequence[Move]
    deltas: Mapping[BucketKey, Delta]
    writes: dict[BucketKey, Write]
    sums: list[Write]


class Ledger:
    """The buckets of one aggregator.

    Args:
        node: node and aggregator, the end of each bucket's `_id`.
        trace: called with the name of each effect just before it happens.
        randbits: as `secrets.randbits`.
        on_refused: called with a bucket's key and the reason when it is set aside.

    Attributes:
        run: names this ledger in the checkpoints that it moves.
    """

    def __init__(
        self,
        database: Database,
        node: str,
        *,
        trace: Trace = lambda step: None,
        randbits: Callable[[int], int] = secrets.randbits,
        on_refused: Callable[[BucketKey, str], None] = lambda key, reason: None,
    ) -> None:
        self.node = node
        self.run = f"{randbits(64):016x}"
        self._database = database
        self._checkpoints = database.get_collection(CHECKPOINTS, read_concern=ReadConcern("majority"))
        self._storing = Storing(database, trace)
        self._scopes = ScopeBook(database)
        self._trace = trace
        self._randbits = randbits
        self._on_refused = on_refused
        self._known: OrderedDict[BucketKey, Bucket] = OrderedDict()
        self._known_bytes = 0
        self._batches = 0
        self._refused: set[BucketKey] = set()

    async def checkpoints(self, sources: Iterable[str]) -> dict[str, Checkpoint]:
        """How far each source is applied, on a majority."""
        found = dict.fromkeys(sources, Checkpoint())
        async for row in self._checkpoints.find({"_id": {"$in": list(found)}}):
            found[row["_id"]] = Checkpoint(int(row["applied"]), row.get("run", ""), row.get("batch", 0))
        return found

    async def position(self, source: str) -> int:
        """How far one source is applied; 0 for one that never was."""
        return (await self.checkpoints([source]))[source].applied

    async def apply(self, source: str, begin: int, end: int, deltas: Mapping[BucketKey, Delta]) -> None:
        """Prepares and commits a batch of one source."""
        await self.commit(await self.prepare([Move(source, begin, end)], deltas))

    async def prepare(self, moves: Sequence[Move], deltas: Mapping[BucketKey, Delta]) -> Prepared:
        """Counts a batch into its buckets in memory, also while the batch before is being committed.

        Raises:
            TooLargeError: the buckets are too large together.
            PyMongoError: MongoDB does not answer.
        """
        self._batches += 1
        prepared = Prepared(self._batches, moves, deltas, {}, [])
        try:
            buckets = await self._load(list(deltas))
            for number, (key, delta) in enumerate(deltas.items()):
                prepared.writes[key] = self._count(key, buckets[key], delta)
                if number % STEP_BUCKETS == STEP_BUCKETS - 1:
                    await asyncio.sleep(0)
            if deltas:
                sums = sum_documents(await self._scopes.sums(deltas), moves[0].source, moves[0].begin)
                prepared.sums = [Write(CLICKS_SUM, document, 0, size_of(document)) for document in sums]
        except BaseException:
            self.forget(deltas)
            raise
        return prepared

    async def commit(self, prepared: Prepared, as_of: datetime | None = None) -> bool:
        """Stores a prepared batch.

        Args:
            as_of: every click of this aggregator's sources before it is counted with this batch.

        Returns:
            Whether batches that were prepared meanwhile still hold: not if a bucket was set aside.

        Raises:
            LostRaceError: nothing happened.
            UnknownOutcomeError: it happened or not.
            PyMongoError: nothing happened; MongoDB does not answer, or refuses everything.
        """
        is_clean = True
        try:
            try:
                await self._store(prepared, as_of)
            except RefusedError as error:
                is_clean = False
                await self._set_aside(prepared, error)
                await self._store(prepared, as_of)
        except RefusedError as error:
            self.forget(prepared.deltas)
            raise OperationFailure(f"refused, and also where it was set aside: {error}") from error
        except BaseException:
            self.forget(prepared.deltas)
            raise
        return is_clean

    async def retire(self, source: str, applied: int) -> None:
        """Notes that a dead source was applied to its end; its checkpoint stays RETIRED_DAYS."""
        self._trace("note retirement")
        place = {"_id": source, "applied": Int64(applied)}
        await self._checkpoints.update_one(place, {"$set": {"retired": datetime.now(UTC)}})

    async def note_progress(self, as_of: datetime) -> None:
        """Says that every click of this aggregator's sources before `as_of` is counted."""
        await self._checkpoints.update_one({"_id": f"aggregator/{self.node}"}, {"$set": {"as_of": as_of}}, upsert=True)

    def forget(self, keys: Iterable[BucketKey]) -> None:
        """Drops buckets in memory: another may have changed them, or they count what was not stored."""
        for key in keys:
            self._drop(key)

    def _collection(self, key: BucketKey) -> str:
        return SET_ASIDE if key in self._refused else CLICKS_NODE

    async def _load(self, keys: Sequence[BucketKey]) -> dict[BucketKey, Bucket]:
        """Each bucket as it stands, from memory where it is known."""
        buckets = {key: bucket for key in keys if (bucket := self._known.get(key)) is not None}
        size = sum(bucket.size_bytes for bucket in buckets.values())
        missing = [key for key in keys if key not in buckets]
        for name in (CLICKS_NODE, SET_ASIDE):
            wanted = [key for key in missing if self._collection(key) == name]
            for first in range(0, len(wanted), STEP_BUCKETS):
                step = {bucket_id(*key, self.node): key for key in wanted[first : first + STEP_BUCKETS]}
                self._trace("read buckets")
                async for document in self._database[name].find({"_id": {"$in": list(step)}}):
                    bucket = buckets[step.pop(document["_id"])] = Bucket.from_document(document)
                    size += bucket.size_bytes
                buckets.update((key, Bucket()) for key in step.values())
                if size > BATCH_BYTES_MAX:
                    break
        if size > BATCH_BYTES_MAX and len(keys) > 1:
            raise TooLargeError
        return buckets

    def _count(self, key: BucketKey, bucket: Bucket, delta: Delta) -> Write:
        """Adds to a bucket and keeps it in memory, where the next batch finds it."""
        rev = bucket.rev
        self._drop(key)
        bucket.add(delta)
        bucket.rev = rev + 1 if rev else self._randbits(REV_BITS) + 1
        self._known[key] = bucket
        self._known_bytes += bucket.size_bytes
        while self._known_bytes > KNOWN_BYTES_MAX:
            self._known_bytes -= self._known.popitem(last=False)[1].size_bytes
        return Write(self._collection(key), bucket.document(key, self.node), rev, bucket.size_bytes)

    async def _store(self, prepared: Prepared, as_of: datetime | None) -> None:
        fields = {"node": self.node, "run": self.run, "batch": prepared.number}
        notes: list[Mapping[str, Any]] = []
        if as_of is not None:
            place = {"_id": f"aggregator/{self.node}"}
            notes.append({"q": place, "u": {"$set": {"as_of": as_of}}, "upsert": True})
        await self._storing.store(prepared.moves, fields, [*prepared.writes.values(), *prepared.sums], notes)

    async def _set_aside(self, prepared: Prepared, error: RefusedError) -> None:
        """Finds the buckets that are refused, and has them counted elsewhere.

        Raises:
            OperationFailure: too many are; no bucket is set aside.
        """
        suspects = [key for key in prepared.writes if key not in self._refused]
        refused = await self._find_refused(prepared, suspects, REFUSED_MAX)
        if not 0 < len(refused) <= REFUSED_MAX:
            raise OperationFailure(f"{len(refused)} or more buckets refused: {error}") from error
        for key, reason in refused.items():
            self._on_refused(key, reason)
            self._refused.add(key)
        self.forget(refused)
        for key, bucket in (await self._load(list(refused))).items():
            prepared.writes[key] = self._count(key, bucket, prepared.deltas[key])

    async def _find_refused(self, prepared: Prepared, keys: list[BucketKey], most: int) -> dict[BucketKey, str]:
        """Those of some buckets that cannot be stored, by halving; ends when they are more than `most`."""
        try:
            await self._storing.try_out([prepared.writes[key] for key in keys])
        except RefusedError as error:
            if len(keys) == 1:
                return {keys[0]: str(error)}
        else:
            return {}
        middle = len(keys) // 2
        found = await self._find_refused(prepared, keys[:middle], most)
        if len(found) <= most:
            found.update(await self._find_refused(prepared, keys[middle:], most - len(found)))
        return found

    def _drop(self, key: BucketKey) -> None:
        known = self._known.pop(key, None)
        if known is not None:
            self._known_bytes -= known.size_bytes


def size_of(document: Mapping[str, Any]) -> int:
    """About how many bytes a bucket's document takes."""
    return OVERHEAD_BYTES + sum(len(document.get(name, b"")) for name in ("minutes", "visitors", "dims"))
