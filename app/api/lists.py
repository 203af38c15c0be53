"""What a list of links is asked for: its query, and the place where a page begins.

In: the query of a GET. Out: a `Listing`; places as opaque text. May import: accounts, links.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from app.accounts import Bounds
from app.api.fields import MomentParameter, moment_fault, shown
from app.api.parameters import CURSOR, PAGE_DEFAULT, page_limit, wrong_cursor
from app.api.problems import FieldError, wrong_fields
from app.links import (
    ORDERS,
    DomainError,
    DomainOptions,
    LinkState,
    Listing,
    ListingError,
    Place,
    Wanted,
    normalise_domain,
)

__all__ = ["ListQuery", "make_cursor", "read_cursor", "read_listing"]

_TIMES = ("created_from", "created_to", "expires_from", "expires_to")


class ListQuery(msgspec.Struct):
    """Which links, and in what order; what can be combined is said by `sort`."""

    limit: Annotated[int, page_limit()] = PAGE_DEFAULT
    cursor: Annotated[str, Meta(description=CURSOR)] = ""
    count: Annotated[bool, Meta(description="Whether to say how many there are in all.")] = False
    q: Annotated[str, Meta(description="Whole words of the slug, the target, the title or the notes.")] = ""
    prefix: Annotated[
        str, Meta(pattern="^[A-Za-z0-9_-]{0,64}$", description="How the slug begins, within one domain.")
    ] = ""
    tag: Annotated[str, Meta(description="Only links with this tag.", examples=["rfc"])] = ""
    owner: Annotated[str, Meta(description="Only links of this owner.")] = ""
    domain: (
        Annotated[
            str,
            Meta(
                description="Only links of this domain; empty: of the default one. Left out: of all, or with `prefix` "
                "of the default one.",
                max_length=253,
                examples=["go.example.com"],
            ),
        ]
        | None
    ) = None
    state: Annotated[
        LinkState | None, Meta(description="Only links in this state; left out: all that are not deleted.")
    ] = None
    broken: Annotated[bool, Meta(description="Whether only links whose page is gone; false: all.")] = False
    created_from: MomentParameter | None = None
    created_to: MomentParameter | None = None
    expires_from: MomentParameter | None = None
    expires_to: MomentParameter | None = None
    sort: Annotated[
        str,
        shown(
            "The order, by default `-created`; with `prefix` `slug`, with `state=deleted` `-deleted`. `created` goes "
            "with `q`, `owner`, `tag`, `domain`, `state`, `broken`, `created_from`, `created_to`; `clicks` with "
            "`owner`, `tag`, `domain`, `state`, `broken`; `expires` with these and `expires_from`, `expires_to`; "
            "`slug` with `domain`, `prefix`; `-deleted` with `state=deleted` alone.",
            enum=["", *ORDERS],
        ),
    ] = ""


def read_listing(query: ListQuery, bounds: Bounds, options_of: Callable[[str], DomainOptions]) -> Listing:
    """The list that a query asks for, within `bounds`; raises Problem with every argument that cannot be used."""
    errors = list(_time_faults(query))
    domain = query.domain
    try:
        domain = normalise_domain(domain) if domain else domain
    except DomainError as error:
        errors.append(FieldError("domain", str(error)))
    within = {"domain": bounds.domain, "tag": bounds.tag or None, "owner": bounds.owner or None}
    named = {"domain": domain, "tag": query.tag or None, "owner": query.owner or None}
    for name, bound in within.items():
        if bound is not None and named[name] not in (None, bound):
            errors.append(FieldError(name, "is not this key's to see"))
        named[name] = bound if bound is not None else named[name]
    if errors:
        raise wrong_fields(errors)
    times: dict[str, Any] = {name: _seconds(getattr(query, name)) for name in _TIMES}
    wanted = Wanted(
        q=query.q,
        prefix=options_of(named["domain"] or "").fold(query.prefix),
        state=query.state,
        broken=query.broken or None,
        domain=named["domain"],
        tag=named["tag"] or "",
        owner=named["owner"] or "",
        **times,
    )
    try:
        return Listing(query.sort, wanted)
    except ListingError as error:
        raise wrong_fields([FieldError(error.field, str(error))]) from error


def make_cursor(following: Place) -> str:
    """A place as text."""
    return base64.urlsafe_b64encode(msgspec.json.encode(following)).decode().rstrip("=")


def read_cursor(text: str) -> Place | None:
    """The place of a text; None for none. Raises Problem."""
    if not text:
        return None
    try:
        decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return msgspec.json.decode(decoded, type=Place)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise wrong_cursor() from None


def _time_faults(query: ListQuery) -> Iterator[FieldError]:
    for name in _TIMES:
        at: datetime | None = getattr(query, name)
        if at is not None and (fault := moment_fault(at)) is not None:
            yield FieldError(name, fault)


def _seconds(at: datetime | None) -> int | None:
    return None if at is None else max(0, int(at.timestamp()))
