"""What a webhook is, which changes it hears of, and what is sent of one.

In: entries of the audit log, each of which was written in the transaction of its change. Out: events. What an event
says is what the entry says: the change itself, whatever the link is by now. Pure. May import: accounts, links.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec

from app.accounts import Caller, Note, Scope, fields_of, time_of
from app.links import short_url, split_key

__all__ = [
    "EVENTS",
    "TEST_EVENT",
    "WHATS",
    "Event",
    "Secret",
    "Webhook",
    "WebhookState",
    "encode",
    "event_of",
    "lane_of",
    "make_body",
]

#: What can be heard of.
EVENTS = (
    *("link.created", "link.updated", "link.banned", "link.deleted", "link.restored"),
    *("link.broken", "link.mended"),
)
TEST_EVENT = "webhook.test"
FIELDS_BYTES_MAX = 64 * 1024  # of one event: old and new of a link with all that it may hold; more is left out
_BY_WHAT = {
    "link.create": "link.created",
    "link.update": "link.updated",
    "link.delete": "link.deleted",
    "link.restore": "link.restored",
    "link.broken": "link.broken",
    "link.mended": "link.mended",
}
WHATS = tuple(_BY_WHAT)


class WebhookState(StrEnum):
    """A disabled one is sent nothing, and what waited for it is dropped."""

    ACTIVE = "active"
    DISABLED = "disabled"


class Secret(msgspec.Struct, frozen=True):
    """What deliveries are signed with; `until` is when it ends, None never. It is in no text of its own."""

    key: bytes
    until: datetime | None = None

    def __repr__(self) -> str:
        return "Secret(…)"


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook as stored; times are Unix seconds, and `id` is never used again.

    Attributes:
        who: who made it, as the audit log names them; only what they may see is sent.
        owner: as links that they make name them.
        events: of EVENTS; none: all.
        domain, tag, own: links that it is narrowed to, as keys are.
        failing: since when every delivery has failed.
        reason: why it was disabled by itself.
    """

    id: str
    who: str
    owner: str
    url: str
    events: tuple[str, ...] = ()
    domain: str | None = None
    tag: str = ""
    own: bool = False
    note: str = ""
    state: WebhookState = WebhookState.ACTIVE
    reason: str = ""
    created: int
    version: int
    failing: int | None = None
    secrets: tuple[Secret, ...] = ()

    def keys(self, now: datetime) -> list[bytes]:
        """What to sign with now, the newest first."""
        return [secret.key for secret in self.secrets if secret.until is None or now < secret.until]


class Event(msgspec.Struct, frozen=True):
    """A change that somebody may hear of; `lost_tags` are those that the link has no more."""

    id: str
    type: str
    key: str
    owner: str
    tags: tuple[str, ...]
    lost_tags: tuple[str, ...]
    at: float
    order: int
    note: Mapping[str, Any]

    def is_for(self, webhook: Webhook, maker: Caller | None) -> bool:
        """Whether a webhook hears of it, whose maker may still do this much."""
        if maker is None or not maker.may(Scope.LINKS_READ):
            return False
        domain, bounds = split_key(self.key)[0], maker.bounds
        return (
            (not webhook.events or self.type in webhook.events)
            and (not webhook.own or self.owner == webhook.owner)
            and webhook.domain in (None, domain)
            and (not webhook.tag or webhook.tag in (*self.tags, *self.lost_tags))
            and bounds.domain in (None, domain)
            and (not bounds.tag or bounds.tag in self.tags)
            and (not bounds.owner or bounds.owner == self.owner)
        )


def event_of(note: Note, order: int) -> Event | None:
    """The event of an entry; None of one that is of no link, or was written by a release that did not say whose."""
    type_ = _BY_WHAT.get(note["what"])
    if type_ is None or "owner" not in note:
        return None
    tags = tuple(note.get("tags", ()))
    former = note.get("old", {}).get("tags") or ()
    is_ban = type_ == "link.updated" and note.get("new", {}).get("state") == "banned"
    return Event(
        id=str(note["_id"]),
        type="link.banned" if is_ban else type_,
        key=note["subject"].removeprefix("link:"),
        owner=note["owner"],
        tags=tags,
        lost_tags=tuple(tag for tag in former if tag not in tags),
        at=time_of(note),
        order=order,
        note=note,
    )


def make_body(event: Event, public_url: str) -> bytes:
    """What is sent of an event, the same each time."""
    domain, slug = split_key(event.key)
    fields = {name: {"old": old, "new": new} for name, (old, new) in fields_of(event.note).items()}
    data = {
        "slug": slug,
        "domain": domain,
        "short_url": short_url(event.key, public_url),
        "version": int(event.note["version"]),
        "fields": fields,
    }
    if len(msgspec.json.encode(fields)) > FIELDS_BYTES_MAX:
        data |= {"fields": {}, "is_cut": True}
    return encode(event.type, event.at, data)


def encode(type_: str, at: float, data: Mapping[str, Any]) -> bytes:
    """A payload, as Standard Webhooks recommends it."""
    time = datetime.fromtimestamp(round(at, 3), UTC)
    return msgspec.json.encode({"type": type_, "timestamp": time, "data": data})


def lane_of(webhook: Webhook) -> str:
    """Where its deliveries wait: those of one owner are one group."""
    return f"{webhook.owner}/{webhook.id}"
