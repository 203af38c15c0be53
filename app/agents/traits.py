"""Reads a visitor's traits out of a request's head, and remembers what it has read.

In: raw heads. Out: `Traits`. Names of systems and browsers come from ua-parser (uap-core), crawlers from
`app.agents.crawlers`. A program that fetches one URL for its user (curl, a HTTP library) counts as a person; what
crawls, watches, previews or fetches ahead does not.

A head costs 0.5 µs when it was read before, 4 µs when only its fields were, and 20 µs when its agent is new; whatever a
client sends, an agent costs less than 60 µs, because it is cut before it is matched and the patterns of uap-core that
look for robots, which backtrack, are left out. What is remembered is bounded, and a flood of new heads forgets none
that is in use (`app.agents.memory`). It is remembered under Python's hash of it, 64 bits under a key that each process
draws anew, so that nobody can make two meet and heads of 8 KB need no more memory than others; by chance, one look-up
in 10^14 meets another's. May import: ua-parser.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from hashlib import blake2b
from sys import intern
from typing import Any, NamedTuple

from ua_parser.loaders import load_lazy_builtins
from ua_parser.regex import Resolver

from app.agents.crawlers import CrawlerList
from app.agents.fields import FieldFinder
from app.agents.memory import Memory

__all__ = ["VISITOR_FIELDS", "Kind", "Traits", "TraitsReader"]

#: What a reader of traits wants to know of a head.
VISITOR_FIELDS = frozenset(
    {b"user-agent", b"referer", b"accept-language", b"sec-purpose", b"purpose", b"x-purpose", b"x-moz"}
)

HEADS_MAX = 32_768  # in each generation, as the others; 300 bytes each
FIELDS_MAX = 32_768  # what three fields say together
AGENTS_MAX = 8_192  # up to 900 bytes each
KEYS_MAX = 4_096  # combinations of keys that many heads share: 300 bytes for each head that need not keep its own
AGENT_BYTES_MAX = 384  # of the 2,100 real agents in the list of crawlers the longest has 285
REFERRER_BYTES_MAX = 512  # scheme, user, host
HOST_BYTES_MAX = 48
LANGUAGE_BYTES_MAX = 32
PURPOSE_BYTES_MAX = 64
_AHEAD = re.compile(rb"prefetch|prerender|preview", re.IGNORECASE)
_HOST = re.compile(
    rb"https?://(?:[^/?#@]*@)?(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_.-]{1,253})(?::\d+)?(?:[/?#]|$)", re.ASCII
)
_LANGUAGE = re.compile(rb"\s*([A-Za-z]{2,3})(?:[-_;,\s]|$)")
_NAMES_ROBOTS = re.compile(r"\[Bb\]ot|\[Ss\]pider|\[Cc\]rawl|\[Ss\]\[Pp\]\[Ii\]|CSimpleSpider")
_DESKTOPS = frozenset({"Windows", "Mac OS X", "Linux", "Chrome OS", "Ubuntu", "Fedora", "Debian", "FreeBSD", "OpenBSD"})


#: referrer, device, os, browser, language
Keys = tuple[str, str, str, str, str]


class Kind(Enum):
    """Who asks; only people's requests are clicks."""

    PERSON = "person"
    BOT = "bot"
    PREVIEW = "preview"
    PREFETCH = "prefetch"


class Traits(NamedTuple):
    """What one head says; "" where it says nothing.

    Attributes:
        keys: what is counted together.
        bot: the crawler's name, of a BOT or PREVIEW.
        agent: 8 bytes that tell one User-Agent from another.
    """

    kind: Kind
    keys: Keys
    bot: str
    agent: bytes

    @property
    def referrer(self) -> str:
        """Host of the page that linked here."""
        return self.keys[0]

    @property
    def device(self) -> str:
        """desktop, mobile, tablet, bot."""
        return self.keys[1]

    @property
    def os(self) -> str:
        """Name of the system, without its version."""
        return self.keys[2]

    @property
    def browser(self) -> str:
        """Name of the browser or program, without its version."""
        return self.keys[3]

    @property
    def language(self) -> str:
        """The language asked for first: two or three letters."""
        return self.keys[4]


class _Agent(NamedTuple):
    kind: Kind
    device: str
    os: str
    browser: str
    bot: str
    digest: bytes


