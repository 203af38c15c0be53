"""Chooses where a link leads this visitor: the first rule that holds, else a variant, else nothing of these. Pure.

In: a link's rules and variants, made ready once when the link enters L1; a visitor, the time and the query. Out: a
location and the number that the journal keeps of it:

    0             the link's own target
    1 … 32        the variant at this place
    101 … 132     the rule at this place

A variant is chosen by a hash of link, address and agent, so the same visitor goes the same way on every node, without
a cookie and without a store; a changed weight moves as few visitors as it must when there are two.
May import: `app.links` for what rules are.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from hashlib import blake2b
from itertools import accumulate
from typing import NamedTuple
from urllib.parse import unquote_plus
from zoneinfo import ZoneInfo

from app.links import CachedLink, Parameter, When
from app.redirect.visitor import Visitor

__all__ = ["OWN_TARGET", "RULE_NUMBER", "Branches", "Choice", "family"]

OWN_TARGET = 0
RULE_NUMBER = 100  # of the place before the first rule; there are fewer variants than that
PARAMETERS_MAX = 100  # of a query that are looked at
FAMILIES_MAX = 1_000  # names remembered; uap-core makes some of what a client says
DAY_MINUTES = 1_440
Test = Callable[["Seen"], bool]


#: Names of uap-core that people know as one family, in lower case.
_FAMILIES = {
    alias: name
    for name, aliases in {
        "chrome": ("chrome mobile", "chrome mobile ios", "chrome mobile webview", "headlesschrome", "chromium"),
        "safari": ("mobile safari", "mobile safari ui/wkwebview"),
        "firefox": ("firefox mobile", "firefox ios", "firefox (ios)"),
        "edge": ("edge mobile", "microsoft edge"),
        "opera": ("opera mobile", "opera mini", "opera tablet", "opera gx"),
        "macos": ("mac os x", "mac os", "mac"),
        "linux": ("ubuntu", "debian", "fedora", "arch linux", "gentoo", "centos", "red hat", "suse", "linux mint"),
        "chromeos": ("chrome os",),
        "ios": ("ipados",),
    }.items()
    for alias in aliases
}
_known_families: dict[str, str] = {}


class Choice(NamedTuple):
    """Where to, in visible ASCII, and the number for the journal."""

    location: bytes
    variant: int


class Branches:
    """The rules and variants of one link; `reads_traits` when a rule asks for what an agent or a language says."""

    __slots__ = ("_key", "_rules", "_shares", "_total", "_variants", "reads_traits")

    def __init__(self, link: CachedLink) -> None:
        self.reads_traits = any(
            rule.when.device or rule.when.os or rule.when.browser or rule.when.language for rule in link.rules
        )
        self._key = link.link.to_bytes(8, "big")
        self._rules = [
            (tuple(_tests(rule.when)), Choice(rule.target.encode("ascii"), RULE_NUMBER + place))
            for place, rule in enumerate(link.rules, 1)
        ]
        self._variants = [Choice(v.target.encode("ascii"), place) for place, v in enumerate(link.variants, 1)]
        self._shares = list(accumulate(variant.weight for variant in link.variants))
        self._total = self._shares[-1] if self._shares else 0

    def choose(self, visitor: Visitor, now_s: float, query: bytes) -> Choice | None:
        """Where this visitor goes; None: to the link's own target."""
        if self._rules:
            seen = Seen(visitor, now_s, query, reads_traits=self.reads_traits)
            for tests, choice in self._rules:
                for test in tests:
                    if not test(seen):
                        break
                else:
                    return choice
        if not self._total:
            return None
        digest = blake2b(self._key + visitor.address.encode() + b"\n" + visitor.agent, digest_size=8).digest()
        # A fraction of the sum, not a remainder: what a weight shifts is the border of its neighbour.
        return self._variants[bisect_right(self._shares, int.from_bytes(digest, "big") * self._total >> 64)]


