"""Turns changes of links into deliveries: one program of all does it, by the lease `webhooks`.

In: the audit log, whose entries are written in the transactions of their changes, as its change stream brings them, in
the order of the commits. Out: a job for each event and each webhook that hears of it. So whoever changes a link pays
nothing for webhooks, no event is lost when that process dies after its commit, and there is none of a change that was
not made.

    kept        the lease keeps the token behind the last batch, and its time
    a batch     events are read, then the active webhooks: one that was made before a change is among them. Jobs are
                named after entry and webhook, so what is done again writes none twice; each transaction that writes
                some checks in with the lease
    no webhook  the stream is closed, and the time is kept
    no token    after a first start, a restore, a time without webhooks, or when MongoDB's oplog does not reach so far:
                the stream begins now, and the log is read from LOOK_BACK_S before the time that is kept, or before the
                first webhook was made, but never what a restore brought back

A webhook with WAITING_MAX deliveries that wait is disabled. An event is told to webhooks that were made before it, as
the clocks of nodes have it, within SLACK_S. kill -9 anywhere: the next one begins behind the kept token.
May import: accounts, jobs, links, stores.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Any

from app.accounts import AUDIT, Caller, Note, find_callers, first_id, time_of
from app.jobs import JobQueue, NewJob, order_of
from app.observe import get_logger, reason_of, traced
from app.stores import ChangeStream, Database, HistoryLostError, Lease, Session, transact
from app.webhooks.delivery import KIND, Delivery
from app.webhooks.model import WHATS, Event, Webhook, event_of, lane_of
from app.webhooks.storage import WebhookStore

__all__ = ["FanOut"]

BATCH_MAX = 1_000  # events
JOBS_MAX = 250  # of one transaction
WAIT_S = 1.0  # for events
KEEP_S = 1.0  # between two notes of the token; what is between is done again after a kill
LOOK_BACK_S = 60.0  # between an entry's making and its commit, and clocks that differ
UNKNOWN_S = 3_600.0  # the log is read so far back where no time is kept
SLACK_S = 5.0
WAITING_MAX = 100_000  # deliveries of one webhook: about 50 MB
COUNT_S = 10.0  # between two looks at how many wait
_PIPELINE: list[dict[str, Any]] = [
    {"$match": {"$or": [{"operationType": {"$ne": "insert"}}, {"fullDocument.what": {"$in": list(WHATS)}}]}},
    {"$match": {"operationType": {"$nin": ["delete"]}}},  # of retention
    {"$project": {"operationType": 1, "fullDocument": 1, "clusterTime": 1}},
]


class FanOut:
    """The work of whoever holds `lease`.

    Args:
        on_jobs: called when some were written.
        now_s: Unix time in seconds.
    """

    def __init__(
        self,
        database: Database,
        lease: Lease,
        store: WebhookStore,
        queue: JobQueue,
        *,
        on_jobs: Callable[[], Awaitable[None]],
        now_s: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.events = 0
        self._database = database
        self._lease = lease
        self._store = store
        self._queue = queue
        self._on_jobs = on_jobs
        self._now_s = now_s
        self._monotonic = monotonic
        self._stream = ChangeStream(database[AUDIT], _PIPELINE)
        self._kept_s = float("-inf")
        self._counted: dict[str, float] = {}

    async def open(self) -> None:
        """The first loop opens the stream, from what is kept."""
        await self._stream.close()

    async def loop(self) -> bool:
        """One batch; True when there may be more at once."""
        if not self._stream.is_open:
            webhooks = await self._store.active()
            if not webhooks:
                await self._keep({"time": self._now_s()})
                return False
            await self._begin(webhooks)
        try:
            changes = await self._stream.take(BATCH_MAX, WAIT_S)
        except HistoryLostError as error:
            get_logger().warning("changes cannot be followed, the audit log is read", reason=reason_of(error))
            await self._stream.close()
            await self._keep({"time": self._lease.kept.get("time", self._now_s())}, at_once=True)
            return True
        webhooks = await self._store.active()  # behind the events: see above
        notes = [(change["fullDocument"], _order_of(change)) for change in changes if "fullDocument" in change]
        await self._tell(notes, webhooks)
        if not webhooks:
            await self._stream.close()
        await self._keep({"token": self._stream.token, "time": self._now_s()} if webhooks else {"time": self._now_s()})
        return True

    async def drain(self) -> None:
        """Keeps the token and ends the stream."""
        if self._stream.token is not None:
            await self._keep({"token": self._stream.token, "time": self._now_s()}, at_once=True)
        await self._stream.close()

    async def _begin(self, webhooks: Sequence[Webhook]) -> None:
        """Opens the stream where the last one ended, or now; then what lies between is read from the log."""
        token = self._lease.kept.get("token")
        if token is not None:
            try:
                await self._stream.open(token)
            except HistoryLostError as error:
                get_logger().warning("changes cannot be followed, the audit log is read", reason=reason_of(error))
            else:
                return
        await self._stream.open(None)
        await self._read_log(await self._first_s(webhooks))

    async def _first_s(self, webhooks: Sequence[Webhook]) -> float:
        """From when on the log is read."""
        made_s = float(min(webhook.created for webhook in webhooks))
        known_s = float(self._lease.kept.get("time", self._now_s() - UNKNOWN_S))
        restores = self._database[AUDIT].find({"what": "database.restore"}).sort("_id", -1).limit(1)
        restored_s = [time_of(note) async for note in restores]
        return max([max(made_s, known_s) - LOOK_BACK_S, *restored_s])

    async def _read_log(self, first_s: float) -> None:
        after = first_id(first_s)
        while True:
            query = {"_id": {"$gt": after}}
            rows = await self._database[AUDIT].find(query).sort("_id", 1).limit(BATCH_MAX).to_list()
            notes = [(note, order_of(int(time_of(note)), number)) for number, note in enumerate(rows)]
            await self._tell(notes, await self._store.active())
            if len(rows) < BATCH_MAX:
                return
            after = rows[-1]["_id"]
            await self._lease.renew()

    async def _tell(self, notes: Sequence[tuple[Note, int]], webhooks: Sequence[Webhook]) -> None:
        """Writes the deliveries of some changes."""
        events = [event for note, order in notes if (event := event_of(note, order)) is not None]
        if not events or not webhooks:
            return
        with traced("webhooks", {"boltlink.events": len(events)}):
            makers = await find_callers(self._database, {webhook.who for webhook in webhooks}, self._now_s())
            hearers = [webhook for webhook in webhooks if await self._has_room(webhook)]
            jobs = (job for event in events for job in self._jobs_of(event, hearers, makers))
            while some := list(islice(jobs, JOBS_MAX)):
                await self._write(some)
                await self._on_jobs()
        self.events += len(events)

    def _jobs_of(self, event: Event, webhooks: Sequence[Webhook], makers: dict[str, Caller]) -> list[NewJob]:
        heard = [
            webhook
            for webhook in webhooks
            if event.at >= webhook.created - SLACK_S and event.is_for(webhook, makers.get(webhook.who))
        ]
        return [
            NewJob(
                id=f"{event.id}-{webhook.id}",
                kind=KIND,
                lane=lane_of(webhook),
                payload=Delivery(webhook.id, event.id, event.type),
                order=event.order,
                key=f"{webhook.id}{event.key}",
            )
            for webhook in heard
        ]

    async def _write(self, jobs: Sequence[NewJob]) -> None:
        async def work(session: Session) -> None:
            await self._queue.enqueue(jobs, session)
            await self._lease.check_in(session)

        await transact(self._database, work)

    async def _has_room(self, webhook: Webhook) -> bool:
        """Disables one that is too far behind."""
        now_s = self._monotonic()
        if now_s - self._counted.get(webhook.id, float("-inf")) < COUNT_S:
            return True
        if len(self._counted) > BATCH_MAX:
            self._counted.clear()
        self._counted[webhook.id] = now_s
        if await self._queue.count_waiting(KIND, lane_of(webhook), WAITING_MAX) < WAITING_MAX:
            return True
        if (whole := await self._store.get(webhook.id)) is not None:
            await self._store.disable(whole, f"{WAITING_MAX} deliveries wait for it")
        return False

    async def _keep(self, kept: dict[str, Any], *, at_once: bool = False) -> None:
        now_s = self._monotonic()
        if at_once or now_s - self._kept_s >= KEEP_S:
            await self._lease.renew({name: value for name, value in kept.items() if value is not None})
            self._kept_s = now_s


def _order_of(change: Any) -> int:
    at = change["clusterTime"]
    return order_of(at.time, at.inc)
