"""Jobs in MongoDB: written, claimed, held, ended, looked at.

    jobs    _id, kind, lane, key, order, payload   as `NewJob` has them; never changed
            state, due                             `app.jobs.model`
            claim                                  rises with each claim: the number under which one attempt may write
            run                                    of the program that claimed it last
            attempts, error, note                  how often it was claimed, and what the last attempt left
            created, forget

    enqueue   writes what is not there yet; within a transaction of whoever causes the job, or by itself
    claim     READY, in the order of a lane: RUNNING, claim + 1, attempts + 1, due = now + LEASE_S
    hold      RUNNING and of this run: due = now + LEASE_S
    end       RUNNING under this very claim: DONE, DELAYED, DEAD or, when the program ends, READY as if nothing were
    sweep     DELAYED and due: READY. RUNNING and due: its program is gone or stood still, so READY, or DEAD after the
              last attempt
    again     by hand, of a job that waits or is over: READY, with all its attempts before it

Times are MongoDB's ($$NOW): a clock that steps ends no claim. A program may be stopped at any instruction and go on
when its claim ran out: what it then writes finds another claim, and changes nothing. What its work does elsewhere
may therefore happen twice; work that cannot bear that asks `Task.check` right before.
kill -9 anywhere: a claim runs out, and the job comes again. Every query has an index, and a limit.
May import: pymongo, stores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import bson
import msgspec
from bson.int64 import Int64
from pymongo import ASCENDING, DESCENDING, IndexModel, ReturnDocument, UpdateOne
from pymongo.write_concern import WriteConcern

from app.jobs.model import PAYLOAD_BYTES_MAX, JobState, JobView, NewJob
from app.stores import Database, Session

__all__ = ["ENQUEUED_MAX", "INDEXES", "JOBS", "Claimed", "JobQueue", "Place", "Swept"]

JOBS = "jobs"
_TURNS = [("state", ASCENDING), ("kind", ASCENDING), ("lane", ASCENDING), ("order", ASCENDING), ("_id", ASCENDING)]
_TIMES = [("state", ASCENDING), ("kind", ASCENDING), ("due", ASCENDING), ("_id", ASCENDING)]
INDEXES = {
    JOBS: [
        IndexModel(_TURNS),
        IndexModel(_TIMES),
        IndexModel([("lane", ASCENDING), ("_id", DESCENDING)]),
        IndexModel("forget", expireAfterSeconds=0, sparse=True),
    ]
}
LEASE_S = 15.0  # a job of a program that is gone waits so long; well above a stepped-down primary's 2-3 s
SWEPT_MAX = 500  # of one sweep: 20 ms
DROPPED_MAX = 500  # of one call: 20 ms; to forget 100,000 takes longer than a call may
ENQUEUED_MAX = 500  # of one write
COUNT_MAX = 100_000  # jobs are counted as far as this: 50 ms
DEAD_KEPT_S = 30 * 86_400
ERROR_CHARACTERS_MAX = 300
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Claimed:
    """One attempt at a job; `claim` and `run` are what it may write under, `attempts` counts it.

    `note` is what the last attempt left that came to an end: one whose program was killed leaves none.
    """

    id: str
    kind: str
    lane: str
    key: str
    claim: int
    run: str
    attempts: int
    payload: Mapping[str, Any]
    note: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep found: how many may be claimed now; whose claims ran out, by kind; whether there may be more."""

    ready: int
    lost: Mapping[str, int]
    dead: Mapping[str, int]
    is_more: bool


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a page of jobs begins: behind this one."""

    due_ms: int
    id: str


class JobQueue:
    """The jobs of one database; raises `PyMongoError` when it does not answer.

    Args:
        kept_s: for how long a job that is done can be looked at, and done again.
    """

    def __init__(self, database: Database, *, kept_s: float, lease_s: float = LEASE_S) -> None:
        self.lease_s = lease_s
        self._jobs = database[JOBS]
        # A claim that a fail-over takes back is a job that is READY again: whoever claims it is another run, and what
        # the first one writes changes nothing. To wait for the disk would be most of a claim.
        self._claims = self._jobs.with_options(write_concern=WriteConcern(w=1))
        self._kept_s = kept_s

    async def enqueue(self, jobs: Sequence[NewJob], session: Session | None = None) -> int:
        """Writes those that are not there yet; how many that were. Of a transaction, at most ENQUEUED_MAX."""
        assert session is None or len(jobs) <= ENQUEUED_MAX
        written = 0
        for start in range(0, len(jobs), ENQUEUED_MAX):
            updates = [_insert_of(job) for job in jobs[start : start + ENQUEUED_MAX]]
            result = await self._jobs.bulk_write(updates, ordered=False, session=session)
            written += result.upserted_count
        return written

    async def next_lane(self, kind: str, *, after: str, is_included: bool) -> str | None:
        """The first lane behind `after` (or at it) that has a job which is ready."""
        query = {"state": JobState.READY.value, "kind": kind, "lane": {"$gte" if is_included else "$gt": after}}
        row = await self._jobs.find_one(query, {"_id": 0, "lane": 1}, sort=_TURNS[2:], hint=_TURNS)
        return None if row is None else str(row["lane"])

    async def claim(self, kind: str, lane: str, run: str) -> Claimed | None:
        """The first job of a lane that is ready; None when there is none any more."""
        return await self._claim(kind, lane, run)

    async def claim_behind(self, kind: str, after: str, run: str) -> Claimed | None:
        """The first job that is ready of the first lane behind `after` that has one; "" is before all lanes."""
        return await self._claim(kind, {"$gt": after}, run)

    async def _claim(self, kind: str, lane: Any, run: str) -> Claimed | None:
        query = {"state": JobState.READY.value, "kind": kind, "lane": lane}
        taken = {
            "state": JobState.RUNNING.value,
            "run": run,
            "claim": {"$add": ["$claim", 1]},
            "attempts": {"$add": ["$attempts", 1]},
            "due": _in(self.lease_s),
        }
        row = await self._claims.find_one_and_update(
            query, [{"$set": taken}], sort=_TURNS[2:], hint=_TURNS, return_document=ReturnDocument.AFTER
        )
        if row is None:
            return None
        return Claimed(
            id=row["_id"],
            kind=kind,
            lane=row["lane"],
            key=row.get("key", ""),
            claim=row["claim"],
            run=run,
            attempts=row["attempts"],
            payload=row["payload"],
            note=row.get("note", {}),
        )

    async def hold(self, run: str, ids: Sequence[str]) -> None:
        """Holds what this run has claimed for another LEASE_S."""
        query = {"_id": {"$in": list(ids)}, "run": run, "state": JobState.RUNNING.value}
        await self._jobs.update_many(query, [{"$set": {"due": _in(self.lease_s)}}])

    async def finish(self, job: Claimed, note: Mapping[str, Any], error: str = "", kept_s: float | None = None) -> bool:
        """It is over, done or (with an `error`) dropped; False when the claim is lost, and then nothing changed."""
        forget = _in(self._kept_s if kept_s is None else kept_s)
        return await self._end(job, JobState.DONE, note, error, {"due": "$$NOW", "forget": forget})

    async def retry(self, job: Claimed, note: Mapping[str, Any], error: str, wait_s: float) -> bool:
        """It comes again in `wait_s`; as `finish`."""
        return await self._end(job, JobState.DELAYED, note, error, {"due": _in(wait_s)})

    async def bury(self, job: Claimed, note: Mapping[str, Any], error: str) -> bool:
        """It is dead; as `finish`."""
        return await self._end(job, JobState.DEAD, note, error, {"due": "$$NOW", "forget": _in(DEAD_KEPT_S)})

    async def give_back(self, job: Claimed) -> bool:
        """As if it had not been claimed, but that its `claim` never falls; as `finish`."""
        given = {"state": JobState.READY.value, "due": "$$NOW", "attempts": {"$subtract": ["$attempts", 1]}}
        return (await self._jobs.update_one(_held(job), [{"$set": given}])).matched_count == 1

    async def sweep(self, attempts_max: Mapping[str, int]) -> Swept:
        """What has become due of these kinds, at most SWEPT_MAX of each sort; any number of programs may sweep."""
        kinds = {"kind": {"$in": list(attempts_max)}}
        is_due = {"$expr": {"$lte": ["$due", "$$NOW"]}}
        waits = {"state": JobState.DELAYED.value, **kinds, **is_due}
        ids = [row["_id"] async for row in self._jobs.find(waits, {"_id": 1}, hint=_TIMES).limit(SWEPT_MAX)]
        if ids:
            ready = {"$set": {"state": JobState.READY.value}}
            # Asked anew: by now it may be done, and wait for another time.
            await self._jobs.update_many({"_id": {"$in": ids}, "state": JobState.DELAYED.value, **is_due}, ready)
        expired = {"state": JobState.RUNNING.value, **kinds, **is_due}
        fields = {"kind": 1, "claim": 1, "attempts": 1}
        rows = await self._jobs.find(expired, fields, hint=_TIMES).limit(SWEPT_MAX).to_list()
        lost, dead = dict[str, int](), dict[str, int]()
        for row in rows:
            is_last = row["attempts"] >= attempts_max[row["kind"]]
            if await self._take_back(row, is_last=is_last):
                found = dead if is_last else lost
                found[row["kind"]] = found.get(row["kind"], 0) + 1
        is_more = SWEPT_MAX in (len(ids), len(rows))
        return Swept(len(ids) + sum(lost.values()), lost, dead, is_more)

    async def again(self, query: Mapping[str, Any]) -> JobView | None:
        """Has the one job that is found done now; None when there is none, or it is just being done."""
        waiting = [state.value for state in (JobState.DELAYED, JobState.DONE, JobState.DEAD)]
        update = {"$set": {"state": JobState.READY.value, "attempts": 0}, "$currentDate": {"due": True}}
        row = await self._jobs.find_one_and_update(
            {**query, "state": {"$in": waiting}},
            {**update, "$unset": {"forget": ""}},
            return_document=ReturnDocument.AFTER,
        )
        return None if row is None else view_of(row)

    async def find(self, query: Mapping[str, Any]) -> JobView | None:
        """The one job of an `_id`, perhaps of a certain lane."""
        row = await self._jobs.find_one(query)
        return None if row is None else view_of(row)

    async def page(
        self, state: JobState, kinds: Sequence[str], *, limit: int, after: Place | None = None
    ) -> tuple[list[JobView], Place | None]:
        """Jobs in a state, the latest `due` first, and where the next page begins; None at the end."""
        query: dict[str, Any] = {"state": state.value, "kind": {"$in": list(kinds)}}
        if after is not None:
            at = _EPOCH + timedelta(milliseconds=after.due_ms)
            query["$or"] = [{"due": {"$lt": at}}, {"due": at, "_id": {"$lt": after.id}}]
        order = [("due", DESCENDING), ("_id", DESCENDING)]
        rows = await self._jobs.find(query, hint=_TIMES).sort(order).limit(limit + 1).to_list()
        views = [view_of(row) for row in rows[:limit]]
        is_more = len(rows) > limit
        return views, Place(_ms(views[-1].due), views[-1].id) if is_more else None

    async def page_of_lane(
        self, lane: str, *, limit: int, after: str | None = None
    ) -> tuple[list[JobView], str | None]:
        """Jobs of a lane by `_id`, the highest first, and where the next page begins; None at the end."""
        query = {"lane": lane} | ({} if after is None else {"_id": {"$lt": after}})
        rows = await self._jobs.find(query).sort("_id", DESCENDING).limit(limit + 1).to_list()
        return [view_of(row) for row in rows[:limit]], rows[limit - 1]["_id"] if len(rows) > limit else None

    async def count_waiting(self, kind: str, lane: str, most: int) -> int:
        """How many jobs of a lane are ready or delayed; at most `most`."""
        states = [JobState.READY.value, JobState.DELAYED.value]
        query = {"state": {"$in": states}, "kind": kind, "lane": lane}
        return await self._jobs.count_documents(query, limit=most, hint=_TURNS)

    async def count_lanes(self, kind: str, lanes: Sequence[str]) -> Mapping[str, int]:
        """How many jobs of each of these lanes are ready or delayed; lanes that have none are left out."""
        states = [JobState.READY.value, JobState.DELAYED.value]
        stages: list[Mapping[str, Any]] = [
            {"$match": {"state": {"$in": states}, "kind": kind, "lane": {"$in": list(lanes)}}},
            {"$group": {"_id": "$lane", "count": {"$sum": 1}}},
        ]
        return {row["_id"]: row["count"] async for row in await self._jobs.aggregate(stages, hint=dict(_TURNS))}

    async def count(self, state: JobState, kinds: Sequence[str], most: int = COUNT_MAX) -> int:
        """How many jobs of these kinds are in a state; at most `most`."""
        query = {"state": state.value, "kind": {"$in": list(kinds)}}
        return await self._jobs.count_documents(query, limit=most, hint=_TIMES)

    async def oldest_s(self, kinds: Sequence[str]) -> float:
        """For how long the job has been due that waits longest; 0 when none does."""
        ages = [0.0]
        for state in (JobState.READY, JobState.DELAYED):
            for kind in kinds:
                stages: list[Mapping[str, Any]] = [
                    {"$match": {"state": state.value, "kind": kind}},
                    {"$sort": {"due": ASCENDING}},
                    {"$limit": 1},
                    {"$project": {"age": {"$subtract": ["$$NOW", "$due"]}}},
                ]
                ages += [row["age"] / 1000 async for row in await self._jobs.aggregate(stages, hint=dict(_TIMES))]
        return max(ages)

    async def drop_lane(self, lane: str) -> bool:
        """Forgets jobs of a lane, at most DROPPED_MAX; True when there may be more.

        One that is just being done ends without a trace.
        """
        ids = [row["_id"] async for row in self._jobs.find({"lane": lane}, {"_id": 1}).limit(DROPPED_MAX)]
        await self._jobs.delete_many({"_id": {"$in": ids}})
        return len(ids) == DROPPED_MAX

    async def set_aside(self, error: str) -> None:
        """Whatever is not over is dead: it is of a time that is past, and done only if somebody says so by hand."""
        waiting = [state.value for state in (JobState.READY, JobState.DELAYED, JobState.RUNNING)]
        fields = {"state": JobState.DEAD.value, "error": error, "due": "$$NOW", "forget": _in(DEAD_KEPT_S)}
        await self._jobs.update_many({"state": {"$in": waiting}}, [{"$set": fields}])

    async def _end(
        self, job: Claimed, state: JobState, note: Mapping[str, Any], error: str, times: Mapping[str, Any]
    ) -> bool:
        kept = {"note": {"$literal": dict(note)}, "error": {"$literal": error[:ERROR_CHARACTERS_MAX]}}
        update = [{"$set": {"state": state.value, **kept, **times}}]
        return (await self._jobs.update_one(_held(job), update)).matched_count == 1

    async def _take_back(self, row: Mapping[str, Any], *, is_last: bool) -> bool:
        """Ends a claim that ran out; False when somebody else did, or it was held after all."""
        query = {
            "_id": row["_id"],
            "claim": row["claim"],
            "state": JobState.RUNNING.value,
            "$expr": {"$lte": ["$due", "$$NOW"]},
        }
        fields: dict[str, Any] = {"due": "$$NOW", "error": "its program ended, or stood still, before it was done"}
        if is_last:
            fields |= {"state": JobState.DEAD.value, "forget": _in(DEAD_KEPT_S)}
        else:
            fields["state"] = JobState.READY.value
        return (await self._jobs.update_one(query, [{"$set": fields}])).matched_count == 1


def view_of(row: Mapping[str, Any]) -> JobView:
    """A document as it is looked at."""
    return JobView(
        id=row["_id"],
        kind=row["kind"],
        lane=row["lane"],
        state=JobState(row["state"]),
        attempts=row["attempts"],
        created=row["created"],
        due=row["due"],
        error=row.get("error", ""),
        payload=row["payload"],
        note=row.get("note", {}),
    )


def _insert_of(job: NewJob) -> UpdateOne:
    """Writes a job unless it is there: then the document stays as it is."""
    payload = msgspec.to_builtins(job.payload, builtin_types=(bytes, datetime))
    assert len(bson.encode(payload)) <= PAYLOAD_BYTES_MAX
    row: dict[str, Any] = {
        "_id": job.id,
        "kind": job.kind,
        "lane": job.lane,
        "order": Int64(job.order),
        "payload": payload,
        "state": (JobState.DELAYED if job.delay_s else JobState.READY).value,
        "claim": 0,
        "attempts": 0,
    }
    if job.key:
        row["key"] = job.key
    times = {"created": "$$NOW", "due": _in(job.delay_s)}
    fresh = {"$mergeObjects": [{"$literal": row}, times]}
    is_new = {"$eq": [{"$type": "$kind"}, "missing"]}
    return UpdateOne({"_id": job.id}, [{"$replaceWith": {"$cond": [is_new, fresh, "$$ROOT"]}}], upsert=True)


def _held(job: Claimed) -> dict[str, Any]:
    return {"_id": job.id, "claim": job.claim, "run": job.run, "state": JobState.RUNNING.value}


def _ms(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(milliseconds=1)


def _in(seconds: float) -> Any:
    return {"$add": ["$$NOW", Int64(seconds * 1000)]} if seconds else "$$NOW"
