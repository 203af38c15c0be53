"""Lists of links: which, in what order, and where the next page begins.

In: what a caller wants to see. Out: a query and an order that one index answers, so that a page costs the same at ten
links and at ten million. What no index answers is refused:

    order              may be narrowed by
    created            owner, tag, domain, state, broken; words; a range of created
    clicks             owner, tag, domain, state, broken
    expires            owner, tag, domain, state, broken; a range of expires. Only links that expire are in it
    slug               domain; the slug's beginning
    deleted            nothing. Only deleted links are in it; all other orders have living ones

Filters that are combined are answered by the index of one of them, and judged of each link that it gives; a list that
finds too little in this way is cut off (`storage`). The default domain and the state `active`, which most links have,
are always judged so. A page begins behind the last link of the one before it, so it stays right while links come and
go. Pure.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from pymongo import ASCENDING, DESCENDING

from app.links.labels import BROKEN, LIVING, domain_label, owner_label, state_label, tag_label
from app.links.model import Link, LinkState
from app.links.terms import words_of

__all__ = ["ORDERS", "Listing", "ListingError", "Page", "Place", "Wanted"]

#: Names of orders -> the field and its direction; links with equal values come in the order of their keys.
ORDERS = {
    "-created": ("created", DESCENDING),
    "created": ("created", ASCENDING),
    "-clicks": ("clicks", DESCENDING),
    "clicks": ("clicks", ASCENDING),
    "-expires": ("expires", DESCENDING),
    "expires": ("expires", ASCENDING),
    "slug": ("_id", ASCENDING),
    "-slug": ("_id", DESCENDING),
    "-deleted": ("deleted", DESCENDING),
}
_LABELLED = {"owner", "tag", "domain", "state", "broken"}
_NARROWED_BY = {
    "created": {*_LABELLED, "q", "created_from", "created_to"},
    "clicks": _LABELLED,
    "expires": {*_LABELLED, "expires_from", "expires_to"},
    "_id": {"domain", "prefix"},
    "deleted": {"state"},
}

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


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a list is narrowed by; "" and None leave it as wide as it is.

    Attributes:
        q: words that all must be found; prefix: how the slug begins.
        domain: "" is the default one.
        broken: True for those whose page is gone.
        created_from, created_to, expires_from, expires_to: Unix seconds; the latter of two is not included.
    """

    q: str = ""
    prefix: str = ""
    tag: str = ""
    owner: str = ""
    domain: str | None = None
    state: LinkState | None = None
    broken: Literal[True] | None = None
    created_from: int | None = None
    created_to: int | None = None
    expires_from: int | None = None
    expires_to: int | None = None


class Listing:
    """Links in an order, perhaps only some.

    Attributes:
        filters: the names of what narrows it.

    Raises:
        ListingError: an unknown order, a combination that no index answers, a search without a word.
    """

    def __init__(self, sort: str = "", wanted: Wanted | None = None) -> None:
        self._wanted = wanted = wanted or Wanted()
        is_deleted = wanted.state is LinkState.DELETED
        self._name = sort or ("-deleted" if is_deleted else "slug" if wanted.prefix else "-created")
        if self._name not in ORDERS:
            raise ListingError("sort", "must be one of " + ", ".join(ORDERS))
        self._field, self._direction = ORDERS[self._name]
        self._words = words_of(wanted.q)
        if wanted.q and not self._words:
            raise ListingError("q", "must hold a word")
        if (self._field == "deleted") is not is_deleted:
            raise ListingError("sort", "-deleted goes with state=deleted alone")
        self.filters = [name for name, value in msgspec.structs.asdict(wanted).items() if value not in ("", None)]
        if wanted.domain == "":
            self.filters.append("domain")
        for field in self.filters:
            if field not in _NARROWED_BY[self._field]:
                raise ListingError(field, f"cannot be combined with sort={self._name}")

    @property
    def is_crossed(self) -> bool:
        """Whether links are judged by more than the index says."""
        wanted = self._wanted
        by_index = len(self._labels()) + len(self._words)
        return by_index > 1 or wanted.domain == "" or wanted.state is LinkState.ACTIVE

    @property
    def order(self) -> list[tuple[str, int]]:
        """The order for a query."""
        last = [] if self._field == "_id" else [("_id", self._direction)]
        return [(self._field, self._direction), *last]

    @property
    def hint(self) -> str | None:
        """The index to use, where MongoDB might rather sort than pass over tombstones."""
        return "_id_" if self._field == "_id" else None

    def query(self, after: Place | None = None) -> Query:
        """What to find; raises ListingError for a place in another order."""
        query: Query = {}
        if self._field != "deleted":
            labels = self._labels()
            if self._words:
                query["terms"] = _all_of(self._words)
            if labels or not self._words:
                query["labels"] = _all_of(labels or [LIVING])
        if self._wanted.state is LinkState.ACTIVE:
            query["state"] = LinkState.ACTIVE.value
        clauses = [*self._ranges(), *([] if after is None else [self._behind(after)])]
        return query | ({"$and": clauses} if clauses else {})

    def place(self, link: Link) -> Place:
        """Where the page behind a link begins."""
        return Place(self._name, 0 if self._field == "_id" else getattr(link, self._field), link.key)

    def _labels(self) -> list[str]:
        """The rarest first, as far as one can tell: the index of the first one is used."""
        wanted = self._wanted
        labels = [BROKEN] if wanted.broken else []
        if wanted.tag:
            labels.append(tag_label(wanted.tag))
        if wanted.state not in (None, LinkState.ACTIVE, LinkState.DELETED):
            labels.append(state_label(wanted.state))
        if wanted.domain and self._field != "_id":
            labels.append(domain_label(wanted.domain))
        if wanted.owner:
            labels.append(owner_label(wanted.owner))
        return labels

    def _ranges(self) -> list[Query]:
        wanted, ranges = self._wanted, list[Query]()
        if self._field == "_id" and (wanted.domain is not None or wanted.prefix):
            start = f"{wanted.domain or ''}/{wanted.prefix}"
            ranges.append({"_id": {"$gte": start, "$lt": start[:-1] + chr(ord(start[-1]) + 1)}})
        elif wanted.domain == "":
            ranges.append({"_id": {"$gte": "/", "$lt": "0"}})  # "0" follows "/"
        if self._field == "expires":
            ranges.append({"expires": {"$gte": wanted.expires_from or 0}})
        for field, name, beyond in (
            ("created", "created_from", "$gte"),
            ("created", "created_to", "$lt"),
            ("expires", "expires_to", "$lt"),
        ):
            if (value := getattr(wanted, name)) is not None:
                ranges.append({field: {beyond: value}})
        if self._field == "deleted":
            ranges.append({"deleted": {"$gte": 0}})
        return ranges

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


def _all_of(values: list[str]) -> object:
    return values[0] if len(values) == 1 else {"$all": values}
