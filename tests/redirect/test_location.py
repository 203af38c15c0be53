"""What a request adds to a target: escaped, behind the target's own path, never out of it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.links import normalise_target
from app.redirect.location import has_dot_segment, with_path, with_query

VISIBLE = re.compile(rb"[\x21-\x7e]+").fullmatch
LEGAL = re.compile(rb"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})*").fullmatch
TARGETS = st.sampled_from(
    ["https://a", "https://a/", "https://a/b", "https://a/b/?x=1", "https://a?x", "https://a/b?#f", "https://a#f?x/"]
).map(lambda text: normalise_target(text).encode())
RESTS = (st.binary(max_size=60) | st.text("/.%2eE5cf\\?# a", max_size=20).map(str.encode)).map(lambda rest: b"/" + rest)


@pytest.mark.parametrize(
    ("target", "rest", "location"),
    [
        (b"https://a", b"/b", b"https://a/b"),
        (b"https://a/", b"/b/c", b"https://a/b/c"),
        (b"https://a/x?q#f", b"/b", b"https://a/x/b?q#f"),
        (b"https://a/x/#f?", b"/b", b"https://a/x/b#f?"),
        (b"https://a/x", b"/", b"https://a/x/"),
        (b"https://a", b"//evil.example/", b"https://a//evil.example/"),
        (b"https://a", b"/@evil.example", b"https://a/@evil.example"),
        (b"https://a/x", b"/a%2Fb%0d%0aX:%20y", b"https://a/x/a%2Fb%0d%0aX:%20y"),
        (b"https://a/x", b'/100%/\\b<"c">\xff', b"https://a/x/100%25/%5Cb%3C%22c%22%3E%FF"),
        (b"https://a/x", b"/b\r\nSet-Cookie: c=d", b"https://a/x/b%0D%0ASet-Cookie:%20c=d"),
        (b"https://a/x", b"/b?c#d", b"https://a/x/b%3Fc%23d"),
    ],
)
def test_a_path_goes_behind_the_target_s(target: bytes, rest: bytes, location: bytes) -> None:
    assert with_path(target, rest) == location


@pytest.mark.parametrize(
    ("target", "query", "location"),
    [
        (b"https://a", b"?y", b"https://a?y"),
        (b"https://a/?x=1#f", b"?y=2", b"https://a/?x=1&y=2#f"),
        (b"https://a/#f?g", b"?y", b"https://a/?y#f?g"),
        (b"https://a/?", b"?y", b"https://a/?y"),
        (b"https://a/?x&", b"?y", b"https://a/?x&y"),
        (b"https://a/?x", b"?", b"https://a/?x"),
        (b"https://a/?x", b"", b"https://a/?x"),
        (b"https://a/", b"?a=%41&b=50%&c=#", b"https://a/?a=%41&b=50%25&c=%23"),
        (b"https://a/", b'?a="<>\\^`{|}\r\n\x00\xc3', b"https://a/?a=%22%3C%3E%5C%5E%60%7B%7C%7D%0D%0A%00%C3"),
    ],
)
def test_a_query_goes_behind_the_target_s(target: bytes, query: bytes, location: bytes) -> None:
    assert with_query(target, query) == location


@pytest.mark.parametrize(
    "rest",
    [
        "/..",
        "/.",
        "/a/../b",
        "/%2e%2E",
        "/.%2e/",
        "/%2E",
        "/..\\x",
        "/\\..",
        "/a%2f..%2fb",
        "/a%5c%2e.",
        "/../",
        "/./x",
    ],
)
def test_a_dot_segment_is_seen_in_every_spelling(rest: str) -> None:
    assert has_dot_segment(rest.encode())


@pytest.mark.parametrize("rest", ["/", "/...", "/.a", "/a..b", "/%2e%2e%2e", "/a.", "/..a/b..", "/.well-known", "//"])
def test_dots_in_names_are_no_dot_segment(rest: str) -> None:
    assert not has_dot_segment(rest.encode())


@given(TARGETS, RESTS, st.binary(max_size=60))
def test_nothing_of_a_request_reaches_a_head_unescaped_or_changes_where_a_target_is(
    target: bytes, rest: bytes, query: bytes
) -> None:
    location = with_query(with_path(target, rest), b"?" + query)
    assert VISIBLE(location)
    assert LEGAL(location)
    before, after = urlsplit(target.decode()), urlsplit(location.decode())
    assert (after.scheme, after.netloc, after.fragment) == (before.scheme, before.netloc, before.fragment)
    assert after.path.startswith(before.path.removesuffix("/") + "/")
    assert after.query.startswith(before.query)
    if not has_dot_segment(rest):
        assert ".." not in after.path.split("/")
