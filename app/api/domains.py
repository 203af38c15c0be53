"""`/api/v1/domains`: further domains that links may live under.

In: names. Out: `{"name", "created_at"}`. Every process follows within seconds. May import: links.
"""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated

import msgspec

from app.api.fields import MomentField, shown
from app.api.handler import Handler
from app.api.operation import Answer, operation
from app.api.problems import FieldError, Problem, wrong_fields
from app.links import Domain, DomainError, authority_of, normalise_domain

__all__ = ["DomainHandler", "DomainsHandler"]


class NewDomain(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a POST."""

    name: Annotated[str, shown("A host name; one that is not ASCII is encoded (IDNA).", "go.example.com")]


class DomainView(msgspec.Struct):
    """A further domain."""

    name: Annotated[str, shown("Lower-case ASCII.", "go.example.com")]
    created_at: MomentField


class DomainList(msgspec.Struct):
    """All further domains by name; the default one is not among them."""

    items: list[DomainView]


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
        if name == authority_of(self.services.settings.public_url)[0]:
            raise wrong_fields([FieldError("name", "is the default domain")])
        domain = Domain(name=name, created=int(self.services.now_s()), owner=self.caller.owner)
        try:
            note = self.services.audit.note(self.author, "domain.create", f"domain:{name}")
            await self.services.domains.store.add(domain, note)
        except DomainError as error:
            raise Problem(HTTPStatus.CONFLICT, f"{name} {error}.", [FieldError("name", str(error))]) from error
        await self.services.domains.refresh()
        self.set_header("Location", f"/api/v1/domains/{name}")
        self.answer(_view(domain), HTTPStatus.CREATED)

    @operation({200: Answer(DomainList)})
    async def get(self) -> None:
        """List all further domains."""
        domains = await self.services.domains.store.list()
        bound = self.caller.bounds.domain
        self.answer(DomainList([_view(domain) for domain in domains if bound is None or domain.name == bound]))


class DomainHandler(Handler):
    """One domain."""

    @operation({204: Answer()}, refuses={404: "There is no such domain.", 409: "It has links."})
    async def delete(self, name: str) -> None:
        """End a domain without links."""
        note = self.services.audit.note(self.author, "domain.delete", f"domain:{name.lower()}")
        try:
            is_removed = await self.services.domains.store.remove(name.lower(), note)
        except DomainError as error:
            raise Problem(HTTPStatus.CONFLICT, f"{name} {error}.") from error
        if not is_removed:
            raise Problem(HTTPStatus.NOT_FOUND, "There is no such domain.")
        await self.services.domains.refresh()
        self.clear_header("Content-Type")
        self.set_status(HTTPStatus.NO_CONTENT)


def _view(domain: Domain) -> DomainView:
    return DomainView(domain.name, datetime.fromtimestamp(domain.created, UTC))
