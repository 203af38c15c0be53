"""`/api/v1/webhooks`: made, listed, shown, changed, ended; their secrets are shown once.

In: URLs and what is wished for. Out: webhooks as `WebhookView`. Who may do everything sees all, others those that they
made. May import: accounts, links, outbound, webhooks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from pymongo.errors import PyMongoError

from app.accounts import Note, Scope
from app.api.fields import MomentField, shown
from app.api.handler import Handler
from app.api.operation import Answer, operation
from app.api.parameters import CURSOR, PAGE_DEFAULT, page_limit
from app.api.problems import FieldError, Problem, wrong_fields
from app.api.versions import wanted_version
from app.links import DomainError, normalise_domain
from app.outbound import FetchError
from app.webhooks import EVENTS, Secret, Webhook, WebhookError, WebhookState, lane_of, make_secret, show_secret

__all__ = ["NO_WEBHOOK", "WebhookBase", "WebhookHandler", "WebhookSecretHandler", "WebhooksHandler"]

NO_WEBHOOK = "There is no such webhook."
BUSY = "Others are changing this webhook right now."
URL_CHARACTERS_MAX = 2_048
OLD_SECRET_S = 86_400  # for which the former secret signs, too
SECRETS_MAX = 2
CHANGES_MAX = 4  # times that a change is tried while others change the same one
DROPS_MAX = 8  # of 500 deliveries of a removed webhook: whoever removed it waits 0.2 s
_NARROWED = "Only of links "
UrlField = Annotated[
    str,
    shown(
        "Where events are POSTed to: https, at a public address, and no redirect.",
        "https://hooks.example.com/boltlink",
        format="uri",
        maxLength=URL_CHARACTERS_MAX,
    ),
]
EventsField = Annotated[
    list[
        Literal[
            "link.created",
            "link.updated",
            "link.banned",
            "link.deleted",
            "link.restored",
            "link.broken",
            "link.mended",
        ]
    ],
    Meta(max_length=len(EVENTS), description="Of what it hears; empty: of everything, also what is new one day."),
]
DomainName = Annotated[str, Meta(max_length=253, description=_NARROWED + "of this domain; empty: of the default one.")]
TagName = Annotated[str, Meta(max_length=64, description=_NARROWED + "with this tag.")]
OwnField = Annotated[bool, Meta(description=_NARROWED + "that whoever made the webhook makes.")]
DescriptionField = Annotated[str, Meta(max_length=500, description="What it is for.", examples=["chat"])]


class NewWebhook(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a POST."""

    url: UrlField
    events: EventsField = []
    domain: DomainName | None = None
    tag: TagName = ""
    own: OwnField = False
    description: DescriptionField = ""


class WebhookChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What shall change; what is left out stays."""

    url: UrlField | UnsetType = UNSET
    events: EventsField | UnsetType = UNSET
    domain: DomainName | UnsetType | None = UNSET
    tag: TagName | UnsetType = UNSET
    own: OwnField | UnsetType = UNSET
    description: DescriptionField | UnsetType = UNSET
    state: Annotated[WebhookState, Meta(description="A disabled one is sent nothing.")] | UnsetType = UNSET


class WebhookView(msgspec.Struct, kw_only=True):
    """A webhook; its secret is never shown again."""

    id: Annotated[str, shown("Never used again.", "3b9f0c5a2b3d4e5f")]
    owner: Annotated[str, Meta(description="The key or user that made it.")]
    url: UrlField
    events: EventsField
    domain: DomainName | None
    tag: TagName
    own: OwnField
    description: DescriptionField
    state: WebhookState
    reason: Annotated[str, Meta(description="Why it was disabled by itself; empty where it was not.")]
    failing_since: Annotated[MomentField | None, Meta(description="Since when every delivery has failed.")]
    created_at: MomentField
    version: Annotated[int, Meta(description="What `ETag` shows.")]


class FreshWebhook(WebhookView, kw_only=True):
    """A webhook that was just made, or has a new secret."""

    secret: Annotated[str, shown("What deliveries are signed with, shown this once.", "whsec_…")]


class WebhookPage(msgspec.Struct):
    """Webhooks in the order of their ids."""

    items: list[WebhookView]
    next_cursor: str | None


class WebhookQuery(msgspec.Struct):
    """Which page."""

    limit: Annotated[int, page_limit()] = PAGE_DEFAULT
    cursor: Annotated[str, Meta(pattern="^([0-9a-f]{16})?$", description=CURSOR)] = ""


class WebhookBase(Handler):
    """What all of them share."""

    async def find_webhook(self, id_: str) -> Webhook:
        """One that is the caller's to see; raises Problem."""
        found = await self.services.webhooks.get(id_)
        if found is None or not (self.caller.may(Scope.ADMIN) or found.owner == self.caller.owner):
            raise Problem(HTTPStatus.NOT_FOUND, NO_WEBHOOK)
        return found

    def judge(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Fields of a body as they are stored, within what the caller may see; raises Problem."""
        errors: list[FieldError] = []
        bounds, judged = self.caller.bounds, dict(fields)
        if "description" in judged:
            judged["note"] = judged.pop("description")
        if "events" in judged:
            judged["events"] = tuple(dict.fromkeys(judged["events"]))
        if "url" in judged:
            errors += self._url_faults(judged["url"])
        if judged.get("domain"):
            try:
                judged["domain"] = normalise_domain(judged["domain"])
            except DomainError as error:
                errors.append(FieldError("domain", str(error)))
        for name, bound in (
            ("domain", bounds.domain),
            ("tag", bounds.tag or None),
            ("own", bool(bounds.owner) or None),
        ):
            if bound is None or name not in judged:
                continue
            if judged[name] not in (None, "", False, bound):
                errors.append(FieldError(name, "is not this key's to see"))
            judged[name] = bound
        if errors:
            raise wrong_fields(errors)
        return judged

    def _url_faults(self, url: str) -> list[FieldError]:
        if len(url) > URL_CHARACTERS_MAX:
            return [FieldError("url", f"must not be longer than {URL_CHARACTERS_MAX} characters")]
        try:
            self.services.receivers.check(url)
        except FetchError as error:
            return [FieldError("url", error.reason)]
        return []

    def show(self, webhook: Webhook, status: int = HTTPStatus.OK, *, secret: bytes | None = None) -> None:
        """Answers with one."""
        self.set_header("ETag", f'"{webhook.version}"')
        fields = view_of(webhook)
        shown_ = WebhookView(**fields) if secret is None else FreshWebhook(**fields, secret=show_secret(secret))
        self.answer(shown_, status)

    async def changed(
        self, id_: str, change: Callable[[Webhook], Mapping[str, Any]], what: str = "webhook.update"
    ) -> Webhook:
        """Changes one, again while others do; `change` makes fields of what it is now. Raises Problem."""
        version = wanted_version(self.request.headers.get("If-Match"))
        for _ in range(CHANGES_MAX):
            webhook = await self.find_webhook(id_)
            if version not in (None, webhook.version):
                raise Problem(HTTPStatus.PRECONDITION_FAILED, f"The webhook is at version {webhook.version}.")
            done = await self.services.webhooks.change(
                webhook, change(webhook), lambda old, new: self._note(what, old, new)
            )
            if done is not None:
                return done
        raise Problem(HTTPStatus.CONFLICT, BUSY)

    def _note(self, what: str, old: Webhook, new: Webhook) -> Note:
        before, after = told(old), told(new)
        names = [name for name in after if before[name] != after[name]]
        old_fields, new_fields = ({name: one[name] for name in names} for one in (before, after))
        return self.services.audit.note(self.author, what, f"webhook:{old.id}", old=old_fields, new=new_fields)


class WebhooksHandler(WebhookBase):
    """The collection."""

    @operation(
        {201: Answer(FreshWebhook, headers=("Location", "ETag"))}, body=NewWebhook, refuses={409: "There are too many."}
    )
    async def post(self) -> None:
        """Make a webhook.

        Its secret is shown this once. It hears of changes that are made from now on, of links that are its maker's to
        see, for as long as they may.
        """
        fields = self.judge(msgspec.structs.asdict(self.decode(NewWebhook)))
        secret = make_secret(self.services.token_bytes)
        webhook = Webhook(
            id=self.services.token_bytes(8).hex(),
            who=self.caller.who,
            owner=self.caller.owner,
            created=int(self.services.now_s()),
            version=1,
            secrets=(Secret(secret),),
            **fields,
        )
        note = self.services.audit.note(self.author, "webhook.create", f"webhook:{webhook.id}", new=told(webhook))
        try:
            await self.services.webhooks.add(webhook, note)
        except WebhookError as error:
            raise Problem(HTTPStatus.CONFLICT, f"{str(error).capitalize()}.") from error
        self.set_header("Location", f"/api/v1/webhooks/{webhook.id}")
        self.show(webhook, HTTPStatus.CREATED, secret=secret)

    @operation({200: Answer(WebhookPage)}, query=WebhookQuery)
    async def get(self) -> None:
        """List webhooks.

        Those that the caller made; all of them for an admin.
        """
        query = self.query(WebhookQuery)
        owner = None if self.caller.may(Scope.ADMIN) else self.caller.owner
        found, following = await self.services.webhooks.page(owner, limit=query.limit, after=query.cursor)
        self.answer(WebhookPage([WebhookView(**view_of(webhook)) for webhook in found], following))


class WebhookHandler(WebhookBase):
    """One webhook."""

    @operation({200: Answer(WebhookView, headers=("ETag",))}, refuses={404: NO_WEBHOOK})
    async def get(self, id_: str) -> None:
        """Show a webhook."""
        self.show(await self.find_webhook(id_))

    @operation(
        {200: Answer(WebhookView, headers=("ETag",))},
        body=WebhookChange,
        refuses={404: NO_WEBHOOK, 409: BUSY},
        is_conditional=True,
        example={"state": "active"},
    )
    async def patch(self, id_: str) -> None:
        """Change a webhook.

        Fields that are left out stay. One that is made active again has failed nothing.
        """
        wish = msgspec.structs.asdict(self.decode(WebhookChange))
        fields = self.judge({name: value for name, value in wish.items() if value is not UNSET})
        if fields.get("state") is WebhookState.ACTIVE:
            fields |= {"failing": None, "reason": ""}
        self.show(await self.changed(id_, lambda webhook: fields))

    @operation({204: Answer()}, refuses={404: NO_WEBHOOK, 409: BUSY}, is_conditional=True)
    async def delete(self, id_: str) -> None:
        """End a webhook.

        What waits to be delivered, and the list of its deliveries, go with it.
        """
        version = wanted_version(self.request.headers.get("If-Match"))
        for _ in range(CHANGES_MAX):
            webhook = await self.find_webhook(id_)
            if version not in (None, webhook.version):
                raise Problem(HTTPStatus.PRECONDITION_FAILED, f"The webhook is at version {webhook.version}.")
            note = self.services.audit.note(self.author, "webhook.delete", f"webhook:{id_}", old={"url": webhook.url})
            if await self.services.webhooks.remove(webhook, note):
                await self._drop(lane_of(webhook))
                self.answer_nothing()
                return
        raise Problem(HTTPStatus.CONFLICT, BUSY)

    async def _drop(self, lane: str) -> None:
        """Forgets what waits; what is left then, programs of jobs forget as they come to it."""
        with suppress(PyMongoError):  # the webhook is removed, whatever comes of this
            for _ in range(DROPS_MAX):
                if not await self.services.jobs.drop_lane(lane):
                    return


class WebhookSecretHandler(WebhookBase):
    """What deliveries are signed with."""

    @operation(
        {200: Answer(FreshWebhook, headers=("ETag",))},
        refuses={404: NO_WEBHOOK, 409: BUSY},
        is_conditional=True,
    )
    async def post(self, id_: str) -> None:
        """Replace the secret of a webhook.

        The new one is shown this once. For a day deliveries are signed with both, so that no receiver misses any.
        """
        secret = make_secret(self.services.token_bytes)
        now = datetime.fromtimestamp(int(self.services.now_s()), UTC)

        def renew(webhook: Webhook) -> dict[str, Any]:
            former = Secret(webhook.secrets[0].key, now + timedelta(seconds=OLD_SECRET_S))
            return {"secrets": (Secret(secret), former)[:SECRETS_MAX]}

        self.show(await self.changed(id_, renew, "webhook.secret"), secret=secret)


def view_of(webhook: Webhook) -> dict[str, Any]:
    """The fields of a view."""
    return {
        "id": webhook.id,
        "owner": webhook.owner,
        "url": webhook.url,
        "events": list(webhook.events),
        "domain": webhook.domain,
        "tag": webhook.tag,
        "own": webhook.own,
        "description": webhook.note,
        "state": webhook.state,
        "reason": webhook.reason,
        "failing_since": None if webhook.failing is None else datetime.fromtimestamp(webhook.failing, UTC),
        "created_at": datetime.fromtimestamp(webhook.created, UTC),
        "version": webhook.version,
    }


def told(webhook: Webhook) -> dict[str, Any]:
    """What the audit log tells of one."""
    names = ("url", "events", "domain", "tag", "own", "description", "state")
    return {name: value for name, value in view_of(webhook).items() if name in names} | {"state": webhook.state.value}
