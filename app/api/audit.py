"""`/api/v1/audit` and `/api/v1/links/{slug}/history`: who changed what.

In: filters and a cursor. Out: entries, the newest first. May import: accounts.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.accounts import WHATS, AuditSearch, Note, Scope, fields_of, time_of
from app.api.fields import MomentField, MomentParameter, moment_fault, shown
from app.api.handler import Handler
from app.api.operation import Answer, operation
from app.api.parameters import CURSOR, PAGE_DEFAULT, DomainName, page_limit
from app.api.problems import FieldError, wrong_fields

__all__ = ["AuditHandler", "HistoryHandler"]


class PageQuery(msgspec.Struct, kw_only=True):
    """Which page."""

    limit: Annotated[int, page_limit()] = PAGE_DEFAULT
    cursor: Annotated[str, Meta(pattern="^([0-9a-f]{24})?$", description=CURSOR)] = ""


class AuditQuery(PageQuery, kw_only=True):
    """Which changes."""

    who: Annotated[
        str,
        Meta(
            pattern="^(system|(key|user):[!-~]{1,128})?$",
            description="By this one alone: `key:ID`, `user:ID` or `system`.",
            examples=["system"],
        ),
    ] = ""
    what: Annotated[str, shown("Of this kind alone.", enum=["", *WHATS])] = ""
    subject: Annotated[
        str, Meta(max_length=400, description="Of this alone, such as `link:/SLUG`.", examples=["link:/http"])
    ] = ""
    since: MomentParameter | None = msgspec.field(default=None, name="from")
    until: Annotated[MomentParameter | None, Meta(description="Not included.")] = msgspec.field(default=None, name="to")


class HistoryQuery(PageQuery, kw_only=True):
    """Which page, and where the link lives."""

    domain: DomainName = ""


class Party(msgspec.Struct):
    """Who did something, or to what it was done."""

    kind: Literal["key", "user", "system", "link", "domain", "tag", "webhook", "database"]
    id: Annotated[str, shown("Of a link `DOMAIN/SLUG`; of the system nothing.", "/http")]


class Change(msgspec.Struct):
    """A field before and after; of a password only whether there was one."""

    old: Any
    new: Any


class Entry(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One change."""

    id: str
    time: MomentField
    who: Party
    what: Annotated[str, shown("The kind of change.", enum=list(WHATS))]
    subject: Party
    fields: dict[str, Change]
    request_id: Annotated[str, Meta(description="As on the answer to the request, and in the log.")] | None
    address: (
        Annotated[str, Meta(description="Of the client, with BOLTLINK_AUDIT_ADDRESSES=on, for admins.")] | UnsetType
    ) = UNSET


class EntryPage(msgspec.Struct):
    """Entries, the newest first."""

    items: list[Entry]
    next_cursor: str | None


class _AuditBase(Handler):
    """What both have in common: pages."""

    async def show(self, search: AuditSearch, page: PageQuery) -> None:
        """Answers with a page of entries."""
        notes, following = await self.services.audit.page(search, limit=page.limit, after=page.cursor)
        has_addresses = self.caller.may(Scope.ADMIN)
        self.answer(EntryPage([_entry(note, has_address=has_addresses) for note in notes], following))


class AuditHandler(_AuditBase):
    """All changes."""

    @operation({200: Answer(EntryPage)}, query=AuditQuery)
    async def get(self) -> None:
        """List changes.

        The newest come first. Every change has exactly one entry.
        """
        query = self.query(AuditQuery)
        if query.what and query.what not in WHATS:
            raise wrong_fields([FieldError("what", "must be one of " + ", ".join(WHATS))])
        since, until = _seconds("from", query.since), _seconds("to", query.until)
        search = AuditSearch(who=query.who, what=query.what, subject=query.subject, since=since, until=until)
        await self.show(search, query)


class HistoryHandler(_AuditBase):
    """The changes of one link."""

    @operation({200: Answer(EntryPage)}, query=HistoryQuery, refuses={404: "There is no such link."})
    async def get(self, slug: str) -> None:
        """List the changes of a link.

        Of the link that has the slug now, not of one that had it before.
        """
        query = self.query(HistoryQuery)
        link = await self.find_link(self.key_of(slug, query.domain))
        await self.show(AuditSearch(subject=f"link:{link.key}", link=link.link), query)


def _entry(note: Note, *, has_address: bool) -> Entry:
    return Entry(
        id=str(note["_id"]),
        time=datetime.fromtimestamp(time_of(note), UTC),
        who=_party(note["who"]),
        what=note["what"],
        subject=_party(note["subject"]),
        fields={name: Change(old, new) for name, (old, new) in fields_of(note).items()},
        request_id=note.get("request"),
        address=note.get("address", UNSET) if has_address else UNSET,
    )


def _party(text: str) -> Party:
    kind, _, identity = text.partition(":")
    return msgspec.convert({"kind": kind, "id": identity}, Party)


def _seconds(name: str, at: datetime | None) -> int | None:
    if at is None:
        return None
    if (fault := moment_fault(at)) is not None:
        raise wrong_fields([FieldError(name, fault)])
    return int(at.timestamp())
