"""Lists of links: which, in what order, and where the next page begins.

In: what a caller wants to see. Out: a query and an order that one index answers, so that a page costs the same at ten
links and at ten million. What no index answers is refused:

    order              may be narrowed by
    created            tag, search, domain, in any combination
    clicks             tag
    slug               domain

A page begins behind the last link of the one before it, so it stays right while links come and go. Pure.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from pymongo import ASCENDING, DESCENDING

from app.links.model import Link, LinkState
from app.links.terms import domain_term, words_of

__all__ = ["ORDERS", "Listing", "ListingError", "Page", "Place"]

#: Names of orders -> the field and its direction; links with equal values come in the order of their keys.
ORDERS = {
    "-created": ("created", DESCENDING),
    "created": ("created", ASCENDING),
    "-clicks": ("clicks", DESCENDING),
    "clicks": ("clicks", ASCENDING),
    "slug": ("_id", ASCENDING),
    "-slug": ("_id", DESCENDING),
}
_NARROWED_BY = {"created": {"q", "tag", "domain"}, "clicks": {"tag"}, "_id": {"domain"}}
_LIVING = [state.value for state in LinkState if state is not LinkState.DELETED]

Query = dict[str, object]


class ListingError(ValueError):
    """A listing that no index answers; `field` is what asks too much."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Behind which link a page begins: its order's name, the link's value in it (0 for slugs), and its key."""

    order: str
    value: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    key: str


class Page(msgspec.Struct, frozen=True):
    """Some links in order, and where the next page begins; None at the end."""

    items: list[Link]
    following: Place | None


class Listing:
    """Living links in an order, perhaps only those with a tag, of a domain, or that a search finds.

    Raises:
        ListingError: an unknown order, a combination that no index answers, a search without a word.
    """

    def __init__(self, sort: str = "-created", *, tag: str = "", search: str = "", domain: str | None = None) -> None:
        if sort not in ORDERS:
            raise ListingError("sort", "must be one of " + ", ".join(ORDERS))
        self._name = sort
        self._field, self._direction = ORDERS[sort]
        self._tag = tag
        self._domain = domain
        self._words = words_of(search)
        if search and not self._words:
            raise ListingError("q", "must hold a word")
        given = {"q": bool(search), "tag": bool(tag), "domain": domain is not None}
        for field, is_given in given.items():
            if is_given and field not in _NARROWED_BY[self._field]:
                raise ListingError(field, f"cannot be combined with sort={sort}")

    @property
    def order(self) -> list[tuple[str, int]]:
        """The order for a query."""
        last = [] if self._field == "_id" else [("_id", self._direction)]
        return [(self._field, self._direction), *last]

    def query(self, after: Place | None = None) -> Query:
        """What to find; raises ListingError for a place in another order."""
        query: Query = {"state": {"$in": _LIVING}}
        if self._tag:
            query["tags"] = self._tag
        by_key = self._field == "_id"
        terms = [*self._words, *([domain_term(self._domain)] if self._domain and not by_key else [])]
        if terms:
            query["terms"] = {"$all": terms}
        clauses: list[Query] = []
        if self._domain is not None and (by_key or not self._domain):
            clauses.append({"_id": {"$gte": f"{self._domain}/", "$lt": f"{self._domain}0"}})  # "0" follows "/"
        if after is not None:
            clauses.append(self._behind(after))
        return query | ({"$and": clauses} if clauses else {})

    def place(self, link: Link) -> Place:
        """Where the page behind a link begins."""
        return Place(self._name, 0 if self._field == "_id" else getattr(link, self._field), link.key)

    def _behind(self, after: Place) -> Query:
        if after.order != self._name:
            raise ListingError("cursor", f"belongs to sort={after.order}")
        beyond = "$lt" if self._direction == DESCENDING else "$gt"
        if self._field == "_id":
            return {"_id": {beyond: after.key}}
        # The first part bounds the index, the second steps over equal values.
        return {
            self._field: {beyond + "e": after.value},
            "$or": [{self._field: {beyond: after.value}}, {"_id": {beyond: after.key}}],
        }
