"""Decides what a link that `hot` cannot hold answers with. Pure: an entry, the time and the request in, a decision out.

Order of judgement: banned, disabled, not begun, ended, then where it leads. May import: `app.links` for what a link is.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

from app.links import CachedLink
from app.redirect.table import ENTRY_LOCATION, Entry, Special

__all__ = ["Decision", "decide", "entry_of"]


class Decision(NamedTuple):
    """What to answer with.

    Attributes:
        status: a redirect code, 404, 410 or 503.
        link_id: 8 bytes, zeros when no link is concerned.
        location: visible ASCII; b"" unless `status` is a redirect code.
        counts: whether the answer belongs in the journal.
    """

    status: int
    link_id: bytes
    location: bytes
    counts: bool = True


def decide(entry: Entry, now_s: float, query: bytes) -> Decision:
    """The answer of an entry at `now_s`; `query` is the request's, with its question mark, or b""."""
    if isinstance(entry, bytes):
        return Decision(HTTPStatus.FOUND, entry[:8], entry[ENTRY_LOCATION:])
    link = entry.link
    if link.state == "banned" or (link.expires is not None and now_s >= link.expires):
        return Decision(HTTPStatus.GONE, entry.link_id, b"")
    if link.state != "active" or (link.starts is not None and now_s < link.starts):
        return Decision(HTTPStatus.NOT_FOUND, entry.link_id, b"")
    location = _with_query(entry.location, query) if link.forward_query else entry.location
    return Decision(link.code, entry.link_id, location)


def entry_of(link: CachedLink, now_s: float) -> Entry:
    """The table's form of a link: bytes when it is an unconditional 302, else a Special."""
    link_id = link.link.to_bytes(8, "big")
    location = link.target.encode("ascii")
    plain = link.state == "active" and link.code == HTTPStatus.FOUND and not link.forward_query
    timed = link.starts is not None or link.expires is not None
    if plain and not timed and link.max_visits is None and not link.password and not link.rules:
        return link_id + int(now_s).to_bytes(4, "big") + location
    return Special(link_id=link_id, read_s=int(now_s), location=location, link=link)


def _with_query(location: bytes, query: bytes) -> bytes:
    """Appends a request's query to a target's own, before its fragment."""
    if len(query) < 2:
        return location
    base, mark, fragment = location.partition(b"#")
    joint = b"&" if b"?" in base else b"?"
    return base + joint + query[1:].replace(b"#", b"%23") + mark + fragment
