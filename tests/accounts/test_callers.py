"""Rights: what each scope includes, and which links are a narrowed caller's."""

from __future__ import annotations

import pytest

from app.accounts import NOBODY, ApiKey, Bounds, Caller, Scope
from app.links import Link

LINK = Link(domain="go.example", slug="s", link=1, target="https://a.example/", version=1, owner="ann", tags=["news"])


def caller(*scopes: Scope, bounds: Bounds | None = None) -> Caller:
    return Caller(who="key:ann", owner="ann", scopes=frozenset(scopes), bounds=bounds or Bounds())


@pytest.mark.parametrize(
    ("given", "may"),
    [
        (Scope.LINKS_READ, {Scope.LINKS_READ}),
        (Scope.LINKS_WRITE, {Scope.LINKS_READ, Scope.LINKS_WRITE}),
        (Scope.STATS_READ, {Scope.STATS_READ}),
        (Scope.ADMIN, set(Scope)),
    ],
)
def test_a_scope_includes_no_more_than_is_written(given: Scope, may: set[Scope]) -> None:
    assert {scope for scope in Scope if caller(given).may(scope)} == may
    assert not any(NOBODY.may(scope) for scope in Scope)


@pytest.mark.parametrize(
    ("bounds", "faults"),
    [
        (Bounds(), []),
        (Bounds(domain="go.example", tag="news", owner="ann"), []),
        (Bounds(domain=""), ["domain"]),
        (Bounds(domain="go.example", tag="old"), ["tags"]),
        (Bounds(tag="old", owner="ben"), ["tags", "owner"]),
    ],
)
def test_a_link_is_seen_when_all_bounds_hold(bounds: Bounds, faults: list[str]) -> None:
    found = caller(Scope.LINKS_READ, bounds=bounds)
    assert [field for field, _ in found.faults(LINK.domain, LINK.tags, LINK.owner)] == faults
    assert found.sees(LINK) == (not faults)


def test_a_key_from_before_there_were_scopes_has_all_rights() -> None:
    old = ApiKey(id="5f", name="old", prefix="blk_", created=1).caller()
    assert all(old.may(scope) for scope in Scope)
    assert old.bounds.is_wide
