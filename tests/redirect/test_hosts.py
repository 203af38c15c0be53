"""Which domain a Host names, and what is remembered of that."""

from __future__ import annotations

import pytest

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
    assert Hosts("s.example", ["go.example"]).prefix(host) == prefix
    assert Hosts("s.example", ["go.example"], is_strict=True).prefix(host) == strict_prefix


def test_invented_hosts_take_nobody_s_place_on_the_fast_lane() -> None:
    hosts = Hosts("s.example")
    for number in range(SPELLINGS_MAX * 2 + 10):
        assert hosts.prefix(b"%d.invented.example" % number) == b""
    hosts.prefix(b"s.example")
    assert b"s.example" in hosts.prefixes
    assert len(hosts.prefixes) <= SPELLINGS_MAX
