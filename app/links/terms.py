"""What a link is found by: a few words of its own, kept beside it so that one index answers a search.

In: a link's slug, title, target and notes, or what a person searches for. Out: terms in folded case. A search finds
the links that have all of its words, each in whole. Pure. May import: the standard library.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote

__all__ = ["TERMS_MAX", "WORDS_MAX", "terms_of", "words_of"]

TERMS_MAX = 24  # of one link: each is an entry of the index
WORDS_MAX = 8  # of one search
TERM_CHARACTERS_MAX = 64
HOSTS_MAX = 1_000  # whose terms are kept, 1 MB: many links lead to few hosts
#: The host and the path of a target; `urlsplit` takes four times as long.
_TARGET = re.compile(r"(?:[a-z]+://)?(\[[^\]]*\]|[^/:?#]*)(?::[0-9]*)?([^?#]*)")
_CHUNK = re.compile(r"[^\s,;:/?#&=()\[\]{}<>\"']+")
_WORD = re.compile(r"\w+")
_EDGES = ".-_!*+~@$%^|\\`"


def terms_of(*, slug: str, title: str, target: str, notes: str = "") -> list[str]:
    """The first TERMS_MAX of: slug, target's host and parents; words of the title, the target's path, the notes."""
    found: dict[str, None] = {}
    _take(found, slug)
    parts = _TARGET.match(target)
    assert parts is not None  # it matches anything
    found |= _host_terms(parts[1].lower())
    _take(found, f"{title} {unquote(parts[2])} {notes}")
    found.pop("", None)
    return list(found)[:TERMS_MAX]


@lru_cache(HOSTS_MAX)
def _host_terms(host: str) -> dict[str, None]:
    """A host, its parents, and their first labels."""
    found: dict[str, None] = {}
    labels = host.strip("[]").removeprefix("www.").split(".")
    for start in range(max(1, len(labels) - 1)):
        found[".".join(labels[start:])[:TERM_CHARACTERS_MAX]] = None
        found[labels[start][:TERM_CHARACTERS_MAX]] = None
    return found


def words_of(search: str) -> list[str]:
    """The terms that a search asks for, the longest first, because it is likely to be the rarest."""
    chunks = (_fold(chunk) for chunk in _CHUNK.findall(search))
    words = sorted({chunk for chunk in chunks if chunk}, key=lambda word: (-len(word), word))
    return words[:WORDS_MAX]


def _take(found: dict[str, None], text: str) -> None:
    words = text.replace("/", " ")
    if len(words) <= TERM_CHARACTERS_MAX and words.isascii() and words.replace(" ", "").isalnum():
        found.update(dict.fromkeys(words.lower().split()))  # as below, for most texts in half the time
        return
    for chunk in _CHUNK.findall(text):
        # Most chunks are plain words, which have no edges to strip: a call for each is half of the whole.
        folded = chunk.casefold()[:TERM_CHARACTERS_MAX] if chunk.isalnum() else _fold(chunk)
        found[folded] = None
        if not folded.isalnum():
            found.update(dict.fromkeys(_WORD.findall(folded)))
        if len(found) >= TERMS_MAX:
            return


def _fold(chunk: str) -> str:
    return chunk.strip(_EDGES).casefold()[:TERM_CHARACTERS_MAX].removeprefix("www.")
