"""`/api/v1/domains`: further domains that links may live under, and the options of each and of the default one.

In: names, options. Out: domains as `DomainView`. Every process follows within seconds. May import: accounts, links.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.accounts import Note
from app.api.fields import MomentField, TargetField, shown
from app.api.handler import Handler
from app.api.notes import tell_renamed
from app.api.operation import Answer, operation
from app.api.problems import FieldError, Problem, field_errors, wrong_fields
from app.links import (
    PLAIN_OPTIONS,
    SLUG_BITS_MIN,
    Domain,
    DomainError,
    DomainOptions,
    FoldingError,
    Robots,
    authority_of,
    is_alphabet,
    normalise_domain,
    slug_length_min,
)

__all__ = ["DomainHandler", "DomainsHandler"]

NO_DOMAIN = "There is no such domain."
SlugLength = Annotated[
    int, Meta(ge=5, le=32, description="Characters of a slug that is made; a chosen one is free.", examples=[7])
]
SlugAlphabet = Annotated[
    str,
    shown(
        f"What made slugs are made of, each once; with `slug_length` at least {SLUG_BITS_MIN} bits.",
        "0123456789abcdef",
        pattern="^[A-Za-z0-9_-]{2,64}$",
    ),
]
CaseInsensitiveField = Annotated[
    bool,
    Meta(
        description="Whether `/Sale` and `/sale` are one link: slugs are stored in lower case, and found in any. Links "
        "that have capitals are renamed."
    ),
]
RobotsField = Annotated[Robots, Meta(description="What `/robots.txt` lets crawlers fetch: all links, or nothing.")]


class NewDomain(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a POST."""

    name: Annotated[str, shown("A host name; one that is not ASCII is encoded (IDNA).", "go.example.com")]


class DomainChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What shall change of a domain's options; null is as if it had never been set."""

    not_found_target: TargetField | UnsetType | None = UNSET
    root_target: TargetField | UnsetType | None = UNSET
    robots: RobotsField | UnsetType | None = UNSET
    slug_length: SlugLength | UnsetType | None = UNSET
    slug_alphabet: SlugAlphabet | UnsetType | None = UNSET
    case_insensitive: CaseInsensitiveField | UnsetType | None = UNSET


class DomainView(msgspec.Struct, kw_only=True):
    """A domain."""

    name: Annotated[str, shown("Lower-case ASCII.", "go.example.com")]
    created_at: Annotated[MomentField | None, Meta(description="Null for the default domain.")]
    not_found_target: Annotated[
        TargetField | None, Meta(description="Where visitors go (302) who find no link, or one that has ended.")
    ]
    root_target: Annotated[TargetField | None, Meta(description="Where `/` leads (302).")]
    robots: RobotsField
    slug_length: SlugLength
    slug_alphabet: SlugAlphabet
    case_insensitive: CaseInsensitiveField


class DomainList(msgspec.Struct):
    """All further domains by name, and the default one, which is not among them."""

    items: list[DomainView]
    default: Annotated[DomainView | None, Meta(description="Null for a key of another domain.")]


class DomainsHandler(Handler):
    """The collection."""

    @operation(
        {201: Answer(DomainView, headers=("Location",))},
        body=NewDomain,
        refuses={409: "The domain is known, or there are too many."},
    )
    async def post(self) -> None:
        """Add a domain.

        Every process knows it within 5 seconds.
        """
        wish = self.decode(NewDomain)
        try:
            name = normalise_domain(wish.name)
        except DomainError as error:
            raise wrong_fields([FieldError("name", str(error))]) from error
        if name == _default_name(self):
            raise wrong_fields([FieldError("name", "is the default domain")])
        domain = Domain(name=name, created=int(self.services.now_s()), owner=self.caller.owner)
        try:
            note = self.services.audit.note(self.author, "domain.create", f"domain:{name}")
            await self.services.domains.store.add(domain, note)
        except DomainError as error:
            raise Problem(HTTPStatus.CONFLICT, f"{name} {error}.", [FieldError("name", str(error))]) from error
        await self.services.domains.refresh()
        self.set_header("Location", f"/api/v1/domains/{name}")
        self.answer(_view(domain, name), HTTPStatus.CREATED)

    @operation({200: Answer(DomainList)})
    async def get(self) -> None:
        """List all further domains, and the default one."""
        store = self.services.domains.store
        bound = self.caller.bounds.domain
        seen = [_view(domain, domain.name) for domain in await store.list() if bound in (None, domain.name)]
        default = await store.get("") if bound in (None, "") else None
        self.answer(DomainList(seen, None if default is None else _view(default, _default_name(self))))


