"""The judge of plain heads: what it takes, in which order, and what it leaves to others."""

from __future__ import annotations

import itertools

import pytest

from app.front.head import plain, plain_or_close

LINE = b"GET /abc7 HTTP/1.1\r\nHost: s.example\r\n"
FIELDS = [b"User-Agent: x", b"Accept: */*", b"Upgrade-Insecure-Requests: 1", b"X-Other: y"]


def head(*fields: bytes) -> bytes:
    return LINE + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


@pytest.mark.parametrize("place", range(len(FIELDS) + 1))
def test_close_is_seen_wherever_it_stands(place: int) -> None:
    for order in itertools.permutations(FIELDS):
        closing = head(*order[:place], b"Connection: close", *order[place:])
        keeping = head(*order[:place], b"Connection: keep-alive", *order[place:])
        found = plain_or_close(closing)
        if found is not None:  # the interpreted judge knows some orders only
            assert (found[0], found[1], bool(found[2])) == (b"abc7", b"s.example", True)
        assert plain(closing) is None
        kept = plain_or_close(keeping)
        if kept is not None:
            assert (kept[0], kept[1], bool(kept[2])) == (b"abc7", b"s.example", False)
            assert plain(keeping) == (b"abc7", b"s.example")
    assert plain_or_close(head(*FIELDS, b"Connection: close")) is not None


@pytest.mark.parametrize("byte", [*range(9), *range(10, 32), 127])
def test_a_control_character_in_a_value_is_not_plain(byte: int) -> None:
    for fill in range(1, 20):  # at every place of a word of eight bytes
        field = b"X-Other: " + b"a" * fill + bytes([byte]) + b"b" * (20 - fill)
        if byte not in range(1, 32) or byte in (10, 11, 12, 13):
            assert plain(head(field)) is None
        assert plain(head(b"X-Other: " + b"a" * fill + b"\t" + b"b" * (20 - fill))) is not None


@pytest.mark.parametrize("byte", range(128, 256))
def test_other_bytes_in_a_value_are_plain(byte: int) -> None:
    assert plain(head(b"X-Other: " + bytes([byte]) * 9)) == (b"abc7", b"s.example")
