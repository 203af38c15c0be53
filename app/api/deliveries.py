"""`/api/v1/webhooks/{webhook_id}/deliveries`: what became of each event, and deliveries by hand.

In: webhooks. Out: jobs as `DeliveryView`. May import: jobs, webhooks.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal

import msgspec
from bson import ObjectId
from msgspec import Meta

from app.api.fields import MomentField, shown
from app.api.operation import Answer, operation
from app.api.parameters import CURSOR, PAGE_DEFAULT, page_limit
from app.api.problems import Problem
from app.api.webhooks import NO_WEBHOOK, WebhookBase
from app.jobs import JobState, JobView, NewJob, order_of
from app.webhooks import KIND, TEST_EVENT, Delivery, WebhookState, body_of, lane_of

__all__ = ["DeliveriesHandler", "DeliveryHandler", "WebhookTestHandler"]

PAGE_MAX = 200
WAITING_MAX = 1_000  # deliveries behind which a test may wait
NO_DELIVERY = "There is no such delivery, or it is not kept any more."
State = Literal["waiting", "sending", "delivered", "dropped", "failed"]


class DeliveryView(msgspec.Struct, kw_only=True):
    """One event on its way to one webhook, and what the last attempt was answered."""

    id: Annotated[str, shown("Its id here.", "6926d8a0f3c1b2a4d5e6f708-3b9f0c5a2b3d4e5f")]
    webhook_id: Annotated[
        str, shown("The header of that name: the same for every attempt.", "msg_6926d8a0f3c1b2a4d5e6f708")
    ]
    event: Annotated[str, Meta(examples=["link.created"])]
    state: Annotated[State, Meta(description="`dropped`: nobody wants it any more; `failed`: it was given up.")]
    attempts: int
    created_at: MomentField
    due_at: Annotated[MomentField, Meta(description="When it is tried next, or was over.")]
    status: Annotated[int | None, Meta(description="The last answer's; null where there was none.")]
    duration_ms: int | None
    response: Annotated[str, Meta(description="How its body begins: at most 1,024 bytes.")]
    error: Annotated[str, Meta(description="Why the last attempt failed, or it was dropped.")]


class DeliveryDetail(DeliveryView, kw_only=True):
    """One delivery with what is sent."""

    payload: Annotated[
        str | None, Meta(description="Byte for byte; null where the audit log does not hold the change any more.")
    ]


class DeliveryPage(msgspec.Struct):
    """Deliveries, the newest event first."""

    items: list[DeliveryView]
    next_cursor: str | None


class DeliveryQuery(msgspec.Struct):
    """Which page."""

    limit: Annotated[int, page_limit(PAGE_MAX)] = PAGE_DEFAULT
    cursor: Annotated[
        str,
        Meta(pattern="^([0-9a-f]{24}-[0-9a-f]{16})?$", description=CURSOR),
    ] = ""


class DeliveriesHandler(WebhookBase):
    """All of one webhook."""

    @operation({200: Answer(DeliveryPage)}, query=DeliveryQuery, refuses={404: NO_WEBHOOK})
    async def get(self, id_: str) -> None:
        """List deliveries.

        Those that are done are kept for BOLTLINK_JOBS_KEPT, those that were given up for 30 days.
        """
        query = self.query(DeliveryQuery)
        lane = lane_of(await self.find_webhook(id_))
        found, following = await self.services.jobs.page_of_lane(lane, limit=query.limit, after=query.cursor or None)
        self.answer(DeliveryPage([_view(job) for job in found], following))


class DeliveryHandler(WebhookBase):
    """One delivery."""

    @operation({200: Answer(DeliveryDetail)}, refuses={404: NO_DELIVERY})
    async def get(self, id_: str, delivery: str) -> None:
        """Show a delivery."""
        lane = lane_of(await self.find_webhook(id_))
        found = await self.services.jobs.find({"_id": delivery, "lane": lane})
        if found is None:
            raise Problem(HTTPStatus.NOT_FOUND, NO_DELIVERY)
        sent = msgspec.convert(found.payload, Delivery)
        body = await body_of(self.services.database, sent, self.services.settings.public_url)
        view = msgspec.structs.asdict(_view(found))
        self.answer(DeliveryDetail(**view, payload=None if body is None else body.decode()))

    @operation(
        {202: Answer(DeliveryView)},
        refuses={404: NO_DELIVERY, 409: "It is just being sent, or waits to be, or the webhook is disabled."},
    )
    async def post(self, id_: str, delivery: str) -> None:
        """Deliver once more.

        The same bytes under the same `webhook-id`, now, with all attempts before it.
        """
        webhook = await self.find_webhook(id_)
        one = {"_id": delivery, "lane": lane_of(webhook)}
        if await self.services.jobs.find(one) is None:
            raise Problem(HTTPStatus.NOT_FOUND, NO_DELIVERY)
        if webhook.state is WebhookState.DISABLED:
            raise Problem(HTTPStatus.CONFLICT, "The webhook is disabled.")
        again = await self.services.jobs.again(one)
        if again is None:
            raise Problem(HTTPStatus.CONFLICT, "It is just being sent, or waits to be.")
        await self.services.ring()
        self.answer(_view(again), HTTPStatus.ACCEPTED)


class WebhookTestHandler(WebhookBase):
    """An event of no link."""

    @operation({202: Answer(DeliveryView)}, refuses={404: NO_WEBHOOK, 409: "The webhook is disabled, or far behind."})
    async def post(self, id_: str) -> None:
        """Send a test.

        An event `webhook.test`, which is delivered as any other.
        """
        webhook = await self.find_webhook(id_)
        if webhook.state is WebhookState.DISABLED:
            raise Problem(HTTPStatus.CONFLICT, "The webhook is disabled.")
        if await self.services.jobs.count_waiting(KIND, lane_of(webhook), WAITING_MAX) == WAITING_MAX:
            raise Problem(HTTPStatus.CONFLICT, f"{WAITING_MAX} deliveries wait for it.")
        event = str(ObjectId())
        job = NewJob(
            id=f"{event}-{webhook.id}",
            kind=KIND,
            lane=lane_of(webhook),
            payload=Delivery(webhook.id, event, TEST_EVENT),
            order=order_of(int(self.services.now_s())),
        )
        await self.services.jobs.enqueue([job])
        await self.services.ring()
        found = await self.services.jobs.find({"_id": job.id})
        assert found is not None
        self.answer(_view(found), HTTPStatus.ACCEPTED)


def _view(job: JobView) -> DeliveryView:
    states: dict[JobState, State] = {
        JobState.READY: "waiting",
        JobState.DELAYED: "waiting",
        JobState.RUNNING: "sending",
        JobState.DONE: "dropped" if job.error else "delivered",
        JobState.DEAD: "failed",
    }
    sent = msgspec.convert(job.payload, Delivery)
    return DeliveryView(
        id=job.id,
        webhook_id=f"msg_{sent.id}",
        event=sent.type,
        state=states[job.state],
        attempts=job.attempts,
        created_at=job.created,
        due_at=job.due,
        status=job.note.get("status"),
        duration_ms=job.note.get("ms"),
        response=job.note.get("body", ""),
        error=job.error,
    )
