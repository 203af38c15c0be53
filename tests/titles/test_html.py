"""Titles of pages as they are found in the wild, and by whom means no good."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.titles import title_of
from app.titles.html import ENCODINGS, OPENINGS_MAX, TITLE_CHARACTERS_MAX, WIDE_BYTES_MAX, ends_title

HTML = "text/html"


@pytest.mark.parametrize(
    ("page", "content_type", "title"),
    [
        ("<title>A page</title>", HTML, "A page"),
        (
            "<!doctype html><html><head><meta charset=utf-8><TITLE lang=de>Gr\u00fc\u00dfe</TITLE >",
            HTML,
            "Gr\u00fc\u00dfe",
        ),
        ("<title>\n  Two\t lines\n &amp; more&nbsp;&#8212; &lt;b&gt;\n</title>", HTML, "Two lines & more \u2014 <b>"),
        ("<!-- <title>no</title> --><title>yes</title>", HTML, "yes"),
        ("<script>var a = '<title>no</title>'</script><title>yes</title>", HTML, "yes"),
        ("<style>/* <title> */</style><title>yes</title><svg><title>no</title></svg>", HTML, "yes"),
        ("<titles>no</titles><title>yes</title>", HTML, "yes"),
        ("<title></title>", HTML, ""),
        ("<title>not ended", HTML, ""),
        ("<title", HTML, ""),
        ("<!-- not ended <title>no</title>", HTML, ""),
        ("no page", HTML, ""),
        ("<title>\u202etxt.exe\u202c \u200b\x1b[31mred\x07</title>", HTML, "txt.exe [31mred"),
        (
            "<title>\U0001f468\u200d\U0001f469\u200d\U0001f467</title>",
            HTML,
            "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        ),
    ],
)
def test_the_title_of_a_page(page: str, content_type: str, title: str) -> None:
    assert title_of(page.encode(), content_type) == title


@pytest.mark.parametrize(
    ("page", "content_type", "title"),
    [
        (b"<title>Gr\xfc\xdfe</title>", "text/html; charset=ISO-8859-1", "Gr\u00fc\u00dfe"),
        (b"<title>\x80 5</title>", 'text/html; charset="latin1"', "\u20ac 5"),
        (
            b"<meta charset='windows-1251'><title>\xcf\xf0\xe8\xe2\xe5\xf2</title>",
            HTML,
            "\u041f\u0440\u0438\u0432\u0435\u0442",
        ),
        (b"\xef\xbb\xbf<title>\xc3\xa9</title>", "text/html; charset=koi8-r", "\u00e9"),
        (b"\xff\xfe" + "<title>wide</title>".encode("utf-16-le"), HTML, "wide"),
        ("<title>\u65e5\u672c\u8a9e</title>".encode("cp932"), "text/html;charset=Shift_JIS", "\u65e5\u672c\u8a9e"),
        (b"<title>a\xffb</title>", "text/html; charset=zip", "a\ufffdb"),
        (b"<title>a\xffb</title>", "text/html; charset=unicode_escape", "a\ufffdb"),
    ],
)
def test_the_charset_of_a_page(page: bytes, content_type: str, title: str) -> None:
    assert title_of(page, content_type) == title


def test_a_long_title_is_cut_and_one_that_says_nothing_costs_nothing() -> None:
    title = title_of(b"<title>" + b"word " * 200_000 + b"</title>", HTML)
    assert len(title) == TITLE_CHARACTERS_MAX
    assert title.endswith("\u2026")


def test_a_title_behind_more_than_anybody_writes_is_not_looked_for() -> None:
    for piece in (b"<!---->", b"<script></SCRIPT>"):
        assert title_of(piece * (OPENINGS_MAX - 1) + b"<title>here</title>", HTML) == "here"
        assert title_of(piece * OPENINGS_MAX + b"<title>here</title>", HTML) == ""
    wide = ("<title>here</title>".rjust(WIDE_BYTES_MAX // 2) + "x").encode("utf-16-le")
    assert title_of(b"\xff\xfe" + wide, HTML) == "here"
    assert title_of(b"\xff\xfe" + b" \0" * 10 + wide, HTML) == ""


def test_what_opens_a_tag_is_part_of_no_other_character() -> None:
    others = "".join(map(chr, range(0x80, 0x1_0000)))
    found = {name for name in ENCODINGS.values() if b"<" in others.encode(name, "ignore")}
    assert found == {"iso-2022-jp"}


@pytest.mark.parametrize(
    "piece", [b"<title>", b"<title", b"<!--", b"<script>", b"<style></style", b"<", b"&lt;", b"</title"]
)
def test_hostile_pages_take_no_longer_than_others(piece: bytes) -> None:
    page = b"<title>" + piece * (512 * 1024 // len(piece))
    began_s = time.thread_time()
    title_of(page, HTML)
    title_of(page + b"</title>", HTML)
    title_of(page, "charset=" + 32 * 1024 * " ")
    assert time.thread_time() - began_s < 1.0


@given(st.binary(max_size=300), st.text(max_size=30))
def test_any_bytes_are_read(page: bytes, content_type: str) -> None:
    title = title_of(b"<title>" + page, content_type)
    assert len(title) <= TITLE_CHARACTERS_MAX
    assert title == " ".join(title.split())


@given(st.lists(st.sampled_from([b"</ti", b"tle", b"</TITLE", b"x", b"<", b"/title>"]), max_size=12))
def test_the_end_of_a_title_is_seen_in_any_pieces(pieces: list[bytes]) -> None:
    start, seen = bytearray(), False
    for piece in pieces:
        start += piece
        seen = seen or ends_title(start, len(piece))
    assert seen == (b"</title" in start.lower())