class DomainHandler(Handler):
    """One domain; the default one is called by the host of BOLTLINK_BASE_URL."""

    @operation({200: Answer(DomainView)}, refuses={404: NO_DOMAIN})
    async def get(self, name: str) -> None:
        """Show a domain and its options."""
        key = self._key_of(name)
        domain = await self.services.domains.store.get(key)
        if domain is None or self.caller.bounds.domain not in (None, key):
            raise Problem(HTTPStatus.NOT_FOUND, NO_DOMAIN)
        self.answer(_view(domain, name.lower()))

    @operation(
        {200: Answer(DomainView)},
        body=DomainChange,
        refuses={404: NO_DOMAIN, 409: "`case_insensitive`: slugs differ only in case, or too many have capitals."},
    )
    async def patch(self, name: str) -> None:
        """Change the options of a domain.

        Fields that are left out stay. Every process follows within 5 seconds; `case_insensitive` is answered when all
        do and links with capitals are renamed. Until then, and should that be cut off, they are found as they are
        spelled; asked for again, it goes on.
        """
        fields, errors = self._read(self.decode_object())
        key = self._key_of(name)
        is_folded = fields.get("case_insensitive") is True and not errors
        if is_folded:
            await self._refuse_clashes(key)
        was_folded = False

        def change(before: DomainOptions) -> DomainOptions:
            nonlocal was_folded
            was_folded = before.case_insensitive
            after = msgspec.structs.replace(before, **fields)
            faults = [*errors, *_shape_faults(after, errors)]
            if faults:
                raise wrong_fields(faults)
            return after

        def tell(before: DomainOptions, after: DomainOptions) -> Note:
            old, new = _shown(before), _shown(after)
            changed = [field for field in new if old[field] != new[field]]
            old, new = ({field: shown[field] for field in changed} for shown in (old, new))
            return self.services.audit.note(self.author, "domain.update", f"domain:{name.lower()}", old=old, new=new)

        domain = await self.services.domains.store.change(key, change, tell)
        if domain is None:
            raise Problem(HTTPStatus.NOT_FOUND, NO_DOMAIN)
        await self.services.domains.refresh()
        if is_folded:
            # Until every process knows, it may make links with capitals.
            await asyncio.sleep(0 if was_folded else self.services.domains.known_s)
            capitals = await self.services.links.folding.look(key)
            await self.services.catalog.fold_slugs(capitals.keys, tell_renamed(self.services.audit, self.author))
        self.answer(_view(domain, name.lower()))

    @operation({204: Answer()}, refuses={404: NO_DOMAIN, 409: "It has links."})
    async def delete(self, name: str) -> None:
        """End a domain without links."""
        note = self.services.audit.note(self.author, "domain.delete", f"domain:{name.lower()}")
        try:
            is_removed = await self.services.domains.store.remove(name.lower(), note)
        except DomainError as error:
            raise Problem(HTTPStatus.CONFLICT, f"{name} {error}.") from error
        if not is_removed:
            raise Problem(HTTPStatus.NOT_FOUND, NO_DOMAIN)
        await self.services.domains.refresh()
        self.answer_nothing()

    async def _refuse_clashes(self, key: str) -> None:
        """Refuses to fold the slugs of a domain where that would take a link's; raises Problem."""
        try:
            capitals = await self.services.links.folding.look(key)
        except FoldingError as error:
            raise Problem(HTTPStatus.CONFLICT, f"This domain {error}.") from error
        if capitals.clashes:
            told = [f"{', '.join(clash)} differ only in case" for clash in capitals.clashes]
            errors = [FieldError("case_insensitive", message) for message in told]
            detail = "Some slugs differ only in case: delete all but one of each."
            raise Problem(HTTPStatus.CONFLICT, detail, errors)

    def _key_of(self, name: str) -> str:
        """A domain as links have it: the default one is empty."""
        return "" if name.lower() == _default_name(self) else name.lower()

    def _read(self, data: dict[str, Any]) -> tuple[dict[str, Any], list[FieldError]]:
        """The options that a body wishes for, and every field that cannot be used."""
        errors = list(field_errors(data, DomainChange))
        wrong = {error.field for error in errors}
        fields: dict[str, Any] = {}
        for name in [name for name in DomainChange.__struct_fields__ if name in data and name not in wrong]:
            try:
                fields[name] = self._read_field(name, data[name])
            except ValueError as error:
                errors.append(FieldError(name, str(error)))
        return fields, errors

    def _read_field(self, name: str, value: Any) -> Any:
        """An option as it will be stored; raises ValueError."""
        if value is None:
            return getattr(PLAIN_OPTIONS, name)
        if name in ("not_found_target", "root_target"):
            return self.services.catalog.check_target(value)
        if name == "slug_alphabet" and not is_alphabet(value):
            raise ValueError("must be 2 to 64 different letters, digits, '-' or '_'")
        return value


def _default_name(handler: Handler) -> str:
    return authority_of(handler.services.settings.public_url)[0]


def _shape_faults(options: DomainOptions, errors: list[FieldError]) -> Iterator[FieldError]:
    """Slugs of too few bits are guessed, and run out; judged only when neither half of the shape is wrong by itself."""
    if any(error.field in ("slug_length", "slug_alphabet") for error in errors):
        return
    if options.case_insensitive and options.alphabet != options.alphabet.lower():
        yield FieldError("slug_alphabet", "must be without capitals where case_insensitive is true")
        return
    count, least = len(options.alphabet), slug_length_min(options.alphabet)
    if options.slug_length < least:
        yield FieldError("slug_length", f"must be at least {least} when slugs are made of {count} characters")


def _shown(options: DomainOptions) -> dict[str, Any]:
    """Options under the names and in the form that the API shows."""
    fields = {field: getattr(options, field) for field in options.__struct_fields__}
    fields["slug_alphabet"] = options.alphabet
    return {field: None if value == "" else value for field, value in fields.items()}


def _view(domain: Domain, name: str) -> DomainView:
    created_at = datetime.fromtimestamp(domain.created, UTC) if domain.name else None
    return DomainView(name=name, created_at=created_at, **_shown(domain.options))
