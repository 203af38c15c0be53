"""Who calls, what they may do, and which links are theirs.

In: what a key (or, one day, a session) was given. Out: yes or no, and the fields in which a link is not theirs.
Rights are scopes; each but `admin` may be narrowed to links of one domain, with one tag, or of the caller's own making:
all that is given must hold. Pure. May import: links.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from enum import StrEnum

import msgspec

from app.links import Link

__all__ = ["NOBODY", "Bounds", "Caller", "Scope"]


class Scope(StrEnum):
    """What a route may need."""

    LINKS_READ = "links:read"
    LINKS_WRITE = "links:write"
    STATS_READ = "stats:read"
    ADMIN = "admin"


#: What somebody may do who was given a scope: changing a link shows it.
_INCLUDED = {
    Scope.LINKS_READ: {Scope.LINKS_READ},
    Scope.LINKS_WRITE: {Scope.LINKS_READ, Scope.LINKS_WRITE},
    Scope.STATS_READ: {Scope.STATS_READ},
    Scope.ADMIN: set(Scope),
}


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """Which links; nothing given: all. `domain` "" is the default one, `owner` who made them."""

    domain: str | None = None
    tag: str = ""
    owner: str = ""

    @property
    def is_wide(self) -> bool:
        """Whether they hold nothing back."""
        return self == _WIDE


_WIDE = Bounds()


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls.

    Attributes:
        who: as the audit log names them.
        owner: as links that they make name them.
        expires: Unix seconds, when their rights end; None: never.
    """

    who: str
    owner: str
    scopes: frozenset[Scope]
    bounds: Bounds = Bounds()
    expires: int | None = None

    def may(self, scope: Scope) -> bool:
        """Whether they have a right."""
        return any(scope in _INCLUDED[given] for given in self.scopes)

    def sees(self, link: Link) -> bool:
        """Whether a link is theirs to see."""
        return not any(self.faults(link.domain, link.tags, link.owner))

    def faults(self, domain: str, tags: Collection[str], owner: str) -> Iterator[tuple[str, str]]:
        """(field, message) of what makes a link none of theirs."""
        bounds = self.bounds
        if bounds.domain is not None and domain != bounds.domain:
            yield "domain", f"must be {bounds.domain!r} for this key"
        if bounds.tag and bounds.tag not in tags:
            yield "tags", f"must hold {bounds.tag!r} for this key"
        if bounds.owner and owner != bounds.owner:
            yield "owner", "must be this key"


NOBODY = Caller(who="", owner="", scopes=frozenset())
