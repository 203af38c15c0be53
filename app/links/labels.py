"""What a link is listed and found by beside its words: labels, and a number for links that are the same.

In: a link. Out: fields that one index each answers; a deleted link has none of them, so no list ever walks over it.

    *          every living link
    @domain    one of a further domain
    ~owner     one of an owner
    #tag       one with a tag
    !state     one that is disabled or banned
    ?broken    one whose page is gone

Most links are active and of the default domain, so neither has a label: each label is an entry in three indexes.
Pure. May import: `model`.
"""

from __future__ import annotations

import hashlib

from app.links.model import Link, LinkState

__all__ = [
    "BROKEN",
    "LIVING",
    "PLAIN_CODE",
    "domain_label",
    "labels_of",
    "owner_label",
    "same_as",
    "state_label",
    "tag_label",
]

LIVING = "*"
BROKEN = "?broken"
PLAIN_CODE = 302  # what a link answers with unless it says otherwise


def domain_label(domain: str) -> str:
    """Of a further domain."""
    return "@" + domain


def owner_label(owner: str) -> str:
    """Of an owner."""
    return "~" + owner


def tag_label(tag: str) -> str:
    """Of a tag."""
    return "#" + tag


def state_label(state: LinkState) -> str:
    """Of a state other than active."""
    return "!" + state.value


def labels_of(link: Link) -> list[str]:
    """Everything that a living link is listed by."""
    labels = [LIVING]
    if link.domain:
        labels.append(domain_label(link.domain))
    if link.owner:
        labels.append(owner_label(link.owner))
    if link.state is not LinkState.ACTIVE:
        labels.append(state_label(link.state))
    if link.broken is not None:
        labels.append(BROKEN)
    return labels + [tag_label(tag) for tag in link.tags]


def same_as(link: Link) -> int | None:
    """Equal for links of one owner and domain that do the same with every visitor; None unless that is plain.

    64 bits of a hash: whoever finds a link by it compares the target.
    """
    is_plain = link.state is LinkState.ACTIVE and link.code == PLAIN_CODE and not (link.rules or link.variants)
    if not is_plain or link.forward_query or link.forward_path or link.password_hash is not None:
        return None
    if link.starts is not None or link.expires is not None or link.max_visits is not None:
        return None
    digest = hashlib.blake2b("\0".join((link.domain, link.owner, link.target)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
