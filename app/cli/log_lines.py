"""The programs' log files: followed over rotation, and made readable for a person.

In: `<state>/log/NAME.log`, which supervisord writes and rotates (NAME.log -> NAME.log.1). Out: lines, in order per
program. Read in chunks with a limit, so that a follower that was away for long does not hold a log in memory.
For a person the three formats (ours and mongod's JSON, Redis's text) become one, and control characters are shown,
not sent to the terminal. May import: the standard library.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

__all__ = ["ENGINES", "Follower", "Line", "last_lines", "read_line"]

ENGINES = frozenset({"redis", "mongod"})
CHUNK_BYTES = 256 * 1024  # per program and step
TAIL_BYTES = 1024 * 1024  # where `-n` looks for the last lines
_OURS = frozenset({"time", "level", "program", "event"})
_MONGOD_LEVELS = {"F": "error", "E": "error", "W": "warning", "I": "info"}
_REDIS = re.compile(r"^\d+:\w (?P<time>\d+ \w+ \d{4} (?P<clock>[\d:]{8})\S*) (?P<mark>[.\-*#]) (?P<text>.*)$")


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `clock` is HH:MM:SS as the program wrote it, "" when it wrote none."""

    program: str
    clock: str
    level: str
    text: str

    @property
    def is_for_people(self) -> bool:
        """Engines speak to people only from warning up, and not of their habits at start."""
        return self.program not in ENGINES or self.level in ("warning", "error")


def read_line(program: str, raw: str) -> Line:
    """Understands one line of one program; what it does not understand stays as it is."""
    try:
        fields = json.loads(raw)
    except ValueError:
        fields = None
    if isinstance(fields, dict) and "event" in fields:
        return _read_ours(program, fields)
    if isinstance(fields, dict) and isinstance(fields.get("t"), dict):
        return _read_mongod(program, fields)
    if match := _REDIS.match(raw):
        level = "warning" if match["mark"] == "#" else "info"
        return Line(program, match["clock"], level, _visible(match["text"]))
    return Line(program, "", "warning" if program in ENGINES else "info", _visible(raw))


def _read_ours(program: str, fields: dict[str, Any]) -> Line:
    rest = " ".join(f"{name}={_value(value)}" for name, value in fields.items() if name not in _OURS)
    text = f"{fields['event']}  {rest}" if rest else str(fields["event"])
    return Line(program, str(fields.get("time", ""))[11:19], str(fields.get("level", "info")), _visible(text))


def _read_mongod(program: str, fields: dict[str, Any]) -> Line:
    level = _MONGOD_LEVELS.get(str(fields.get("s")), "info")
    if "startupWarnings" in (fields.get("tags") or ()):
        level = "info"  # about a mongod that is open to a network, which this one is not
    attributes = fields.get("attr") or {}
    error = attributes.get("error") if isinstance(attributes, dict) else None
    text = str(fields.get("msg", "")) + (f": {_value(error)}" if error else "")
    return Line(program, str(fields["t"].get("$date", ""))[11:19], level, _visible(text))


def _value(value: Any) -> str:
    return value if isinstance(value, str) and value and " " not in value else json.dumps(value, ensure_ascii=False)


def _visible(text: str) -> str:
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def last_lines(path: Path, count: int) -> list[str]:
    """The last whole lines of a log, at most `count` and at most TAIL_BYTES of them; none when there is no log."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            start = max(0, file.tell() - TAIL_BYTES)
            file.seek(start)
            lines = file.read().splitlines()
    except FileNotFoundError:
        return []
    whole = lines[1:] if start else lines
    return [line.decode("utf-8", "replace") for line in whole[-count:]] if count else []


class Follower:
    """Reads what is appended to the logs of a folder, from now on. `step` never waits."""

    def __init__(self, folder: Path, only: str | None = None) -> None:
        self._folder = folder
        self._pattern = f"{only}.log" if only else "*.log"
        self._open: dict[str, _Tail] = {}
        for program, path in self._logs():
            self._open[program] = _Tail(path, at_end=True)

    def step(self) -> Iterator[tuple[str, str]]:
        """(program, line) for each whole line that came since the last step."""
        for program, path in self._logs():
            if program not in self._open:
                self._open[program] = _Tail(path, at_end=False)
            for line in self._open[program].lines():
                yield program, line.decode("utf-8", "replace")

    def close(self) -> None:
        """Closes all files."""
        for tail in self._open.values():
            tail.close()

    def _logs(self) -> Iterator[tuple[str, Path]]:
        for path in sorted(self._folder.glob(self._pattern)):
            if path.stem not in ("supervisord", "start"):
                yield path.stem, path


class _Tail:
    """One log: read to its end, then, when it was rotated away, its successor from the beginning."""

    def __init__(self, path: Path, *, at_end: bool) -> None:
        self._path = path
        self._rest = b""
        self._file: FileIO | None = None
        self._reopen(at_end=at_end)

    def lines(self) -> list[bytes]:
        data = self._read()
        if not data and self._was_rotated():
            self._reopen(at_end=False)
            data = self._read()
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > CHUNK_BYTES:  # no line is that long: shown in pieces
            whole.append(self._rest)
            self._rest = b""
        return whole

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read(self) -> bytes:
        return self._file.read(CHUNK_BYTES) if self._file is not None else b""

    def _was_rotated(self) -> bool:
        if self._file is None:
            return True
        try:
            now = self._path.stat()
        except FileNotFoundError:
            return False  # between its renaming and its successor
        then = os.fstat(self._file.fileno())
        return (now.st_dev, now.st_ino) != (then.st_dev, then.st_ino) or now.st_size < self._file.tell()

    def _reopen(self, *, at_end: bool) -> None:
        self.close()
        try:
            self._file = FileIO(self._path)
        except FileNotFoundError:
            return
        if at_end:
            self._file.seek(0, os.SEEK_END)

