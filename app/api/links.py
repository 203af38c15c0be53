"""`/api/v1/links`: make, show, list, change, delete, restore.

In: bodies as `app.api.wishes` reads them. Out: links as `LinkView`. May import: accounts, links.
"""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.accounts import Scope
from app.api.branches import RuleWish, VariantWish, show_rule, show_variant
from app.api.fields import DomainField, MomentField, SlugField, TagsField, TargetField, shown
from app.api.handler import Handler
from app.api.lists import ListQuery, make_cursor, read_cursor, read_listing
from app.api.notes import tell_changed, tell_created, tell_deleted, tell_restored
from app.api.operation import Answer, operation
from app.api.parameters import LinkQuery
from app.api.problems import FieldError, Problem, wrong_fields
from app.api.versions import wanted_version
from app.api.wishes import LinkChange, NewLink, Reading, read_change, read_link
from app.links import (
    COUNT_MAX,
    Existing,
    Link,
    LinkState,
    ListingError,
    NotKeptError,
    SlugTakenError,
    join_key,
    short_url,
)

__all__ = [
    "CHANGES_MAX",
    "NO_LINK",
    "UNDER_WAY",
    "LinkBase",
    "LinkHandler",
    "LinkView",
    "LinksHandler",
    "RestoreHandler",
    "view",
]

NO_LINK = "There is no such link."
UNDER_WAY = "The first request with the same `Idempotency-Key` is under way."
BUSY = "Others are changing this link right now."
CHANGES_MAX = 4  # times that a change is tried while others change the same link


class BrokenView(msgspec.Struct, frozen=True, gc=False):
    """Since when a link's page is gone, and what was found there instead."""

    since: MomentField
    reason: Annotated[str, Meta(examples=["it answers 404"])]


class LinkView(msgspec.Struct, kw_only=True, gc=False):
    """A link as the API shows it; `password` says whether there is one."""

    slug: SlugField
    domain: DomainField
    short_url: Annotated[str, shown("Where visitors find it.", "https://sho.rt/http", format="uri")]
    target: TargetField
    state: LinkState
    code: int
    created_at: MomentField
    starts_at: MomentField | None
    expires_at: MomentField | None
    max_visits: int | None
    visits: Annotated[int, Meta(description="Those that `max_visits` counts.")]
    password: bool
    tags: TagsField
    title: str
    notes: str
    forward_query: bool
    forward_path: bool
    rules: list[RuleWish]
    variants: list[VariantWish]
    clicks: Annotated[int, Meta(description="Of people, as the statistics count them; a minute old at most.")]
    version: Annotated[int, Meta(description="What `ETag` shows; it never falls for a slug.")]
    deleted_at: MomentField | None
    broken: Annotated[
        BrokenView | None, Meta(description="That the page of `target` is gone, as checks have found; null: none has.")
    ]


class LinkPage(msgspec.Struct):
    """Some links in order; `next_cursor` is null on the last page, `count` is there when it was asked for."""

    items: list[LinkView]
    next_cursor: str | None
    count: Annotated[
        int | str | UnsetType, shown(f"How many in all: a number up to {COUNT_MAX}, or `{COUNT_MAX}+`.", 42)
    ] = UNSET


def view(link: Link, public_url: str) -> LinkView:
    """A link for showing."""
    return LinkView(
        slug=link.slug,
        domain=link.domain,
        short_url=short_url(link.key, public_url),
        target=link.target,
        state=link.state,
        code=link.code,
        created_at=_time(link.created),
        starts_at=None if link.starts is None else _time(link.starts),
        expires_at=None if link.expires is None else _time(link.expires),
        max_visits=link.max_visits,
        visits=link.visits,
        password=link.password_hash is not None,
        tags=link.tags,
        title=link.title,
        notes=link.notes,
        forward_query=link.forward_query,
        forward_path=link.forward_path,
        rules=[show_rule(rule) for rule in link.rules] if link.rules else [],
        variants=[show_variant(variant) for variant in link.variants] if link.variants else [],
        clicks=link.clicks,
        version=link.version,
        deleted_at=None if link.deleted is None else _time(link.deleted),
        broken=None if link.broken is None else BrokenView(_time(link.broken.since), link.broken.reason),
    )


