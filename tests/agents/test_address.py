"""The client's address: believed only as far as trusted proxies vouch for it."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.agents import Networks, client_address, network_of

TRUSTED = Networks((ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8::/32")))
UNIX = bytes(16)


def peer(text: str) -> bytes:
    if ":" in text:
        return socket.inet_pton(socket.AF_INET6, text)
    return bytes(10) + b"\xff\xff" + socket.inet_aton(text)


@pytest.mark.parametrize(
    ("who", "headers", "address"),
    [
        (peer("203.0.113.9"), [], "203.0.113.9"),
        (peer("203.0.113.9"), [(b"X-Forwarded-For", b"1.2.3.4")], "203.0.113.9"),
        (peer("10.0.0.1"), [], "10.0.0.1"),
        (peer("10.0.0.1"), [(b"X-Forwarded-For", b"1.2.3.4")], "1.2.3.4"),
        (peer("10.0.0.1"), [(b"x-forwarded-for", b"6.6.6.6, 1.2.3.4")], "1.2.3.4"),
        (peer("10.0.0.1"), [(b"X-Forwarded-For", b"6.6.6.6, 1.2.3.4, 10.9.9.9")], "1.2.3.4"),
        (peer("10.0.0.1"), [(b"X-Forwarded-For", b"1.2.3.4"), (b"X-Forwarded-For", b"10.9.9.9")], "1.2.3.4"),
        (peer("10.0.0.1"), [(b"X-Forwarded-For", b"10.1.1.1, 10.9.9.9")], "10.1.1.1"),
        (peer("10.0.0.1"), [(b"X-Forwarded-For", b"1.2.3.4, unknown, 10.9.9.9")], "10.9.9.9"),
        (peer("10.0.0.1"), [(b"X-Forwarded-For", b"1.2.3.4:5678")], "1.2.3.4"),
        (peer("10.0.0.1"), [(b"X-Forwarded-For", b"[2001:db9::1]:5678")], "2001:db9::1"),
        (peer("10.0.0.1"), [(b"X-Forwarded-For", b"::ffff:1.2.3.4")], "1.2.3.4"),
        (peer("2001:db8::1"), [(b"Forwarded", b'for=192.0.2.60;proto=http, for="[2001:db9::2]:47"')], "2001:db9::2"),
        (peer("10.0.0.1"), [(b"Forwarded", b"for=1.1.1.1"), (b"X-Forwarded-For", b"2.2.2.2")], "2.2.2.2"),
        (peer("10.0.0.1"), [(b"Forwarded", b"For=1.2.3.4 ; Proto=https")], "1.2.3.4"),
        (peer("10.0.0.1"), [(b"Forwarded", b"for=6.6.6.6, for=_hidden")], "10.0.0.1"),
        (peer("10.0.0.1"), [(b"Forwarded", b"for=6.6.6.6, proto=https;by=_edge")], "10.0.0.1"),
        (peer("10.0.0.1"), [(b"Forwarded", b'for=1.2.3.4;host="a,for=6.6.6.6"')], "1.2.3.4"),
        (peer("10.0.0.1"), [(b"Forwarded", b'host="a;for=6.6.6.6";for=1.2.3.4')], "1.2.3.4"),
        (peer("10.0.0.1"), [(b"Forwarded", rb'for=1.2.3.4;host="\",for=6.6.6.6"')], "1.2.3.4"),
        (peer("10.0.0.1"), [(b"Forwarded", b'x="'), (b"Forwarded", b'for="[2001:db9::2]:47"')], "2001:db9::2"),
        (peer("10.0.0.1"), [(b"Forwarded", b'for=6.6.6.6, "for=6.6.6.6')], "10.0.0.1"),
        (UNIX, [(b"X-Forwarded-For", b"1.2.3.4")], "1.2.3.4"),
        (UNIX, [], ""),
    ],
)
def test_the_right_most_untrusted_hop(who: bytes, headers: list[tuple[bytes, bytes]], address: str) -> None:
    assert client_address(who, headers, TRUSTED)[0] == address


def test_the_protocol_is_believed_from_trusted_proxies_only() -> None:
    headers = [(b"X-Forwarded-Proto", b"https"), (b"X-Forwarded-For", b"1.2.3.4")]
    assert client_address(peer("10.0.0.1"), headers, TRUSTED) == ("1.2.3.4", "https")
    assert client_address(peer("1.1.1.1"), headers, TRUSTED) == ("1.1.1.1", "http")


def test_a_peer_is_trusted_however_its_network_is_written() -> None:
    for network in ("10.0.0.0/8", "::ffff:10.0.0.0/104", "::/0"):
        found, _ = client_address(
            peer("10.0.0.1"), [(b"X-Forwarded-For", b"1.2.3.4")], Networks([ipaddress.ip_network(network)])
        )
        assert found == "1.2.3.4"


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_no_header_breaks_it(one: bytes, two: bytes) -> None:
    text, _ = client_address(peer("10.0.0.1"), [(b"X-Forwarded-For", one), (b"Forwarded", two)], TRUSTED)
    ipaddress.ip_address(text)


@pytest.mark.parametrize(
    ("address", "network"),
    [("203.0.113.7", "203.0.113.7"), ("", ""), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("::1", "::/64")],
)
def test_one_line_of_ipv6_is_one_client(address: str, network: str) -> None:
    assert network_of(address) == network
