"""What a link answers with, and what must be found out first."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest

from app.links import Rule, Variant, When
from app.redirect import Decision, Known, decide, entry_of
from app.redirect.rules import Errand, PasswordWord, VisitWord, spent
from app.redirect.table import Special
from tests.redirect.requests import GOOGLEBOT, NOW_S, link, request, visitor

ID = (7).to_bytes(8, "big")
GRANTED, SPENT, UNKNOWN = (Known(visit=word) for word in VisitWord)
RIGHT = Known(password=PasswordWord.RIGHT)


NOTHING = Known()


def answer(fields: dict[str, Any], known: Known = NOTHING, query: bytes = b"", **asked: Any) -> Decision | Errand:
    return decide(entry_of(link(**fields), NOW_S), NOW_S, request(query, **asked), known)


@pytest.mark.parametrize(
    ("fields", "query", "status", "location"),
    [
        ({}, b"", 302, b"https://a/?x=1#f"),
        ({"code": 308}, b"", 308, b"https://a/?x=1#f"),
        ({"state": "banned"}, b"", 410, b""),
        ({"state": "disabled"}, b"", 404, b""),
        ({"expires": int(NOW_S)}, b"", 410, b""),
        ({"expires": int(NOW_S) + 1}, b"", 302, b"https://a/?x=1#f"),
        ({"starts": int(NOW_S) + 1}, b"", 404, b""),
        ({"starts": int(NOW_S)}, b"", 302, b"https://a/?x=1#f"),
        ({"forward_query": True}, b"?y=2", 302, b"https://a/?x=1&y=2#f"),
        ({"forward_query": True}, b"?", 302, b"https://a/?x=1#f"),
        ({}, b"?y=2", 302, b"https://a/?x=1#f"),
    ],
)
def test_a_link_is_judged(fields: dict[str, Any], query: bytes, status: int, location: bytes) -> None:
    is_final = fields.get("state") == "banned"  # no domain's page for what is not found takes its place
    assert answer(fields, query=query) == Decision(status, ID, location, is_final=is_final)


@pytest.mark.parametrize(
    "fields",
    [
        {"code": 301},
        {"expires": 1},
        {"starts": 1},
        {"max_visits": 1},
        {"password": b"hash"},
        {"state": "disabled"},
        {"forward_query": True},
        {"forward_path": True},
        {"rules": (Rule("https://m/", When()),)},
        {"variants": (Variant("https://v/"),)},
    ],
)
def test_only_an_unconditional_302_is_hot(fields: dict[str, Any]) -> None:
    assert isinstance(entry_of(link(), NOW_S), bytes)
    assert isinstance(entry_of(link(**fields), NOW_S), Special)


@pytest.mark.parametrize("fields", [{}, {"code": 301}])
def test_a_path_behind_a_slug_is_no_link_unless_it_is_forwarded(fields: dict[str, Any]) -> None:
    decision = answer(fields, rest=b"/docs")
    assert isinstance(decision, Decision)
    assert decision.status == HTTPStatus.NOT_FOUND
    forwarded = answer({**fields, "forward_path": True}, rest=b"/docs/1")
    assert isinstance(forwarded, Decision)
    assert forwarded.location == b"https://a/docs/1?x=1#f"
    assert answer({"forward_path": True}, rest=b"/%2e%2E/x") == Decision(404, ID)


def test_path_and_query_are_forwarded_together_also_by_rules_and_variants() -> None:
    both = {"forward_path": True, "forward_query": True}
    rules, variants = (Rule("https://m/p?r=1", When(query=())),), (Variant("https://v/#top"),)
    by_rule = answer({**both, "rules": rules}, query=b"?y=2", rest=b"/z")
    assert by_rule == Decision(302, ID, b"https://m/p/z?r=1&y=2", variant=101)
    by_variant = answer({**both, "variants": variants}, query=b"?y=2", rest=b"/z")
    assert by_variant == Decision(302, ID, b"https://v/z?y=2#top", variant=1)


@pytest.mark.parametrize("fields", [{}, {"code": 301}, {"max_visits": 3}])
def test_a_form_for_a_link_without_a_password_is_refused_and_spends_nothing(fields: dict[str, Any]) -> None:
    assert answer(fields, form=b"password=x") == Decision(405, ID, counts=False)


def test_a_password_is_asked_for_then_checked_then_the_redirect_forgets_the_form() -> None:
    fields = {"password": b"hash", "code": 307}
    assert answer(fields) == Decision(200, ID)
    assert answer(fields, is_head=True) == Decision(200, ID)
    assert answer(fields, form=b"password=x") is Errand.CHECK_PASSWORD
    assert answer(fields, RIGHT, form=b"password=x") == Decision(303, ID, b"https://a/?x=1#f")
    assert answer(fields, form=b"password=x", is_cross_site=True) == Decision(400, ID)


@pytest.mark.parametrize(
    ("word", "status"), [(PasswordWord.WRONG, 403), (PasswordWord.LIMITED, 429), (PasswordWord.BUSY, 503)]
)
def test_a_password_that_is_not_right_leads_nowhere(word: PasswordWord, status: int) -> None:
    known = Known(password=word, wait_s=5.0)
    assert answer({"password": b"hash"}, known, form=b"") == Decision(status, ID, wait_s=5.0)


def test_a_banned_or_ended_link_asks_for_no_password() -> None:
    assert answer({"password": b"hash", "state": "banned"}) == Decision(410, ID, is_final=True)
    assert answer({"password": b"hash", "expires": int(NOW_S)}, form=b"password=x") == Decision(410, ID)


@pytest.mark.parametrize(
    ("asked", "errand"),
    [
        ({}, Errand.SPEND_VISIT),
        ({"visitor": visitor("curl/8.0")}, Errand.SPEND_VISIT),
        ({"is_head": True}, Errand.LOOK_FOR_VISIT),
        ({"visitor": visitor(GOOGLEBOT)}, Errand.LOOK_FOR_VISIT),
        ({"visitor": visitor("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)")}, Errand.LOOK_FOR_VISIT),
    ],
)
def test_only_people_spend_visits(asked: dict[str, Any], errand: Errand) -> None:
    assert answer({"max_visits": 3}, **asked) is errand


def test_a_prefetch_gets_nothing_that_a_browser_could_keep() -> None:
    prefetch = visitor(more="Sec-Purpose: prefetch;prerender\r\n")
    assert answer({"max_visits": 3}, visitor=prefetch) == Decision(503, ID)


def test_a_visit_is_granted_by_mongodb_alone() -> None:
    assert answer({"max_visits": 3}, GRANTED) == Decision(302, ID, b"https://a/?x=1#f")
    assert answer({"max_visits": 3}, SPENT) == Decision(410, ID)
    assert answer({"max_visits": 3}, UNKNOWN) == Decision(503, ID)


def test_a_spent_link_is_gone_without_asking() -> None:
    entry = entry_of(link(max_visits=3, password=b"hash"), NOW_S)
    assert isinstance(entry, Special)
    assert decide(spent(entry), NOW_S, request(form=b"password=x")) == Decision(410, ID)
    assert spent(entry).link is entry.link


def test_a_password_is_checked_before_a_visit_is_spent() -> None:
    fields = {"max_visits": 3, "password": b"hash"}
    assert answer(fields, form=b"password=x") is Errand.CHECK_PASSWORD
    assert answer(fields, RIGHT, form=b"password=x") is Errand.SPEND_VISIT
    assert answer(fields, RIGHT._replace(visit=VisitWord.GRANTED), form=b"") == Decision(303, ID, b"https://a/?x=1#f")


def test_what_tells_people_from_bots_is_loaded_before_it_is_needed_and_only_then() -> None:
    from app.redirect import Visitor, Visitors

    unread = Visitor(Visitors(), b"GET / HTTP/1.1\r\n\r\n", bytes(16))
    assert answer({"max_visits": 3}, visitor=unread) is Errand.LOAD_READER
    # Where that failed, nothing is granted: it is not tried for ever.
    assert answer({"max_visits": 3}, UNKNOWN, visitor=unread) == Decision(503, ID)
    assert answer({"rules": (Rule("https://m/", When(os=("iOS",))),)}, visitor=unread) is Errand.LOAD_READER
    for fields in ({"forward_query": True}, {"variants": (Variant("https://a/?x=1#f"),)}, {"code": 301}):
        decision = answer(fields, visitor=unread)
        assert isinstance(decision, Decision)
        assert decision.location == b"https://a/?x=1#f"
