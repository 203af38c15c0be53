"""What a link is found by: a few words of its own, kept beside it so that one index answers a search.

In: a link's slug, title, target and notes, or what a person searches for. Out: terms in folded case. A search finds
the links that have all of its words, each in whole. Pure. May import: the standard library.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

__all__ = ["TERMS_MAX", "WORDS_MAX", "terms_of", "words_of"]

TERMS_MAX = 24  # of one link: each is an entry of the index
WORDS_MAX = 8  # of one search
TERM_CHARACTERS_MAX = 64
_CHUNK = re.compile(r"[^\s,;:/?#&=()\[\]{}<>\"']+")
_WORD = re.compile(r"\w+")
_EDGES = ".-_!*+~@$%^|\\`"


def terms_of(*, slug: str, title: str, target: str, notes: str = "") -> list[str]:
    """The first TERMS_MAX of: slug, target's host and parents; words of the title, the target's path, the notes."""
    found: dict[str, None] = {}
    _take(found, slug)
    parts = urlsplit(target)
    host = (parts.hostname or "").removeprefix("www.")
    labels = host.split(".")
    for start in range(max(1, len(labels) - 1)):
        found[".".join(labels[start:])[:TERM_CHARACTERS_MAX]] = None
        found[labels[start][:TERM_CHARACTERS_MAX]] = None
    for text in (title, unquote(parts.path), notes):
        _take(found, text)
    found.pop("", None)
    return list(found)[:TERMS_MAX]


def words_of(search: str) -> list[str]:
    """The terms that a search asks for, the longest first, because it is likely to be the rarest."""
    chunks = (_fold(chunk) for chunk in _CHUNK.findall(search))
    words = sorted({chunk for chunk in chunks if chunk}, key=lambda word: (-len(word), word))
    return words[:WORDS_MAX]


def _take(found: dict[str, None], text: str) -> None:
    for chunk in _CHUNK.findall(text):
        folded = _fold(chunk)
        found[folded] = None
        if not folded.isalnum():
            found.update(dict.fromkeys(_WORD.findall(folded)))
        if len(found) >= TERMS_MAX:
            return


def _fold(chunk: str) -> str:
    return chunk.strip(_EDGES).casefold()[:TERM_CHARACTERS_MAX].removeprefix("www.")
