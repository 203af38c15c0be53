"""Reads `tests/corpus/*.txt`: streams of clients, each with a name and what is answered (tests/corpus/README.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["CORPUS", "OK", "Case", "cases", "read_cases", "write_case"]

CORPUS = Path(__file__).resolve().parents[1] / "corpus"
OK = b"GET /abc7 HTTP/1.1\r\nHost: s.example\r\n\r\n"
_MACROS = {"\\ok": OK, "\\get": OK[:-2], "\\post": b"POST /api/x HTTP/1.1\r\nHost: s.example\r\n"}
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|([rnt0\\])|\((.*?)\*([0-9]+)\))")
_BYTES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}


@dataclass(frozen=True)
class Case:
    """One stream; `verdict` is what stands behind `->`."""

    name: str
    theme: str
    raw: bytes
    verdict: str


@cache
def cases() -> tuple[Case, ...]:
    """Every case of every file, in order."""
    return tuple(
        case for path in sorted(CORPUS.glob("*.txt")) for case in read_cases(path.read_text("utf-8"), path.stem)
    )


def write_case(name: str, raw: bytes, verdict: str) -> str:
    """A stream as the files have it."""
    shown = raw.decode("latin-1").replace("\\", "\\\\")
    for byte, letter in (("\0", "\\0"), ("\t", "\\t")):
        shown = shown.replace(byte, letter)
    lines = shown.split("\r\n")
    lines = [re.sub(r"[^ -~]", lambda match: _show(match[0]), line) for line in lines]
    text = "\n".join(lines) if lines[-1] == "" else "\n".join(lines) + "\\\n"
    return f"=== {name} -> {verdict}\n{text}"


def _show(char: str) -> str:
    return {"\r": "\\r", "\n": "\\n"}.get(char, f"\\x{ord(char):02x}")


def read_cases(text: str, theme: str) -> list[Case]:
    """The cases of one file."""
    found = []
    for block in re.split(r"^=== ", text, flags=re.MULTILINE)[1:]:
        title, *lines = block.split("\n")
        if lines and lines[-1] == "":
            lines.pop()  # the end of the last line, no line of its own
        while lines and lines[0].startswith("#"):
            del lines[0]
        name, _, verdict = title.partition(" -> ")
        found.append(Case(name, theme, b"".join(map(_line, lines)), verdict))
    return found


def _line(text: str) -> bytes:
    if text in _MACROS:
        return _MACROS[text]
    ends = re.search(r"(?<!\\)(?:\\\\)*\\\Z", text) is None
    return _unescape(text if ends else text[:-1]) + (b"\r\n" if ends else b"")


def _unescape(text: str) -> bytes:
    out, position = b"", 0
    for match in _ESCAPE.finditer(text):
        out += text[position : match.start()].encode("ascii")
        position = match.end()
        if match[1]:
            out += bytes([int(match[1], 16)])
        elif match[2]:
            out += _BYTES[match[2]]
        else:
            out += _unescape(match[3]) * int(match[4])
    assert "\\" not in text[position:], f"not an escape: {text!r}"
    return out + text[position:].encode("ascii")