class LinkBase(Handler):
    """What making and changing links share."""

    async def judge_new(self, reading: Reading) -> None:
        """Adds errors when the wished domain is none of this instance, or the link would be none of the caller's."""
        bounds = self.caller.bounds
        if not bounds.is_wide:
            faults = self.caller.faults(reading.domain, reading.fields.get("tags", []), self.caller.owner)
            reading.errors += (FieldError(field, message) for field, message in faults)
        # Who is narrowed to one domain is not told which others there are.
        is_asked = reading.domain and bounds.domain in (None, reading.domain)
        if is_asked and not await self.services.domains.knows(reading.domain):
            reading.errors.append(FieldError("domain", "is no domain of this instance"))

    def judge_change(self, reading: Reading, link: Link) -> None:
        """Adds errors when a changed link would be none of the caller's any more, or a ban would end without an admin.

        Whoever abuses a link may have a key for it; a deleted link that is restored is banned as before.
        """
        is_freed = link.state is LinkState.BANNED and reading.fields.get("state", link.state) is not LinkState.BANNED
        if is_freed and not self.caller.may(Scope.ADMIN):
            reading.errors.append(FieldError("state", "stays banned: only an admin ends a ban"))
        faults = self.caller.faults(link.domain, reading.fields.get("tags", link.tags), link.owner)
        reading.errors += (FieldError(field, message) for field, message in faults)

    async def hash_password(self, password: str | UnsetType | None) -> dict[str, Any]:
        """What to store of a password, if anything is to change; raises HasherBusyError."""
        if password is UNSET or password is None:
            return {} if password is UNSET else {"password_hash": None}
        return {"password_hash": await self.services.hasher.hash(password)}

    def draft_of(self, reading: Reading, password: dict[str, Any], row: int = 0) -> Link:
        """A draft of what was read without errors; `row`: its number in the request, `password`: of `hash_password`."""
        assert reading.target is not None
        fields = {**reading.fields, **password, "owner": self.caller.owner}
        seed = None if self.seed is None else self.seed + row.to_bytes(4, "big")
        return self.services.catalog.draft(
            target=reading.target, slug=reading.slug, domain=reading.domain, seed=seed, **fields
        )


class LinksHandler(LinkBase):
    """The collection."""

    @operation(
        {
            200: Answer(LinkView, says="It was there: `find_existing`.", headers=("Location", "ETag")),
            201: Answer(LinkView, headers=("Location", "ETag")),
        },
        body=NewLink,
        refuses={409: f"The slug is taken. {UNDER_WAY}"},
        is_repeatable=True,
    )
    async def post(self) -> None:
        """Make a link."""
        await self.once(self._make)

    async def _make(self) -> None:
        catalog = self.services.catalog
        reading = read_link(self.decode_object(), catalog.check_target)
        await self.judge_new(reading)
        if reading.errors:
            raise wrong_fields(reading.errors)
        tell = tell_created(self.services.audit, self.author)
        draft = self.draft_of(reading, await self.hash_password(reading.password))
        (made,) = await catalog.create_many([draft], [reading.slug is None], tell, self.caller.sees)
        if isinstance(made, SlugTakenError):
            taken = [FieldError("slug", "is taken")]
            raise Problem(HTTPStatus.CONFLICT, "This slug belongs to another link.", taken)
        if isinstance(made, Exception):
            raise made
        link = made.link if isinstance(made, Existing) else made
        self.set_header("Location", f"/api/v1/links/{link.slug}" + (f"?domain={link.domain}" if link.domain else ""))
        self.set_header("ETag", f'"{link.version}"')
        status = HTTPStatus.OK if isinstance(made, Existing) else HTTPStatus.CREATED
        self.answer(view(link, self.services.settings.public_url), status)

    @operation({200: Answer(LinkPage)}, query=ListQuery)
    async def get(self) -> None:
        """A page of links.

        The newest come first unless `sort` says otherwise. Pages are stable while links come and go.
        """
        query = self.query(ListQuery)
        after = read_cursor(query.cursor)
        listing = read_listing(query, self.caller.bounds, self.services.domains.options_of)
        try:
            page = await self.services.links.page(listing, limit=query.limit, after=after)
            count = await self.services.links.count(listing) if query.count else None
        except ListingError as error:
            raise wrong_fields([FieldError(error.field, str(error))]) from error
        public_url = self.services.settings.public_url
        following = None if page.following is None else make_cursor(page.following)
        answer = LinkPage([view(link, public_url) for link in page.items], following)
        if count is not None:
            answer.count = count if count <= COUNT_MAX else f"{COUNT_MAX}+"
        self.answer(answer)


