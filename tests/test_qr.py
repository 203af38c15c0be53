"""QR codes: a drawing shows what its rows say, and every short URL has room."""

from __future__ import annotations

import re

import pytest

from app.qr import QUIET, TEXT_BYTES_MAX, draw_svg, encode

TEXT = "https://sho.rt/" + "abcdefghijklmnopqrstuvwxyz0123456789-_" * 10


def test_the_smallest_version_that_holds_it_is_taken() -> None:
    assert [len(encode(TEXT[:size])) for size in (14, 15, 180, 181, TEXT_BYTES_MAX)] == [21, 25, 53, 57, 73]
    longest = "https://" + "d" * 253 + ":65535/" + "s" * 64
    assert len(longest) <= TEXT_BYTES_MAX


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than 362 bytes"):
        encode("ä" * 182)


def test_a_drawing_shows_every_module_and_the_quiet_zone() -> None:
    rows, svg = encode(TEXT[:30]), draw_svg(TEXT[:30])
    size = len(rows) + 2 * QUIET
    assert f'viewBox="0 0 {size} {size}"' in svg
    assert f'<path fill="#fff" d="M0 0h{size}v{size}h-{size}z"/>' in svg
    (path,) = re.findall(r'<path stroke="#000" d="([^"]*)"/>', svg)
    dark, x, y = set[tuple[int, int]](), 0.0, 0.0
    for command, numbers in re.findall(r"([Mmh])([-\d. ]+)", path):
        found = [float(number) for number in numbers.split()]
        if command == "h":
            dark |= {(int(y) - QUIET, int(x) - QUIET + step) for step in range(int(found[0]))}
            x += found[0]
        else:
            x, y = (found[0], found[1]) if command == "M" else (x + found[0], y + found[1])
    assert dark == {(y, x) for y, row in enumerate(rows) for x, is_dark in enumerate(row) if is_dark}
