"""Heads differ, are what browsers send, and links are asked for as often as a case says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import h11
import pytest

from app.front.head import plain, plain_or_close
from bench.heads import HEADS, browser_heads, permutation, write_heads, write_numbers, zipf

REQUEST_LINE = b"GET /b1 HTTP/1.1\r\n"


def test_there_are_more_than_a_thousand_heads_and_none_twice() -> None:
    heads = browser_heads()
    assert len(set(heads)) == len(heads) == HEADS >= 1_000


@pytest.mark.parametrize("by_proxy", [False, True])
def test_every_head_is_plain(by_proxy: bool) -> None:
    assert all(plain(REQUEST_LINE + head) is not None for head in browser_heads(100, by_proxy=by_proxy))


def test_heads_that_close_say_so() -> None:
    for head in browser_heads(100, close=True):
        found = plain_or_close(REQUEST_LINE + head)
        assert found is not None
        assert found[2]


@pytest.mark.parametrize("by_proxy", [False, True])
def test_every_head_is_a_request_to_h11(by_proxy: bool) -> None:
    for head in browser_heads(50, by_proxy=by_proxy):
        parser = h11.Connection(h11.SERVER)
        parser.receive_data(REQUEST_LINE + head)
        assert isinstance(parser.next_event(), h11.Request)
        assert isinstance(parser.next_event(), h11.EndOfMessage)


def test_heads_are_the_same_in_every_run() -> None:
    assert browser_heads(20) == browser_heads(20)
    assert browser_heads(20) != browser_heads(20, seed=4)


def test_uniform_asks_for_every_link_once() -> None:
    assert sorted(permutation(1_000)) == list(range(1_000))
    assert list(permutation(1_000)) != list(range(1_000))


def test_zipf_asks_for_the_nth_link_an_nth_as_often_as_for_the_first() -> None:
    counts = [count for _, count in Counter(zipf(1_000, 200_000, exponent=1.0)).most_common(4)]
    assert counts[0] / counts[1] == pytest.approx(2.0, rel=0.1)
    assert counts[0] / counts[3] == pytest.approx(4.0, rel=0.1)


def test_files_hold_what_the_generator_reads(tmp_path: Path) -> None:
    write_heads(tmp_path / "heads", [b"Host: a\r\n\r\n", b"Host: bc\r\n\r\n"])
    assert (tmp_path / "heads").read_bytes() == b"\x0b\x00Host: a\r\n\r\n\x0c\x00Host: bc\r\n\r\n"
    write_numbers(tmp_path / "slugs", permutation(3))
    assert (tmp_path / "slugs").stat().st_size == 12
