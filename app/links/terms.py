"""What a link is found by: a few words of its own, kept beside it so that one index answers a search.

In: a link's slug, title, target and domain, or what a person searches for. Out: terms in folded case. A search finds
the links that have all of its words, each in whole. Pure. May import: the standard library.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

__all__ = ["TERMS_MAX", "WORDS_MAX", "domain_term", "terms_of", "words_of"]

TERMS_MAX = 24  # of one link: each is an entry of the index
WORDS_MAX = 8  # of one search
TERM_CHARACTERS_MAX = 64
_CHUNK = re.compile(r"[^\s,;:/?#&=()\[\]{}<>\"']+")
_WORD = re.compile(r"\w+")
_EDGES = ".-_!*+~@$%^|\\`"


def terms_of(*, domain: str, slug: str, title: str, target: str) -> list[str]:
    """The terms of a link: its domain, slug and words of it, its target's host and parents, words of its title."""
    found: dict[str, None] = {}
    if domain:
        found[domain_term(domain)] = None
    _take(found, slug)
    host = (urlsplit(target).hostname or "").removeprefix("www.")
    labels = host.split(".")
    for start in range(max(1, len(labels) - 1)):
        found[".".join(labels[start:])[:TERM_CHARACTERS_MAX]] = None
        found[labels[start][:TERM_CHARACTERS_MAX]] = None
    _take(found, title)
    found.pop("", None)
    return list(found)[:TERMS_MAX]


def words_of(search: str) -> list[str]:
    """The terms that a search asks for, the longest first, because it is likely to be the rarest."""
    chunks = (_fold(chunk) for chunk in _CHUNK.findall(search))
    words = sorted({chunk for chunk in chunks if chunk}, key=lambda word: (-len(word), word))
    return words[:WORDS_MAX]


def domain_term(domain: str) -> str:
    """The term of all links of a domain; no word of a text looks like it."""
    return "@" + domain


def _take(found: dict[str, None], text: str) -> None:
    for chunk in _CHUNK.findall(text):
        folded = _fold(chunk)
        found[folded] = None
        if not folded.isalnum():
            found.update(dict.fromkeys(_WORD.findall(folded)))
        if len(found) > TERMS_MAX:
            return


def _fold(chunk: str) -> str:
    return chunk.strip(_EDGES).casefold()[:TERM_CHARACTERS_MAX].removeprefix("www.")
