"""Decides what a link that `hot` cannot hold answers with. Pure: an entry, the time and the request in, a decision out.

Order of judgement: banned, ended, disabled, not begun, spent, the password, where it leads, the visit. What only a
store or a thread can say is asked for: `decide` then returns an `Errand`, whoever called it runs it, and calls again
with what came back in `Known`. So every branch stands here, and none of them waits.
May import: `app.links` for what a link is.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum, auto
from http import HTTPStatus
from typing import NamedTuple

from app.agents import Kind
from app.links import CachedLink
from app.redirect.conditions import OWN_TARGET, Branches, Choice
from app.redirect.location import has_dot_segment, with_path, with_query
from app.redirect.table import ENTRY_LOCATION, Entry, Special
from app.redirect.visitor import Visitor

__all__ = [
    "NOTHING_KNOWN",
    "PAGE_STATUSES",
    "Decision",
    "Errand",
    "Known",
    "PasswordWord",
    "Request",
    "VisitWord",
    "decide",
    "decide_plain",
    "entry_of",
    "spent",
]


class Errand(Enum):
    """What must be found out before a decision."""

    SPEND_VISIT = auto()
    LOOK_FOR_VISIT = auto()
    CHECK_PASSWORD = auto()
    LOAD_READER = auto()


class VisitWord(Enum):
    """What MongoDB said of a link's visits; UNKNOWN when it did not answer."""

    GRANTED = auto()
    SPENT = auto()
    UNKNOWN = auto()


class PasswordWord(Enum):
    """What became of a password; LIMITED after too many tries, BUSY when too many are compared."""

    RIGHT = auto()
    WRONG = auto()
    LIMITED = auto()
    BUSY = auto()


class Known(NamedTuple):
    """What errands brought back so far; None: not asked yet. `wait_s` goes with LIMITED."""

    visit: VisitWord | None = None
    password: PasswordWord | None = None
    wait_s: float = 0.0


class Request(NamedTuple):
    """A request, as far as decisions read it.

    Attributes:
        key: the link's key in the table.
        rest: the path behind the slug, raw, from its slash on; b"" when there is none.
        query: raw, with its question mark, or b"".
        is_head: the method is HEAD.
        form: the body of a POST; None for GET and HEAD.
        is_cross_site: a browser says that another site made it send the form.
    """

    key: bytes
    query: bytes
    visitor: Visitor
    rest: bytes = b""
    is_head: bool = False
    form: bytes | None = None
    is_cross_site: bool = False


class Decision(NamedTuple):
    """What to answer with.

    Attributes:
        status: a redirect code, or that of a failure; one of PAGE_STATUSES: the password's page.
        link_id: 8 bytes, zeros when no link is concerned.
        location: visible ASCII; b"" unless `status` is a redirect code.
        counts: whether the answer belongs in the journal.
        variant: which of the link's ways was taken (`app.redirect.conditions`).
        wait_s: goes with TOO_MANY_REQUESTS.
        is_final: a domain's own target for who finds nothing does not take its place.
    """

    status: int
    link_id: bytes
    location: bytes = b""
    counts: bool = True
    variant: int = OWN_TARGET
    wait_s: float = 0.0
    is_final: bool = False


#: What the password's page is sent with: the first one to who comes, the others after a try.
PAGE_STATUSES = frozenset({HTTPStatus.OK, HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS})
_PAGE_OF = {
    PasswordWord.WRONG: HTTPStatus.FORBIDDEN,
    PasswordWord.LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
    PasswordWord.BUSY: HTTPStatus.SERVICE_UNAVAILABLE,
}
_FOUND = HTTPStatus.FOUND  # looking a member up costs 0.1 µs
#: Before any errand.
NOTHING_KNOWN = Known()


def decide(entry: Entry, now_s: float, request: Request, known: Known = NOTHING_KNOWN) -> Decision | Errand:
    """What an entry answers a request with at `now_s`, or what must be found out first."""
    if isinstance(entry, bytes):
        return decide_plain(entry, request.rest, request.form)
    status = _standing(entry, now_s, request)
    if status is not None:
        counts, is_banned = status != HTTPStatus.METHOD_NOT_ALLOWED, entry.link.state == "banned"
        return Decision(status, entry.link_id, counts=counts, is_final=is_banned)
    if entry.reads_traits and not request.visitor.can_tell:
        # Known already, it could not be made.
        return Errand.LOAD_READER if known.visit is None else Decision(HTTPStatus.SERVICE_UNAVAILABLE, entry.link_id)
    return (
        _answer_password(entry, request, known)
        or _answer_visit(entry, request, known)
        or _redirect(entry, now_s, request)
    )


