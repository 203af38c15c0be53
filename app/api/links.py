"""`/api/v1/links`: make, show, list, delete.

In: bodies as `NewLink`. Out: links as `LinkView`. May import: links.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from app.api.handler import Handler
from app.api.problems import FieldError, Problem
from app.links import Link, LinkState, SlugError, SlugTakenError, TargetError, check_slug, join_key

__all__ = ["LinkHandler", "LinksHandler"]

PAGE_DEFAULT = 50
PAGE_MAX = 500
REDIRECT_CODES = (301, 302, 307, 308)
INT64_MAX = 2**63 - 1  # MongoDB's widest whole number
_ETAG = re.compile(r'(?:W/)?"(\d{1,19})"')


class NewLink(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of a POST."""

    target: str
    slug: str | None = None
    code: Annotated[int, Meta(ge=301, le=308)] = 302
    expires_at: datetime | None = None
    starts_at: datetime | None = None
    tags: Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(max_length=32)] = []
    title: Annotated[str, Meta(max_length=500)] = ""
    notes: Annotated[str, Meta(max_length=10_000)] = ""
    forward_query: bool = False


class LinkView(msgspec.Struct, kw_only=True):
    """A link as the API shows it."""

    slug: str
    domain: str
    short_url: str
    target: str
    state: str
    code: int
    created_at: datetime
    starts_at: datetime | None
    expires_at: datetime | None
    tags: list[str]
    title: str
    notes: str
    forward_query: bool
    clicks: int
    version: int


def view(link: Link, public_url: str) -> LinkView:
    """A link for showing."""
    return LinkView(
        slug=link.slug,
        domain=link.domain,
        short_url=f"{public_url}/{link.slug}" if not link.domain else f"https://{link.domain}/{link.slug}",
        target=link.target,
        state=link.state.value,
        code=link.code,
        created_at=_time(link.created),
        starts_at=None if link.starts is None else _time(link.starts),
        expires_at=None if link.expires is None else _time(link.expires),
        tags=link.tags,
        title=link.title,
        notes=link.notes,
        forward_query=link.forward_query,
        clicks=link.clicks,
        version=link.version,
    )


class LinksHandler(Handler):
    """The collection."""

    async def post(self) -> None:
        """Makes a link."""
        wish = self.decode(NewLink)
        link = await self._create(wish)
        shown = view(link, self.services.settings.public_url)
        self.set_header("Location", f"/api/v1/links/{link.slug}")
        self.set_header("ETag", f'"{link.version}"')
        self.answer(shown, HTTPStatus.CREATED)

    async def _create(self, wish: NewLink) -> Link:
        assert self.key is not None
        if errors := list(_faults(wish)):
            raise _wrong(errors + list(_slug_fault(wish.slug)))
        fields: dict[str, Any] = {
            "code": wish.code,
            "starts": None if wish.starts_at is None else int(wish.starts_at.timestamp()),
            "expires": None if wish.expires_at is None else int(wish.expires_at.timestamp()),
            "tags": sorted(set(wish.tags)),
            "title": wish.title,
            "notes": wish.notes,
            "forward_query": wish.forward_query,
            "owner": self.key.id,
        }
        try:
            return await self.services.catalog.create(target=wish.target, slug=wish.slug, **fields)
        except TargetError as error:
            raise _wrong([FieldError("target", str(error)), *_slug_fault(wish.slug)]) from error
        except SlugError as error:
            raise _wrong([FieldError("slug", str(error))]) from error
        except SlugTakenError as error:
            taken = [FieldError("slug", "is taken")]
            raise Problem(HTTPStatus.CONFLICT, "This slug belongs to another link.", taken) from error

    async def get(self) -> None:
        """A page of links, the newest first."""
        limit = self.whole_argument("limit", PAGE_DEFAULT, 1, PAGE_MAX)
        cursor = self.get_query_argument("cursor", "")
        tag = self.get_query_argument("tag", None)
        page = await self.services.links.page(limit=limit, after=_read_cursor(cursor), tag=tag)
        public_url = self.services.settings.public_url
        following = None if page.following is None else _make_cursor(page.following)
        self.answer({"items": [view(link, public_url) for link in page.items], "next_cursor": following})


class LinkHandler(Handler):
    """One link."""

    async def get(self, slug: str) -> None:
        """Shows it."""
        link = await self.services.links.get(join_key("", slug))
        if link is None:
            raise Problem(HTTPStatus.NOT_FOUND, "There is no such link.")
        self.set_header("ETag", f'"{link.version}"')
        self.answer(view(link, self.services.settings.public_url))

    async def delete(self, slug: str) -> None:
        """Ends it everywhere before answering; with If-Match, only at that version."""
        key = join_key("", slug)
        version = self._wanted_version()
        if await self.services.catalog.delete(key, version=version) is None:
            link = await self.services.links.get(key)
            if link is None or link.state is LinkState.DELETED:
                raise Problem(HTTPStatus.NOT_FOUND, "There is no such link.")
            raise Problem(HTTPStatus.PRECONDITION_FAILED, f"The link is at version {link.version}.")
        self.clear_header("Content-Type")
        self.set_status(HTTPStatus.NO_CONTENT)

    def _wanted_version(self) -> int | None:
        text = self.request.headers.get("If-Match", "*").strip()
        if text == "*":
            return None
        match = _ETAG.fullmatch(text)
        if match is None or int(match[1]) > INT64_MAX:
            raise Problem(HTTPStatus.BAD_REQUEST, 'If-Match must be "*" or one ETag such as "1700000000000".')
        return int(match[1])


def _wrong(errors: list[FieldError]) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "Some fields cannot be used.", errors)


def _faults(wish: NewLink) -> Iterator[FieldError]:
    """What types cannot say of a wish."""
    if wish.code not in REDIRECT_CODES:
        yield FieldError("code", "must be 301, 302, 307 or 308")
    naive = [name for name in ("starts_at", "expires_at") if (at := getattr(wish, name)) and at.tzinfo is None]
    for name in naive:
        yield FieldError(name, "must name a time zone, such as 2030-01-01T00:00:00Z")
    if not naive and wish.starts_at and wish.expires_at and wish.starts_at >= wish.expires_at:
        yield FieldError("expires_at", "must be later than starts_at")


def _slug_fault(slug: str | None) -> Iterator[FieldError]:
    try:
        if slug is not None:
            check_slug(slug)
    except SlugError as error:
        yield FieldError("slug", str(error))


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _make_cursor(following: tuple[int, str]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(following)).decode().rstrip("=")


def _read_cursor(text: str) -> tuple[int, str] | None:
    if not text:
        return None
    try:
        decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return msgspec.json.decode(decoded, type=tuple[Annotated[int, Meta(ge=0, le=INT64_MAX)], str])
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "cursor must be a next_cursor as it was given.") from None
