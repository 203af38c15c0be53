"""Fields are found in any head, by the expression and by the scan alike."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.agents import FieldFinder
from bench.heads import browser_heads

FINDER = FieldFinder({b"user-agent", b"referer", b"x-forwarded-for", b"forwarded", b"a"})


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"GET / HTTP/1.1\r\nUser-Agent: x\r\n\r\n", {b"user-agent": b"x"}),
        (b"GET / HTTP/1.1\r\nuSER-aGENT:\t x y \r\n\r\n", {b"user-agent": b"x y "}),
        (b"\r\nReferer:one\r\nreferer: two\r\n", {b"referer": b"one"}),
        (b"\r\nX-Forwarded-For: 1\r\nx-forwarded-for:2,3\r\n", {b"x-forwarded-for": b"1,2,3"}),
        (b"\r\nForwarded: for=1\r\nA:\r\nForwarded: for=2", {b"forwarded": b"for=1,for=2", b"a": b""}),
        (b"GET /user-agent:x HTTP/1.1\r\nX-User-Agent: y\r\nUser-Agent : z\r\n", {}),
        (b"User-Agent: in the first line\r\n", {}),
        (b"\nReferer: bare line feed\n", {b"referer": b"bare line feed"}),
        (b"\r\nReferer: cut", {b"referer": b"cut"}),
        (b"\r\nReferer:", {b"referer": b""}),
        (b"\r\nReferer", {}),
        (b"\r\n" + b"a" * 8000 + b":x\r\nA: y\r\n", {b"a": b"y"}),
        (b"", {}),
    ],
)
def test_the_first_of_each_wanted_name_is_found(head: bytes, found: dict[bytes, bytes]) -> None:
    assert FINDER.find(head) == found


NAMES = (b"Referer", b"user-agent", b"X-Forwarded-For", b"forwarded", b"A", b"a", b"x" * 70)
parts = st.sampled_from((b"\r\n", b"\n", b"\r", b":", b" ", b"\t", b"\0", b"\xff", b"1.2.3.4", *NAMES))


@given(st.lists(parts).map(b"".join))
@example(b"\nA: x\n A: folded")
@example(b"\nA:\nA:y")
def test_the_scan_finds_what_the_expression_finds(head: bytes) -> None:
    assert FINDER._scan(head) == FINDER.find(head)


def test_both_agree_on_browsers_heads() -> None:
    for head in browser_heads(200) + browser_heads(200, by_proxy=True):
        found = FINDER.find(head)
        assert FINDER._scan(head) == found
        assert found[b"user-agent"].startswith(b"Mozilla/5.0 (")
