"""Sends one event to one webhook: the kind of job `webhook`.

    2xx                    done
    410 Gone               the webhook is disabled (Standard Webhooks), the job is dead
    anything else, none    tried again; after DISABLE_S in which nothing at all was taken the webhook is disabled
    disabled, or its maker may not see links any more: what waits is dropped
    removed                all that waits for it is forgotten

A receiver may hear of an event twice: the answer may get lost, or this program die before it is written. `webhook-id`
is the same each time. What is kept of an answer: its status, how long it took, the first KEPT_BYTES of its body.
The secret stays in this room: neither logs nor traces nor the job hold it. May import: accounts, jobs, outbound.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import msgspec
from bson import ObjectId

from app.accounts import AUDIT, Scope, find_callers
from app.jobs import DropError, GiveUpError, JobQueue, Kind, RetryError, Task
from app.observe import get_logger
from app.outbound import Fetched, Fetcher, FetchError
from app.stores import Database
from app.webhooks.model import TEST_EVENT, Webhook, WebhookState, encode, event_of, make_body
from app.webhooks.receivers import ANSWER_S
from app.webhooks.signing import sign
from app.webhooks.storage import WebhookStore

__all__ = ["KIND", "Deliverer", "Delivery", "body_of"]

KIND = "webhook"
KEPT_BYTES = 1024
DISABLE_S = 5 * 86_400


class Delivery(msgspec.Struct, frozen=True):
    """The payload of the job: `id` is the event's, that of its entry in the audit log; what is sent is made of that.

    So an event is stored once, however many hear of it and however long it waits.
    """

    webhook: str
    id: str
    type: str


async def body_of(database: Database, delivery: Delivery, public_url: str) -> bytes | None:
    """What is sent; None where the audit log does not reach back so far any more."""
    if delivery.type == TEST_EVENT:
        at = ObjectId(delivery.id).generation_time.timestamp()
        return encode(TEST_EVENT, at, {"webhook": delivery.webhook})
    note = await database[AUDIT].find_one({"_id": ObjectId(delivery.id)})
    event = None if note is None else event_of(note, 0)
    return None if event is None else make_body(event, public_url)


class Deliverer:
    """Sends what one program claims.

    Args:
        now_s: Unix time in seconds.
        monotonic: a clock in seconds.
    """

    def __init__(
        self,
        database: Database,
        store: WebhookStore,
        queue: JobQueue,
        fetcher: Fetcher,
        *,
        public_url: str,
        now_s: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._store = store
        self._queue = queue
        self._fetcher = fetcher
        self._public_url = public_url
        self._now_s = now_s
        self._monotonic = monotonic

    def kind(self) -> Kind:
        """What a program registers: 12 attempts within about 18 hours."""
        return Kind(name=KIND, payload=Delivery, work=self.deliver, limit_s=2 * ANSWER_S)

    async def deliver(self, delivery: Delivery, task: Task) -> Mapping[str, Any]:
        """One attempt; what it returns or raises keeps what was answered."""
        webhook = await self._receiver(delivery, task)
        body = await body_of(self._database, delivery, self._public_url)
        if body is None:
            raise GiveUpError("the audit log does not hold the change any more")
        second = int(self._now_s())
        keys = webhook.keys(datetime.fromtimestamp(second, UTC))
        headers = {
            "Content-Type": "application/json",
            "Accept": "*/*",
            **sign(keys, f"msg_{delivery.id}", second, body),
        }
        began_s = self._monotonic()
        try:
            task.check()
            answer = await self._fetcher.post(webhook.url, body, headers)
        except FetchError as error:
            await self._on_failure(webhook)
            raise RetryError(error.reason, {"ms": self._ms_since(began_s)}) from error
        note = {"status": answer.status, "ms": self._ms_since(began_s), "body": _kept(answer)}
        if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            await self._store.note_success(webhook)
            return note
        if answer.status == HTTPStatus.GONE:
            await self._disable(webhook, "it answered 410")
            raise GiveUpError("it answered 410", note)
        await self._on_failure(webhook)
        raise RetryError(f"it answered {answer.status}", note)

    async def _receiver(self, delivery: Delivery, task: Task) -> Webhook:
        webhook = await self._store.get(delivery.webhook)
        if webhook is None:
            await self._queue.drop_lane(task.job.lane)
            raise DropError("the webhook is removed")
        if webhook.state is WebhookState.DISABLED:
            raise DropError("the webhook is disabled")
        maker = (await find_callers(self._database, [webhook.who], self._now_s())).get(webhook.who)
        if maker is None or not maker.may(Scope.LINKS_READ):
            raise DropError("who made the webhook may not see links any more")
        return webhook

    async def _on_failure(self, webhook: Webhook) -> None:
        now_s = int(self._now_s())
        await self._store.note_failure(webhook, now_s)
        if webhook.failing is not None and now_s - webhook.failing >= DISABLE_S:
            days = DISABLE_S // 86_400
            await self._disable(webhook, f"for {days} days it has taken nothing")

    async def _disable(self, webhook: Webhook, reason: str) -> None:
        if await self._store.disable(webhook, reason):
            get_logger().warning("webhook disabled", webhook=webhook.id, reason=reason)

    def _ms_since(self, began_s: float) -> int:
        return int((self._monotonic() - began_s) * 1000)


def _kept(answer: Fetched) -> str:
    return answer.body[:KEPT_BYTES].decode("utf-8", "replace").replace("\0", "\ufffd")