def decide_plain(entry: bytes, rest: bytes, form: bytes | None) -> Decision:
    """`decide` for an entry that reads nothing else of a request: no clock, no visitor."""
    if rest:
        return Decision(HTTPStatus.NOT_FOUND, entry[:8], counts=False)
    if form is not None:
        return Decision(HTTPStatus.METHOD_NOT_ALLOWED, entry[:8], counts=False)
    return Decision(_FOUND, entry[:8], entry[ENTRY_LOCATION:])


def entry_of(link: CachedLink, now_s: float) -> Entry:
    """The table's form of a link: bytes when it is an unconditional 302, else a Special."""
    link_id = link.link.to_bytes(8, "big")
    location = link.target.encode("ascii")
    is_plain = link.state == "active" and link.code == _FOUND
    is_bare = not (link.password or link.forward_query or link.forward_path or link.rules or link.variants)
    if is_plain and is_bare and link.starts is None and link.expires is None and link.max_visits is None:
        return link_id + int(now_s).to_bytes(4, "big") + location
    branches = Branches(link) if link.rules or link.variants else None
    return Special(link_id=link_id, read_s=int(now_s), location=location, link=link, branches=branches)


def spent(entry: Special) -> Special:
    """The entry of a link whose last visit was made: answered from now on without asking."""
    return replace(entry, is_spent=True)


def _standing(entry: Special, now_s: float, request: Request) -> HTTPStatus | None:
    """Why the link does not lead this request anywhere; None when it may."""
    link = entry.link
    if link.state == "banned" or (link.expires is not None and now_s >= link.expires):
        return HTTPStatus.GONE
    if link.state != "active" or (link.starts is not None and now_s < link.starts):
        return HTTPStatus.NOT_FOUND
    if request.rest and (not link.forward_path or has_dot_segment(request.rest)):
        return HTTPStatus.NOT_FOUND
    if entry.is_spent:
        return HTTPStatus.GONE
    if request.form is not None and not link.password:
        return HTTPStatus.METHOD_NOT_ALLOWED
    return None


def _answer_password(entry: Special, request: Request, known: Known) -> Decision | Errand | None:
    """The page, or what must be found out; None when no password stands before the target any more."""
    if not entry.link.password or known.password is PasswordWord.RIGHT:
        return None
    if request.form is None:
        return Decision(HTTPStatus.OK, entry.link_id)
    if request.is_cross_site:
        return Decision(HTTPStatus.BAD_REQUEST, entry.link_id)
    if known.password is None:
        return Errand.CHECK_PASSWORD
    return Decision(_PAGE_OF[known.password], entry.link_id, wait_s=known.wait_s)


def _answer_visit(entry: Special, request: Request, known: Known) -> Decision | Errand | None:
    """What must be found out of the link's visits, or why there is none; None when there is one.

    Only people spend visits. A prefetch gets nothing: a browser would keep it and show the target unspent.
    """
    if entry.link.max_visits is None or known.visit is VisitWord.GRANTED:
        return None
    if known.visit is not None:
        is_spent = known.visit is VisitWord.SPENT
        return Decision(HTTPStatus.GONE if is_spent else HTTPStatus.SERVICE_UNAVAILABLE, entry.link_id)
    kind = request.visitor.traits.kind
    if kind is Kind.PREFETCH:
        return Decision(HTTPStatus.SERVICE_UNAVAILABLE, entry.link_id)
    return Errand.LOOK_FOR_VISIT if request.is_head or kind is not Kind.PERSON else Errand.SPEND_VISIT


def _redirect(entry: Special, now_s: float, request: Request) -> Decision:
    link = entry.link
    choice = entry.branches.choose(request.visitor, now_s, request.query) if entry.branches is not None else None
    location, variant = choice or Choice(entry.location, OWN_TARGET)
    if request.rest:
        location = with_path(location, request.rest)
    if link.forward_query:
        location = with_query(location, request.query)
    # What follows a form is a GET (RFC 9110 15.4.4): a 307 would send the password on to the target.
    status = link.code if request.form is None else HTTPStatus.SEE_OTHER
    return Decision(status, entry.link_id, location, variant=variant)