class TraitsReader:
    """Reads heads, with a bounded memory. Loads its lists when made: 0.15 s and 15 MB."""

    def __init__(self) -> None:
        agents, systems, _ = load_lazy_builtins()
        people = [matcher for matcher in agents if not _NAMES_ROBOTS.search(matcher.regex)]
        self._finder = FieldFinder(VISITOR_FIELDS)
        resolver = Resolver((people, systems, []))
        self._extract_browser = resolver.ua.extract  # `ua_parser.Parser` around it costs twice as much as the match
        self._extract_system = resolver.os.extract
        self._crawlers = CrawlerList()
        self._heads: Memory[int, Traits] = Memory(HEADS_MAX)
        self._fields: Memory[int, Traits] = Memory(FIELDS_MAX)
        self._agents: Memory[int, _Agent] = Memory(AGENTS_MAX)
        self._keys: Memory[Keys, Keys] = Memory(KEYS_MAX)

    def read(self, head: bytes) -> Traits:
        """The traits of a head; the request line plays no part."""
        fields = head[head.find(b"\n") :]
        key = hash(fields)
        known = self._heads.recent.get(key) or self._heads.get(key)
        if known is None:
            known = self.read_fields(self._finder.find(fields))
            self._heads.put(key, known)
        return known

    def read_fields(self, fields: Mapping[bytes, bytes]) -> Traits:
        """The traits of a head that is not worth remembering as a whole, because no other client sends the same.

        Args:
            fields: those of VISITOR_FIELDS, and others, by name.
        """
        get = fields.get
        agent = get(b"user-agent", b"")[:AGENT_BYTES_MAX]
        referrer = get(b"referer", b"")[:REFERRER_BYTES_MAX]
        language = get(b"accept-language", b"")[:LANGUAGE_BYTES_MAX]
        purpose = get(b"sec-purpose") or get(b"purpose") or get(b"x-purpose") or get(b"x-moz") or b""
        is_ahead = bool(purpose) and _AHEAD.search(purpose[:PURPOSE_BYTES_MAX]) is not None
        key = hash((agent, referrer, language, is_ahead))
        known = self._fields.recent.get(key) or self._fields.get(key)
        if known is None:
            known = self._judge(agent, referrer, language, is_ahead)
            self._fields.put(key, known)
        return known

    def _judge(self, agent: bytes, referrer: bytes, language: bytes, is_ahead: bool) -> Traits:
        seen = self._agent(agent)
        kind = Kind.PREFETCH if is_ahead and seen.kind is Kind.PERSON else seen.kind
        made = (host_of(referrer), seen.device, seen.os, seen.browser, _language_in(language))
        keys = self._keys.get(made)
        if keys is None:
            keys = made
            self._keys.put(made, made)
        return Traits(kind, keys, seen.bot, seen.digest)

    def _agent(self, value: bytes) -> _Agent:
        key = hash(value)
        known = self._agents.recent.get(key) or self._agents.get(key)
        if known is None:
            known = self._judge_agent(value)
            self._agents.put(key, known)
        return known

    def _judge_agent(self, value: bytes) -> _Agent:
        text = value.decode("latin-1")
        digest = blake2b(value, digest_size=8).digest()
        crawler = self._crawlers.find(text)
        if crawler is not None:
            kind = Kind.PREVIEW if crawler.is_preview else Kind.BOT
            return _Agent(kind, "bot", "", "", crawler.name, digest)
        system = intern(_family(self._extract_system(text)))
        browser = intern(_family(self._extract_browser(text)))
        return _Agent(Kind.PERSON, _device(text, system), system, browser, "", digest)


def host_of(referrer: bytes) -> str:
    """The host of an http or https URL, in lower case; of a long one, the last labels. "" if there is none."""
    found = _HOST.match(referrer)
    if found is None:
        return ""
    host = found[1].decode("ascii").lower().removesuffix(".")
    while len(host) > HOST_BYTES_MAX and "." in host:
        host = host.partition(".")[2]
    return host


def _language_in(accepted: bytes) -> str:
    found = _LANGUAGE.match(accepted)
    return found[1].decode("ascii").lower() if found else ""


def _family(found: Any) -> str:
    """A family's name as a key: printable ASCII, without space around it. Some patterns take it from the text."""
    name: str = "" if found is None or found.family == "Other" else found.family or ""
    if name.isascii() and name.isprintable():
        return name.strip()
    return "".join(char for char in name if " " <= char <= "~").strip()


def _device(text: str, system: str) -> str:
    if "iPad" in text or "Tablet" in text or ("Android" in text and "Mobile" not in text):
        return "tablet"
    if "Mobi" in text or "iPhone" in text:
        return "mobile"
    return "desktop" if system in _DESKTOPS else ""
