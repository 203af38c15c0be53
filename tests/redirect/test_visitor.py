"""Who asks, read once and remembered within bounds."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from app.agents import TraitsReader
from app.redirect import Visitor, Visitors
from app.redirect import visitor as room
from tests.redirect.requests import CHROME, IPHONE, pack, visitor

TRUSTED = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


def address(peer: bytes, *lines: str) -> str:
    head = "GET / HTTP/1.1\r\nHost: h\r\n" + "".join(line + "\r\n" for line in lines) + "\r\n"
    return Visitor(Visitors(trusted=TRUSTED), head.encode(), peer).address


@pytest.mark.parametrize(
    ("peer", "lines", "expected"),
    [
        (pack("192.0.2.1"), [], "192.0.2.1"),
        (pack("192.0.2.1"), ["X-Forwarded-For: 203.0.113.7"], "192.0.2.1"),
        (pack("10.0.0.1"), ["X-Forwarded-For: 198.51.100.9, 203.0.113.7"], "203.0.113.7"),
        (pack("10.0.0.1"), ["x-forwarded-for: 203.0.113.7, 10.2.2.2"], "203.0.113.7"),
        (pack("10.0.0.1"), ["Forwarded: for=203.0.113.7;proto=https"], "203.0.113.7"),
        (pack("10.0.0.1"), ["X-Forwarded-For: 198.51.100.9", "X-Forwarded-For: 203.0.113.7"], "203.0.113.7"),
        (pack("10.0.0.1"), [], "10.0.0.1"),
        (bytes(16), ["X-Forwarded-For: 203.0.113.7"], "203.0.113.7"),
        (bytes(16), [], ""),
        (pack("fd00::1"), ["X-Forwarded-For: [2001:db8::7]:443"], "2001:db8::7"),
        (pack("2001:db8::1"), ["X-Forwarded-For: 203.0.113.7"], "2001:db8::1"),
    ],
)
def test_the_address_is_the_right_most_that_no_trusted_proxy_has(peer: bytes, lines: list[str], expected: str) -> None:
    assert address(peer, *lines) == expected
    assert address(peer, *lines) == expected


@pytest.mark.parametrize("network", ["10.0.0.0/8", "::ffff:10.0.0.0/104", "::/0"])
def test_a_proxy_is_trusted_however_its_network_is_written(network: str) -> None:
    head = b"GET / HTTP/1.1\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n"
    visitors = Visitors(trusted=[ip_network(network)])
    assert Visitor(visitors, head, pack("10.0.0.1")).address == "203.0.113.7"


def test_one_peer_s_forwarded_clients_are_told_apart() -> None:
    visitors = Visitors(trusted=TRUSTED)
    for text in ("203.0.113.7", "203.0.113.8", "203.0.113.7"):
        head = f"GET / HTTP/1.1\r\nX-Forwarded-For: {text}\r\n\r\n".encode()
        assert Visitor(visitors, head, pack("10.0.0.1")).address == text


def test_memory_of_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "ADDRESSES_MAX", 10)
    visitors = Visitors(trusted=TRUSTED)
    for number in range(100):
        head = f"GET / HTTP/1.1\r\nX-Forwarded-For: {'1' * number}, 203.0.113.{number}\r\n\r\n".encode()
        assert Visitor(visitors, head, pack("10.0.0.1")).address == f"203.0.113.{number}"
        Visitor(visitors, head, pack(f"192.0.2.{number}")).address  # noqa: B018  read for its effect
        long = head.replace(b", ", b" " * 400 + b", ")
        assert Visitor(visitors, long, pack("10.0.0.1")).address == f"203.0.113.{number}"
    assert len(visitors._peers) <= 10
    assert len(visitors._forwarded) <= 10
    assert all(len(key) <= room.FORWARDED_BYTES_MAX for key in visitors._forwarded)


def test_traits_of_a_long_head_are_those_of_its_telling_fields() -> None:
    kept: list[bytes] = []

    class Reader(TraitsReader):
        def read(self, head: bytes) -> object:  # type: ignore[override]
            kept.append(head)
            return super().read(head)

    visitors = Visitors(make_reader=Reader)
    short = visitor(IPHONE, language="de").traits
    filler = "".join(f"X-Filler-{n}: {'x' * 500}\r\n" for n in range(8))
    head = f"GET / HTTP/1.1\r\n{filler}User-Agent: {IPHONE}\r\nAccept-Language: de\r\nCookie: {'c' * 2000}\r\n\r\n"
    assert visitors.traits(head.encode()) == short
    hostile = f"GET / HTTP/1.1\r\nUser-Agent: {'x' * 9_000}\r\nAccept-Language: {'de,' * 2_000}\r\n\r\n"
    visitors.traits(hostile.encode())
    assert max(map(len, kept)) <= room.HEAD_BYTES_MAX


def test_the_agent_is_as_sent_and_lists_are_read_when_first_needed() -> None:
    made: list[int] = []

    def make() -> TraitsReader:
        made.append(1)
        return TraitsReader()

    visitors = Visitors(make_reader=make)
    who = Visitor(visitors, f"GET / HTTP/1.1\r\nuser-agent:  {CHROME}\r\n\r\n".encode(), pack("192.0.2.1"))
    assert who.agent == CHROME.encode()
    assert (who.address, who.country, made) == ("192.0.2.1", "", [])
    assert (who.traits.device, who.traits.device, made) == ("desktop", "desktop", [1])
    assert Visitor(visitors, b"GET / HTTP/1.1\r\n\r\n", bytes(16)).agent == b""
