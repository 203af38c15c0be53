"""Who crawls, watches or previews: the list of crawler-user-agents, matched all at once.

In: a User-Agent's text. Out: the crawler's name and whether it only previews a link for a person, or None.
The list is 1,500 regular expressions, most of them plain words. Python's `re` tries each at each place: 7 ms for 500
characters, which one client with made-up agents could ask for a thousand times a second. ua-parser's engine looks for
the words of all of them in one pass and takes 3 µs (15 µs when the text is made of their words).

A name comes from the list, never from the text, so that nobody can make names up.
May import: ua-parser, crawler-user-agents.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ua_parser import UserAgent
from ua_parser.core import Matcher
from ua_parser.lazy import UserAgentMatcher
from ua_parser.regex import Resolver

__all__ = ["Crawler", "CrawlerList"]

NAME_BYTES_MAX = 28  # what a bucket's key may have
_LIBRARY = "http-library"
_PREVIEW = "social-preview"
_CHOICE = re.compile(r"\(\^?(\w*)\|[^)]*\)")
_LETTER = re.compile(r"\[(\w)[^\]]*\]")
_END = re.compile(r"[|(\[$]|\\[sSdDwW]")


class Crawler(NamedTuple):
    """One entry of the list."""

    name: str
    is_preview: bool


class CrawlerList:
    """The list, loaded when made: 50 ms and 6 MB."""

    def __init__(self) -> None:
        import crawleruseragents  # noqa: PLC0415  half a megabyte of JSON, read at import

        # A program that fetches one URL for its user is listed as a library alone, and crawls nothing.
        entries = [e for e in crawleruseragents.CRAWLER_USER_AGENTS_DATA if e.get("tags") != [_LIBRARY]]
        self._crawlers = [Crawler(name_in(e["pattern"]), _PREVIEW in e.get("tags", [])) for e in entries]
        matchers: list[Matcher[UserAgent]] = [UserAgentMatcher(e["pattern"], str(n)) for n, e in enumerate(entries)]
        self._extract = Resolver((matchers, [], [])).ua.extract

    def find(self, text: str) -> Crawler | None:
        """The first entry that matches."""
        found = self._extract(text)
        return None if found is None else self._crawlers[int(found.family)]


def name_in(pattern: str) -> str:
    r"""What a pattern is meant to find, in words: `S[eE][mM]rushBot` is SemrushBot, `Googlebot\/` Googlebot."""
    text = _LETTER.sub(r"\1", _CHOICE.sub(r"\1", pattern)).lstrip("^ ")
    text = _END.split(text)[0].replace("\\", "").removeprefix("https://")
    return text.strip(" ;/()+")[:NAME_BYTES_MAX].rstrip()