class LinkHandler(LinkBase):
    """One link."""

    @operation({200: Answer(LinkView, headers=("ETag",))}, query=LinkQuery, refuses={404: NO_LINK})
    async def get(self, slug: str) -> None:
        """Show a link."""
        link = await self.find_link(self.key_of(slug, self.query(LinkQuery).domain))
        self.set_header("ETag", f'"{link.version}"')
        self.answer(view(link, self.services.settings.public_url))

    @operation(
        {200: Answer(LinkView, headers=("ETag",))},
        query=LinkQuery,
        body=LinkChange,
        refuses={404: NO_LINK, 409: BUSY},
        is_conditional=True,
        example={"title": "HTTP semantics", "expires_at": None},
    )
    async def patch(self, slug: str) -> None:
        """Change a link.

        Fields that are left out stay. Every process has heard of the change before it is answered.
        """
        key = self.key_of(slug, self.query(LinkQuery).domain)
        version = wanted_version(self.request.headers.get("If-Match"))
        wish = self.decode_object()
        password: dict[str, Any] | None = None
        for _ in range(CHANGES_MAX):
            link = await self.find_link(key)
            if version not in (None, link.version):
                raise _outdated(link)
            reading = read_change(wish, link, self.services.catalog.check_target)
            self.judge_change(reading, link)
            if reading.errors:
                raise wrong_fields(reading.errors)
            if password is None:
                password = await self.hash_password(reading.password)
            fields = {**reading.fields, **password}
            tell = tell_changed(self.services.audit, self.author, link, fields)
            changed = await self.services.catalog.change(link, fields, tell)
            if changed is not None:
                self.set_header("ETag", f'"{changed.version}"')
                self.answer(view(changed, self.services.settings.public_url))
                return
        raise Problem(HTTPStatus.CONFLICT, BUSY)

    @operation({204: Answer()}, query=LinkQuery, refuses={404: NO_LINK, 409: BUSY}, is_conditional=True)
    async def delete(self, slug: str) -> None:
        """End a link.

        It has ended everywhere before this is answered. It is kept for a while: it can be restored, and nobody gets
        its slug.
        """
        key = self.key_of(slug, self.query(LinkQuery).domain)
        version = wanted_version(self.request.headers.get("If-Match"))
        tell = tell_deleted(self.services.audit, self.author)
        for _ in range(CHANGES_MAX):
            link = await self.find_link(key)
            if version not in (None, link.version):
                raise _outdated(link)
            if await self.services.catalog.delete(link.key, version=link.version, tell=tell) is not None:
                self.answer_nothing()
                return
        raise Problem(HTTPStatus.CONFLICT, BUSY)


class RestoreHandler(LinkBase):
    """A link that was deleted."""

    @operation(
        {200: Answer(LinkView, headers=("ETag",))},
        query=LinkQuery,
        refuses={
            404: NO_LINK,
            409: "The slug belongs to a link that is not deleted, or the domain is gone.",
            410: "It was deleted too long ago.",
        },
    )
    async def post(self, slug: str) -> None:
        """Restore a deleted link.

        It is back everywhere before this is answered, in its former state and with its statistics.
        """
        domain = self.domain_named(self.query(LinkQuery).domain)
        if self.caller.bounds.domain not in (None, domain):
            raise Problem(HTTPStatus.NOT_FOUND, NO_LINK)
        if domain and not await self.services.domains.knows(domain):
            raise Problem(HTTPStatus.CONFLICT, f"{domain} is no domain of this instance any more.")
        key = join_key(domain, slug)
        tell = tell_restored(self.services.audit, self.author)
        try:
            for spelling in self.spellings(key):
                link = await self.services.catalog.restore(spelling, tell, self.caller.sees)
                if link is not None:
                    break
        except NotKeptError as error:
            detail = "The link was deleted so long ago that it is not kept any more."
            raise Problem(HTTPStatus.GONE, detail) from error
        if link is None:
            await self.find_link(key)
            raise Problem(HTTPStatus.CONFLICT, "This slug belongs to a link that is not deleted.")
        self.set_header("ETag", f'"{link.version}"')
        self.answer(view(link, self.services.settings.public_url))


def _outdated(link: Link) -> Problem:
    return Problem(HTTPStatus.PRECONDITION_FAILED, f"The link is at version {link.version}.")


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
