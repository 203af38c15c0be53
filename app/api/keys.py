"""`/api/v1/keys`: API keys are made, listed and revoked. A key itself is shown once, when it is made.

May import: accounts.
"""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from app.accounts import ApiKey, Scope, make_key
from app.api.fields import MomentField, moment_fault, shown
from app.api.handler import Handler
from app.api.operation import Answer, operation
from app.api.parameters import CURSOR, PAGE_DEFAULT, page_limit, wrong_cursor
from app.api.problems import FieldError, Problem, wrong_fields

__all__ = ["KeyHandler", "KeysHandler"]

_NARROWED = "Narrows all rights to links "


class NewKey(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a POST."""

    name: Annotated[str, Meta(min_length=1, max_length=100, description="What it is for.", examples=["ci"])]
    scopes: Annotated[
        list[Scope],
        Meta(min_length=1, max_length=len(Scope), description="`links:write` includes `links:read`, `admin` all."),
    ] = msgspec.field(default_factory=lambda: [Scope.LINKS_WRITE, Scope.STATS_READ])
    domain: (
        Annotated[str, Meta(max_length=253, description=_NARROWED + "of this domain; empty: of the default one.")]
        | None
    ) = None
    tag: Annotated[str, Meta(max_length=64, description=_NARROWED + "with this tag.")] = ""
    own: Annotated[bool, Meta(description=_NARROWED + "that this key makes.")] = False
    expires_at: MomentField | None = None


class KeyView(msgspec.Struct, kw_only=True):
    """A key as it is listed."""

    id: Annotated[str, Meta(description="The SHA-256 of the key.", pattern="^[0-9a-f]{64}$", examples=["5f" * 32])]
    name: str
    prefix: Annotated[str, shown("How the key begins.", "blk_Zk3v")]
    created_at: MomentField
    revoked_at: MomentField | None
    scopes: list[Scope]
    domain: Annotated[str, Meta(description="Empty: the default domain.")] | None
    tag: str
    own: bool
    expires_at: MomentField | None
    last_used_at: Annotated[datetime, shown("To the minute.", format="date-time")] | None


class FreshKey(KeyView, kw_only=True):
    """A key that was just made."""

    key: Annotated[str, Meta(description="The key itself, shown this once.")]


class KeyPage(msgspec.Struct):
    """Keys, the newest first, revoked ones included."""

    items: list[KeyView]
    next_cursor: str | None


class KeyQuery(msgspec.Struct):
    """Which page."""

    limit: Annotated[int, page_limit()] = PAGE_DEFAULT
    cursor: Annotated[str, Meta(max_length=64, description=CURSOR)] = ""


class KeysHandler(Handler):
    """The collection."""

    @operation({201: Answer(FreshKey, headers=("Location",))}, body=NewKey)
    async def post(self) -> None:
        """Make a key.

        Nobody can make one that outlives their own. One with `admin` cannot be narrowed.
        """
        wish = self.decode(NewKey)
        rights = await self._rights(wish)
        key = make_key(self.services.token)
        stored = await self.services.keys.add(key, wish.name, self.author, **rights)
        self.set_header("Location", f"/api/v1/keys/{stored.id}")
        self.answer(FreshKey(**_view(stored), key=key), HTTPStatus.CREATED)

    async def _rights(self, wish: NewKey) -> dict[str, Any]:
        """What a wish gives a key, as it is stored; raises Problem."""
        errors = []
        domain = None if wish.domain is None else self.domain_named(wish.domain)
        if domain and not await self.services.domains.knows(domain):
            errors.append(FieldError("domain", "is no domain of this instance"))
        is_narrow = domain is not None or wish.tag or wish.own
        if Scope.ADMIN in wish.scopes and is_narrow:
            errors.append(FieldError("scopes", "must not hold admin in a key that is narrowed"))
        expires = wish.expires_at
        if expires is not None and (fault := moment_fault(expires)) is not None:
            raise wrong_fields([FieldError("expires_at", fault)])
        end = None if expires is None else int(expires.timestamp())
        if end is not None and end <= self.services.now_s():
            errors.append(FieldError("expires_at", "must be later than now"))
        if self.caller.expires is not None and (end is None or end > self.caller.expires):
            errors.append(FieldError("expires_at", "must not be later than that of the key that makes it"))
        if errors:
            raise wrong_fields(errors)
        scopes = tuple(sorted(set(wish.scopes)))
        return {"scopes": scopes, "domain": domain, "tag": wish.tag, "own": wish.own, "expires": end}

    @operation({200: Answer(KeyPage)}, query=KeyQuery)
    async def get(self) -> None:
        """List keys."""
        query = self.query(KeyQuery)
        try:
            found, following = await self.services.keys.page(query.limit, query.cursor)
        except LookupError as error:
            raise wrong_cursor() from error
        self.answer(KeyPage([KeyView(**_view(key)) for key in found], following))


class KeyHandler(Handler):
    """One key."""

    @operation({204: Answer()}, refuses={404: "There is no such key, or it was revoked before."})
    async def delete(self, digest: str) -> None:
        """Revoke a key.

        It is refused everywhere within a second, and for ever.
        """
        if not await self.services.keys.revoke(digest, self.author):
            raise Problem(HTTPStatus.NOT_FOUND, "There is no such key.")
        self.answer_nothing()


def _view(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "created_at": datetime.fromtimestamp(key.created, UTC),
        "revoked_at": _time(key.revoked),
        "scopes": list(key.scopes),
        "domain": key.domain,
        "tag": key.tag,
        "own": key.own,
        "expires_at": _time(key.expires),
        "last_used_at": _time(key.used),
    }


def _time(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
