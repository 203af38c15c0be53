"""Which way a visitor goes: each condition, and shares of visitors."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.links import Parameter, Rule, Variant, When
from app.redirect import Visitor
from app.redirect.conditions import RULE_NUMBER, Branches, Choice, family
from tests.redirect.requests import CHROME, GOOGLEBOT, IPHONE, NOW_S, link, visitor

HERE = Rule("https://here/", When())


def holds(when: When, who: Visitor | None = None, *, now_s: float = NOW_S, query: bytes = b"") -> bool:
    branches = Branches(link(rules=(Rule("https://here/", when),)))
    choice = branches.choose(who or visitor(), now_s, query)
    assert choice in (None, Choice(b"https://here/", RULE_NUMBER + 1))
    return choice is not None


def moment(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("when", "of_chrome", "of_iphone"),
    [
        (When(), True, True),
        (When(device=("mobile",)), False, True),
        (When(device=("desktop", "tablet")), True, False),
        (When(os=("iOS",)), False, True),
        (When(os=("windows", "macOS")), True, False),
        (When(browser=("Safari",)), False, True),
        (When(browser=("chrome",)), True, False),
        (When(device=("mobile",), os=("windows",)), False, False),
        (When(device=("mobile",), os=("ios",), browser=("Mobile Safari",)), False, True),
    ],
)
def test_device_system_and_browser(when: When, of_chrome: bool, of_iphone: bool) -> None:
    assert (holds(when, visitor(CHROME)), holds(when, visitor(IPHONE))) == (of_chrome, of_iphone)


@pytest.mark.parametrize("agent", ["", "x", "curl/8.0", "\xff\xfe"])
def test_who_says_nothing_meets_no_condition(agent: str) -> None:
    assert not holds(When(device=("desktop", "mobile", "tablet")), visitor(agent))
    assert not holds(When(os=("windows", "ios", "linux")), visitor(agent))
    assert not holds(When(language=("en",)), visitor(agent))
    assert not holds(When(country=("DE",)), visitor(agent, address="198.51.100.1"))


def test_families_are_what_people_call_them() -> None:
    assert family("Mac OS X") == family("macOS") == family("MACOS")
    assert family("Chrome Mobile") == family("Chrome")
    assert family("Ubuntu") == family("Linux")
    assert family("Netscape") == "netscape"


def test_language_is_the_first_that_the_visitor_names() -> None:
    german = visitor(language="de-AT,de;q=0.9,en;q=0.7")
    assert holds(When(language=("de", "fr")), german)
    assert not holds(When(language=("en",)), german)


def test_country_is_that_of_the_client_s_address_behind_trusted_proxies() -> None:
    assert holds(When(country=("DE", "AT")), visitor(address="203.0.113.7"))
    assert not holds(When(country=("DE",)), visitor(address="203.0.113.200"))
    forwarded = "X-Forwarded-For: 203.0.113.7, 203.0.113.200\r\n"
    assert holds(When(country=("CH",)), visitor(address="10.0.0.1", more=forwarded))
    assert holds(When(country=("DE",)), visitor(address="203.0.113.7", more=forwarded))


def test_what_a_cdn_says_of_a_country_is_believed_from_trusted_proxies_only() -> None:
    claim = "cf-ipcountry: CH \r\n"
    assert holds(When(country=("CH",)), visitor(address="10.0.0.1", more=claim))
    assert holds(When(country=("CH",)), visitor(peer=bytes(16), more=claim))
    assert holds(When(country=("DE",)), visitor(address="203.0.113.7", more=claim))


@pytest.mark.parametrize(
    ("parameter", "query", "expected"),
    [
        (Parameter("a", ("b",)), b"?a=b", True),
        (Parameter("a", ("b", "c")), b"?x&a=c&y", True),
        (Parameter("a", ("b",)), b"?a=d", False),
        (Parameter("a"), b"?a=d", True),
        (Parameter("a"), b"?a", True),
        (Parameter("a"), b"?ab=1", False),
        (Parameter("a"), b"", False),
        (Parameter("a"), b"?", False),
        (Parameter("ä b", ("ü+&",)), b"?%C3%A4+b=%c3%bc%2B%26", True),
        (Parameter("a", ("1",)), b"?a=2&a=1", True),
        (Parameter("a"), b"?" + b"x&" * 200 + b"a", False),
    ],
)
def test_query_parameter(parameter: Parameter, query: bytes, expected: bool) -> None:
    assert holds(When(query=(parameter,)), query=query) is expected


def test_every_parameter_must_be_there() -> None:
    both = When(query=(Parameter("a"), Parameter("b", ("1",))))
    assert holds(both, query=b"?b=1&a=")
    assert not holds(both, query=b"?b=1")


@pytest.mark.parametrize(
    ("when", "offset", "expected"),
    [
        (When(after=int(NOW_S)), 0, True),
        (When(after=int(NOW_S)), -0.001, False),
        (When(before=int(NOW_S)), -0.001, True),
        (When(before=int(NOW_S)), 0, False),
        (When(after=int(NOW_S), before=int(NOW_S) + 1), 0.999, True),
        (When(after=int(NOW_S), before=int(NOW_S) + 1), 1.0, False),
    ],
)
def test_time_window_to_the_second(when: When, offset: float, expected: bool) -> None:
    assert holds(when, now_s=NOW_S + offset) is expected


BERLIN = {"timezone": "Europe/Berlin"}


@pytest.mark.parametrize(
    ("fields", "now", "expected"),
    [
        ({"hours": (540, 1020)}, "2026-03-02T09:00:00", True),
        ({"hours": (540, 1020)}, "2026-03-02T08:59:59", False),
        ({"hours": (540, 1020)}, "2026-03-02T16:59:59", True),
        ({"hours": (540, 1020)}, "2026-03-02T17:00:00", False),
        ({"hours": (540, 1020), **BERLIN}, "2026-03-02T08:00:00", True),
        ({"hours": (540, 1020), **BERLIN}, "2026-07-01T07:00:00", True),
        ({"hours": (540, 1020), **BERLIN}, "2026-07-01T15:00:00", False),
        ({"weekdays": (1,)}, "2026-03-02T23:59:59", True),
        ({"weekdays": (1,)}, "2026-03-03T00:00:00", False),
        ({"weekdays": (1,), **BERLIN}, "2026-03-02T23:00:00", False),
        ({"weekdays": (6, 7)}, "2026-03-02T12:00:00", False),
        # Over midnight: Friday night lasts into Saturday.
        ({"hours": (1320, 120), "weekdays": (5,)}, "2026-03-06T22:00:00", True),
        ({"hours": (1320, 120), "weekdays": (5,)}, "2026-03-07T01:59:59", True),
        ({"hours": (1320, 120), "weekdays": (5,)}, "2026-03-07T02:00:00", False),
        ({"hours": (1320, 120), "weekdays": (5,)}, "2026-03-06T01:00:00", False),
        ({"hours": (1320, 120), "weekdays": (1,)}, "2026-03-02T01:00:00", False),
        ({"hours": (1320, 120), "weekdays": (7,)}, "2026-03-02T01:00:00", True),
        ({"weekdays": (1, 2, 3, 4, 5, 6, 7), "timezone": "Nowhere/Atlantis"}, "2026-03-02T12:00:00", False),
    ],
)
def test_hours_and_weekdays_on_the_wall(fields: dict[str, Any], now: str, expected: bool) -> None:
    assert holds(When(**fields), now_s=moment(now)) is expected


def test_the_first_rule_that_holds_wins_and_none_leads_to_variants_or_the_target() -> None:
    rules = (Rule("https://m/", When(device=("mobile",))), Rule("https://q/", When(query=(Parameter("q"),))), HERE)
    assert Branches(link(rules=rules)).choose(visitor(IPHONE), NOW_S, b"?q") == Choice(b"https://m/", 101)
    assert Branches(link(rules=rules)).choose(visitor(), NOW_S, b"?q") == Choice(b"https://q/", 102)
    assert Branches(link(rules=rules)).choose(visitor(), NOW_S, b"") == Choice(b"https://here/", 103)
    assert Branches(link(rules=rules[:2])).choose(visitor(), NOW_S, b"") is None
    with_variants = Branches(link(rules=rules[:2], variants=(Variant("https://v/"),)))
    assert with_variants.choose(visitor(), NOW_S, b"") == Choice(b"https://v/", 1)


def test_a_visitor_always_goes_the_same_way_and_links_are_independent() -> None:
    variants = tuple(Variant(f"https://{n}/") for n in range(4))
    ways: list[tuple[int, int]] = []
    for number in range(200):
        address = f"203.0.113.{number}"
        choices = {Branches(link(variants=variants)).choose(visitor(address=address), NOW_S + n, b"") for n in range(3)}
        assert len(choices) == 1
        (choice,) = choices
        other = Branches(link(link=8, variants=variants)).choose(visitor(address=address), NOW_S, b"")
        assert choice is not None
        assert other is not None
        ways.append((choice.variant, other.variant))
    assert len(set(ways)) == 16


def test_shares_follow_weights_and_zero_weight_gets_nobody() -> None:
    branches = Branches(link(variants=(Variant("https://a/", 1), Variant("https://b/", 0), Variant("https://c/", 3))))
    found: Counter[int] = Counter()
    for number in range(4_000):
        choice = branches.choose(
            visitor(f"Agent/{number % 50}", address=f"198.51.{number // 250}.{number % 250}"), 0, b""
        )
        assert choice is not None
        found[choice.variant] += 1
    assert found[2] == 0
    # 1,000 expected, standard deviation 27.
    assert abs(found[1] - 1_000) < 6 * 27


def test_a_changed_weight_of_two_moves_only_those_that_it_must() -> None:
    before, after = (Branches(link(variants=(Variant("https://a/", 1), Variant("https://b/", w)))) for w in (1, 2))
    moved: Counter[tuple[int, int]] = Counter()
    for number in range(3_000):
        who = visitor(address=f"198.51.{number // 250}.{number % 250}")
        was, now = before.choose(who, NOW_S, b""), after.choose(who, NOW_S, b"")
        assert was is not None
        assert now is not None
        moved[was.variant, now.variant] += 1
    assert moved[2, 1] == 0, "nobody leaves the variant that gained"
    # 500 expected, standard deviation 20.
    assert abs(moved[1, 2] - 500) < 6 * 20


@given(st.binary(max_size=300), st.binary(max_size=100), st.floats(0, 4e9), st.binary(min_size=16, max_size=16))
def test_whatever_comes_a_choice_is_made_of_the_link_s_own_locations(
    junk: bytes, query: bytes, now_s: float, peer: bytes
) -> None:
    everything = When(
        device=("mobile",),
        os=("iOS",),
        browser=("Chrome",),
        language=("de",),
        country=("DE",),
        query=(Parameter("a"),),
        hours=(0, 720),
        weekdays=(1, 2),
        timezone="America/New_York",
    )
    own = [Rule(f"https://r{n}/", everything) for n in range(2)], [Variant(f"https://v{n}/", n + 1) for n in range(2)]
    branches = Branches(link(rules=tuple(own[0]), variants=tuple(own[1])))
    who = Visitor(visitor()._visitors, b"GET / HTTP/1.1\r\nUser-Agent: " + junk + b"\r\n\r\n", peer)
    choice = branches.choose(who, now_s, b"?" + query)
    assert choice is not None
    assert choice.location.decode() in {branch.target for part in own for branch in part}


def test_a_crawler_is_no_device_that_people_have() -> None:
    assert not holds(When(device=("desktop", "mobile", "tablet")), visitor(GOOGLEBOT))
