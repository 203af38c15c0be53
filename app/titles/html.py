"""The title of an HTML page, from how it begins. Pure, and linear in what it is given, whoever wrote it.

In: bytes and their Content-Type. Out: text in one line, at most TITLE_CHARACTERS_MAX; "" where there is none.

    where     the first <title> behind comments, scripts and styles; what follows its end is not looked at
    charset   of a byte order mark, the Content-Type, or a <meta> within META_BYTES; UTF-8 where none is named that is
              among ENCODINGS (a few of the WHATWG Encoding Standard's labels; Python's names take in far more)
    decoded   is the title alone: half a megabyte that is wrong in its charset takes 70 ms. In ENCODINGS 0x3C is "<" and
              part of no other character, but in ISO-2022-JP, where "</title" is no word

May import: the standard library.
"""

from __future__ import annotations

import codecs
import html
import re
import unicodedata

__all__ = ["TITLE_CHARACTERS_MAX", "ends_title", "title_of"]

TITLE_CHARACTERS_MAX = 500  # as the API takes them
META_BYTES = 1024
RAW_BYTES_MAX = 64 * TITLE_CHARACTERS_MAX  # white space, entities and other scripts are longer than what they show
OPENINGS_MAX = 2_000  # before a title that are passed over: 2 ms; half a megabyte of them takes 30
WIDE_BYTES_MAX = 64 * 1024  # of UTF-16 that are looked at: 5 ms
JOINERS = "\u200c\u200d"  # scripts and emoji need them
_END = b"</title"
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_CHARSET = re.compile(r"charset\s*=[\s\"']*([a-z0-9_:-]{1,40})", re.IGNORECASE | re.ASCII)
_OPENING = re.compile(rb"<(?:!--|(script|style|title)(?=[\s/>]))", re.IGNORECASE)
_ENDS = {
    b"": re.compile(rb"-->"),
    **{name: re.compile(rb"</" + name, re.IGNORECASE) for name in (b"script", b"style", b"title")},
}
#: WHATWG has windows-1252 for what calls itself Latin-1 or ASCII.
ENCODINGS = {
    **dict.fromkeys(("utf-8", "utf8"), "utf-8"),
    **dict.fromkeys(("iso-8859-1", "latin1", "us-ascii", "ascii", "windows-1252", "cp1252"), "windows-1252"),
    **{f"iso-8859-{n}": f"iso-8859-{n}" for n in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)},
    **{f"windows-125{n}": f"windows-125{n}" for n in (0, 1, 3, 4, 5, 6, 7, 8)},
    **{name: name for name in ("koi8-r", "koi8-u", "gbk", "gb18030", "big5", "euc-jp", "euc-kr", "iso-2022-jp")},
    **dict.fromkeys(("shift_jis", "shift-jis", "sjis"), "cp932"),
    "gb2312": "gbk",
    "iso-8859-9": "windows-1254",
}


def ends_title(start: bytearray, new: int) -> bool:
    """Whether the last `new` bytes of a page's start have brought the end of a title."""
    return _END in bytes(start[max(0, len(start) - new - len(_END)) :]).lower()


def title_of(start: bytes, content_type: str) -> str:
    """The title."""
    encoding, page = _encoding(start, content_type)
    at = 0
    for _ in range(OPENINGS_MAX):
        opening = _OPENING.search(page, at)
        if opening is None:
            break
        name = (opening[1] or b"").lower()
        inside = page.find(b">", opening.end()) + 1 if name else opening.end()
        end = _ENDS[name].search(page, inside) if inside else None
        if end is None:
            break
        if name == b"title":
            return _line(
                html.unescape(page[inside : min(end.start(), inside + RAW_BYTES_MAX)].decode(encoding, "replace"))
            )
        at = end.start() + 1
    return ""


def _encoding(start: bytes, content_type: str) -> tuple[str, bytes]:
    """The name of a page's encoding, and the page without its mark; UTF-16 as UTF-8, whose bytes can be searched."""
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            page = start[len(mark) :]
            wide = encoding != "utf-8"
            return "utf-8", page[:WIDE_BYTES_MAX].decode(encoding, "replace").encode() if wide else page
    named = _CHARSET.search(content_type) or _CHARSET.search(start[:META_BYTES].decode("latin-1"))
    return ENCODINGS.get(named[1].lower(), "utf-8") if named else "utf-8", start


def _line(text: str) -> str:
    """Without what controls a terminal or turns text around, white space as one blank, cut where it is too long."""
    words = " ".join("".join(char if char.isspace() or _is_shown(char) else "" for char in text).split())
    return words if len(words) <= TITLE_CHARACTERS_MAX else words[: TITLE_CHARACTERS_MAX - 1] + "…"


def _is_shown(char: str) -> bool:
    return char in JOINERS or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn")
