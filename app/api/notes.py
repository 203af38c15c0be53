"""What the audit log is told of links: which fields differ, under the names that the API shows them by.

In: a link before and after. Out: what `app.links` calls with the link that it has stored. A password is a secret: only
whether there is one is told. May import: accounts, links.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from app.accounts import AuditLog, Author, Note
from app.links import Broken, Link, split_key

__all__ = ["tell_changed", "tell_created", "tell_deleted", "tell_renamed", "tell_restored"]

#: What a new link may be made with, as `Link` has it -> its name in the API.
_NAMES = {
    **{name: name for name in ("target", "code", "state", "max_visits", "tags", "title", "notes")},
    **{name: name for name in ("forward_query", "forward_path", "rules", "variants")},
    "broken": "broken",
    "starts": "starts_at",
    "expires": "expires_at",
    "password_hash": "password",
}


def tell_created(audit: AuditLog, author: Author) -> Callable[[Link], Note]:
    """Tells of new links: of all that they were given."""

    def tell(link: Link) -> Note:
        given = msgspec.to_builtins(link).items()  # without what is as by default
        new = {_NAMES[name]: _shown(name, value) for name, value in given if name in _NAMES}
        return audit.note(author, "link.create", f"link:{link.key}", new=new, link=link)

    return tell


def tell_changed(audit: AuditLog, author: Author, before: Link, names: Iterable[str]) -> Callable[[Link], Note]:
    """Tells of `names` of a link, as far as they are not as in `before`."""

    def tell(link: Link) -> Note:
        told = {**dict.fromkeys(names), "broken": None}  # which another target takes away
        changed = [name for name in told if getattr(before, name) != getattr(link, name)]
        old, new = ({_NAMES[name]: _shown(name, getattr(one, name)) for name in changed} for one in (before, link))
        return audit.note(author, "link.update", f"link:{link.key}", old=old, new=new, link=link)

    return tell


def tell_renamed(audit: AuditLog, author: Author) -> Callable[[str, Link], Note]:
    """Tells of a link whose slug has become lower case; its history from before stands under the old key."""

    def tell(old_key: str, link: Link) -> Note:
        old, new = {"slug": split_key(old_key)[1]}, {"slug": link.slug}
        return audit.note(author, "link.update", f"link:{link.key}", old=old, new=new, link=link)

    return tell


def tell_deleted(audit: AuditLog, author: Author) -> Callable[[Link], Note]:
    """Tells of a link that is no more."""

    def tell(link: Link) -> Note:
        return audit.note(author, "link.delete", f"link:{link.key}", old={"target": link.target}, link=link)

    return tell


def tell_restored(audit: AuditLog, author: Author) -> Callable[[Link], Note]:
    """Tells of a link that is back."""

    def tell(link: Link) -> Note:
        return audit.note(author, "link.restore", f"link:{link.key}", new={"target": link.target}, link=link)

    return tell


def _shown(name: str, value: Any) -> Any:
    if name == "password_hash":
        return value is not None
    if value is None or type(value) is str:
        return value
    if name in ("starts", "expires"):
        return datetime.fromtimestamp(value, UTC)
    if isinstance(value, Broken):
        return value.told()
    return msgspec.to_builtins(value)