class Seen:
    """What the rules of one decision look at: the visitor, the time and the query; each thing read once."""

    __slots__ = ("_parameters", "_query", "browser", "device", "language", "now_s", "os", "visitor")

    def __init__(self, visitor: Visitor, now_s: float, query: bytes, *, reads_traits: bool) -> None:
        self.visitor = visitor
        self.now_s = now_s
        self._query = query
        self._parameters: dict[str, str] | None = None
        if reads_traits:
            traits = visitor.traits
            self.device = traits.device
            self.language = traits.language
            self.os = family(traits.os)
            self.browser = family(traits.browser)

    @property
    def parameters(self) -> dict[str, str]:
        """Decoded; of a repeated name the last one counts."""
        if self._parameters is None:
            self._parameters = _parameters(self._query)
        return self._parameters


def family(name: str) -> str:
    """The name under which systems and browsers are compared."""
    found = _known_families.get(name)
    if found is None:
        low = name.lower()
        found = _FAMILIES.get(low, low)
        if len(_known_families) < FAMILIES_MAX:
            _known_families[name] = found
    return found


def _tests(when: When) -> Iterator[Test]:
    """One function for each condition that is set, the cheap ones first."""
    if when.after is not None or when.before is not None:
        yield _between(when.after, when.before)
    if when.device:
        devices = frozenset(when.device)
        yield lambda seen: seen.device in devices
    if when.language:
        languages = frozenset(when.language)
        yield lambda seen: seen.language in languages
    if when.os:
        systems = frozenset(map(family, when.os))
        yield lambda seen: seen.os in systems
    if when.browser:
        browsers = frozenset(map(family, when.browser))
        yield lambda seen: seen.browser in browsers
    if when.query:
        yield _asks_for(when.query)
    if when.country:
        countries = frozenset(when.country)
        yield lambda seen: seen.visitor.country in countries
    if when.hours is not None or when.weekdays:
        yield _clock_shows(when.hours, frozenset(when.weekdays), when.timezone)


def _between(after: int | None, before: int | None) -> Test:
    least = float("-inf") if after is None else after
    most = float("inf") if before is None else before
    return lambda seen: least <= seen.now_s < most


def _clock_shows(hours: tuple[int, int] | None, weekdays: frozenset[int], timezone: str) -> Test:
    """Local time on the wall, so that 9:00 stays 9:00 when daylight saving begins."""
    try:
        zone: ZoneInfo | None = ZoneInfo(timezone)
    except (OSError, ValueError, KeyError):
        zone = None  # this machine's database does not know it: no time is meant
    start, end = hours or (0, DAY_MINUTES)

    def shows(seen: Seen) -> bool:
        if zone is None:
            return False
        local = datetime.fromtimestamp(seen.now_s, zone)
        minute = local.hour * 60 + local.minute
        is_within = start <= minute < end if start <= end else (minute >= start or minute < end)
        if not is_within or not weekdays:
            return is_within
        # What began before midnight belongs to the day on which it began.
        is_past_midnight = start > end and minute < end
        return (local.isoweekday() - 2) % 7 + 1 in weekdays if is_past_midnight else local.isoweekday() in weekdays

    return shows


def _asks_for(parameters: Sequence[Parameter]) -> Test:
    wanted = [(parameter.name, frozenset(parameter.values)) for parameter in parameters]

    def asks(seen: Seen) -> bool:
        given = seen.parameters
        for name, values in wanted:
            value = given.get(name)
            if value is None or (values and value not in values):
                return False
        return True

    return asks


def _parameters(query: bytes) -> dict[str, str]:
    """Names and decoded values of a query with its question mark."""
    if len(query) < 2:
        return {}
    text = query[1:].decode("ascii", "replace")
    pairs = [part.partition("=") for part in text.split("&", PARAMETERS_MAX)[:PARAMETERS_MAX]]
    if "%" in text or "+" in text:
        return {unquote_plus(name): unquote_plus(value) for name, _, value in pairs}
    return {name: value for name, _, value in pairs}
