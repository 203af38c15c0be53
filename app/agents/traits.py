"""Reads a visitor's traits out of a request's head, and remembers what it has read.

In: raw heads. Out: `Traits`. Names of systems and browsers come from ua-parser (uap-core), the list of crawlers from
crawler-user-agents; both are regular expressions by the thousand, so results are kept by User-Agent.
A program that fetches one URL for its user (curl, a HTTP library) counts as a person; what crawls, watches or previews
does not. May import: ua-parser, crawler-user-agents.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

__all__ = ["Kind", "Traits", "TraitsReader"]

KNOWN_MAX = 20_000  # heads and agents kept; forgotten all at once, which costs a second of parsing
KEY_CHARACTERS_MAX = 100
_FIELD = re.compile(
    rb"\r\n(user-agent|referer|accept-language|purpose|sec-purpose|x-moz):[ \t]*([^\r]*)", re.IGNORECASE
)
_HOST = re.compile(
    rb"https?://(?:[^/?#@]*@)?(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_.-]{1,253})(?::\d+)?(?:[/?#]|$)", re.ASCII
)
_LANGUAGE = re.compile(rb"\s*([A-Za-z]{2,3})(?:[-_;,\s]|$)")
_LIBRARY = "http-library"
_PREVIEW = "social-preview"


class Kind(Enum):
    """Who asks; only people's requests are clicks."""

    PERSON = "person"
    BOT = "bot"
    PREVIEW = "preview"
    PREFETCH = "prefetch"


class Traits(NamedTuple):
    """What one head says; "" where it says nothing. `bot` names the crawler of a BOT or PREVIEW."""

    kind: Kind
    referrer: str
    device: str
    os: str
    browser: str
    language: str
    bot: str


class _Agent(NamedTuple):
    kind: Kind
    device: str
    os: str
    browser: str
    bot: str


class TraitsReader:
    """Reads heads, with a bounded memory. Loads its lists when made: 60 ms."""

    def __init__(self) -> None:
        import crawleruseragents  # noqa: PLC0415  half a megabyte of JSON, read at import
        import ua_parser  # noqa: PLC0415

        entries = [e for e in crawleruseragents.CRAWLER_USER_AGENTS_DATA if e.get("tags") != [_LIBRARY]]
        self._parse: Callable[[str], object] = ua_parser.parse
        self._previews = re.compile("|".join(e["pattern"] for e in entries if _PREVIEW in e.get("tags", [])))
        patterns = [e["pattern"] for e in entries]
        self._bots = [re.compile("|".join(patterns[at : at + 25])) for at in range(0, len(patterns), 25)]
        self._heads: dict[bytes, Traits] = {}
        self._agents: dict[bytes, _Agent] = {}

    def read(self, head: bytes) -> Traits:
        """The traits of a head; the request line plays no part."""
        start = head.find(b"\r\n")
        fields = head[start:] if start >= 0 else b""
        known = self._heads.get(fields)
        if known is None:
            known = self._read(fields)
            if len(self._heads) >= KNOWN_MAX:
                self._heads.clear()
            self._heads[fields] = known
        return known

    def _read(self, fields: bytes) -> Traits:
        found = {name.lower(): value.strip() for name, value in reversed(_FIELD.findall(fields))}
        agent = self._agent(found.get(b"user-agent", b""))
        purpose = found.get(b"sec-purpose") or found.get(b"purpose") or found.get(b"x-moz") or b""
        kind = agent.kind
        if kind is Kind.PERSON and (b"prefetch" in purpose.lower() or b"prerender" in purpose.lower()):
            kind = Kind.PREFETCH
        host = _HOST.match(found.get(b"referer", b""))
        language = _LANGUAGE.match(found.get(b"accept-language", b""))
        return Traits(
            kind=kind,
            referrer=host[1].decode("ascii").lower().removesuffix(".") if host else "",
            device=agent.device,
            os=agent.os,
            browser=agent.browser,
            language=language[1].decode("ascii").lower() if language else "",
            bot=agent.bot,
        )

    def _agent(self, value: bytes) -> _Agent:
        known = self._agents.get(value)
        if known is None:
            known = self._judge(value.decode("latin-1"))
            if len(self._agents) >= KNOWN_MAX:
                self._agents.clear()
            self._agents[value] = known
        return known

    def _judge(self, text: str) -> _Agent:
        parsed: object = self._parse(text) if text else None
        browser = _family(parsed, "user_agent")
        system = _family(parsed, "os")
        match = next((m for pattern in self._bots if (m := pattern.search(text))), None)
        if match is None:
            return _Agent(Kind.PERSON, _device(text, system), system, browser, "")
        kind = Kind.PREVIEW if self._previews.search(text) else Kind.BOT
        return _Agent(kind, "bot", system, browser, clean_key(browser or match[0]))


def clean_key(text: str) -> str:
    """A text as the key of a breakdown: printable, short, and no name that means something to MongoDB."""
    text = "".join(char for char in text[:KEY_CHARACTERS_MAX] if char.isprintable()).strip()
    return text.replace("$", "_").replace(".", "·") if text.startswith("$") else text


def _family(parsed: object, part: str) -> str:
    found = getattr(getattr(parsed, part, None), "family", None)
    return clean_key(found) if found and found != "Other" else ""


def _device(text: str, system: str) -> str:
    if "iPad" in text or "Tablet" in text or ("Android" in text and "Mobile" not in text):
        return "tablet"
    if "Mobi" in text or "iPhone" in text:
        return "mobile"
    if system in (
        "Windows",
        "Mac OS X",
        "Linux",
        "Chrome OS",
        "Ubuntu",
        "Fedora",
        "Debian",
        "FreeBSD",
        "OpenBSD",
    ):
        return "desktop"
    return ""
