"""Which domain a Host names, and what is remembered of that."""

from __future__ import annotations

import pytest

from app.links import PLAIN_OPTIONS, DomainOptions
from app.redirect import Hosts
from app.redirect.hosts import SPELLINGS_MAX


@pytest.mark.parametrize(
    ("host", "prefix", "strict_prefix"),
    [
        (b"s.example", b"", b""),
        (b"S.Example.:8000", b"", b""),
        (b"", b"", b""),
        (b"go.example", b"go.example/", b"go.example/"),
        (b"GO.example:443", b"go.example/", b"go.example/"),
        (b"s.example.evil", b"", None),
        (b"[::1]:8000", b"", None),
    ],
)
def test_a_host_is_judged_by_its_name(host: bytes, prefix: bytes, strict_prefix: bytes | None) -> None:
    assert Hosts("s.example", {"go.example": PLAIN_OPTIONS}).prefix(host) == prefix
    assert Hosts("s.example", {"go.example": PLAIN_OPTIONS}, is_strict=True).prefix(host) == strict_prefix


def test_a_host_has_the_options_of_its_domain_until_they_change() -> None:
    own, of_default = DomainOptions(robots="disallow"), DomainOptions(slug_length=9)
    hosts = Hosts("s.example", {"": of_default, "go.example": own, "plain.example": PLAIN_OPTIONS}, is_strict=True)
    found = [hosts.options(host) for host in (b"S.example:80", b"go.Example", b"plain.example", b"evil.example")]
    assert found == [of_default, own, PLAIN_OPTIONS, None]
    hosts.set_domains({"go.example": of_default})
    assert [hosts.options(host) for host in (b"S.example:80", b"go.Example")] == [PLAIN_OPTIONS, of_default]


def test_a_key_is_folded_where_its_domain_is_case_insensitive() -> None:
    folds = DomainOptions(case_insensitive=True)
    hosts = Hosts("s.example", {"": PLAIN_OPTIONS, "go.example": folds, "plain.example": DomainOptions(slug_length=9)})
    keys = [b"Sale", b"go.example/Sale", b"go.example/sale-1", b"plain.example/Sale"]
    assert [hosts.fold(key) for key in keys] == [b"", b"go.example/sale", b"", b""]
    hosts.set_domains({"": folds})
    assert [hosts.fold(key) for key in keys] == [b"sale", b"", b"", b""]


def test_invented_hosts_take_nobody_s_place_on_the_fast_lane() -> None:
    hosts = Hosts("s.example")
    for number in range(SPELLINGS_MAX * 2 + 10):
        assert hosts.prefix(b"%d.invented.example" % number) == b""
    hosts.prefix(b"s.example")
    assert b"s.example" in hosts.prefixes
    assert len(hosts.prefixes) <= SPELLINGS_MAX
