"""Follows log files as they grow and rotate, and writes their lines for a terminal or for machines.

In: the folder of logs. Out: lines in the order they are found. On a terminal a line is `web_0  12:00:01 info  event
field=value`, engines from warning up; elsewhere it is written as it stands in its file.
A rotated file is recognised by its inode: the rest of the old one is read first. May import: click.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

__all__ = ["LEVELS", "Follower", "format_line", "last_lines"]

LEVELS = ("debug", "info", "warning", "error")
READ_MAX = 1024 * 1024
_COLOURS = {"warning": "yellow", "error": "red", "debug": "bright_black"}
_MONGOD_LEVELS = {"F": "error", "E": "error", "W": "warning"}
_ENGINES = ("redis", "mongod")
_PLAIN_FIELDS = ("time", "level", "program", "event", "exception")


@dataclass(slots=True)
class _File:
    path: Path
    descriptor: int
    inode: int
    rest: bytes = b""


class Follower:
    """Every log of a folder, or one program's.

    Args:
        programs: names to follow; None means all, also those that appear later.
        from_start: whether what is already there is read too.
    """

    def __init__(self, folder: Path, programs: list[str] | None = None, *, from_start: bool = False) -> None:
        self._folder = folder
        self._programs = programs
        self._files: dict[str, _File] = {}
        self._from_start = from_start
        self._look(from_start)

    def poll(self) -> Iterator[tuple[str, str]]:
        """(program, line) of everything new."""
        self._look(True)
        for program, file in list(self._files.items()):
            yield from self._read(program, file)
            if self._is_rotated(file):
                yield from self._read(program, file)
                os.close(file.descriptor)
                del self._files[program]

    def close(self) -> None:
        """Lets go of all files."""
        for file in self._files.values():
            os.close(file.descriptor)
        self._files.clear()

    def _look(self, from_start: bool) -> None:
        for path in sorted(self._folder.glob("*.log")):
            program = path.stem
            if program in self._files or (self._programs is not None and program not in self._programs):
                continue
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            if not from_start:
                os.lseek(descriptor, 0, os.SEEK_END)
            self._files[program] = _File(path, descriptor, os.fstat(descriptor).st_ino)

    def _read(self, program: str, file: _File) -> Iterator[tuple[str, str]]:
        while data := os.read(file.descriptor, READ_MAX):
            *lines, file.rest = (file.rest + data).split(b"\n")
            for line in lines:
                yield program, line.decode(errors="replace")

    def _is_rotated(self, file: _File) -> bool:
        try:
            status = file.path.stat()
        except FileNotFoundError:
            return True
        return status.st_ino != file.inode


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a log, at most `count` and READ_MAX bytes; none when there is no log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - READ_MAX))
            return [line.decode(errors="replace") for line in file.read().splitlines()[-count:]]
    except FileNotFoundError:
        return []


def format_line(program: str, line: str, *, level: str, is_terminal: bool) -> str | None:
    """A line for showing; None when it is below `level` or, on a terminal, an engine's small talk."""
    fields = _parse(line)
    found = _level_of(program, line, fields)
    least = level
    if is_terminal and program in _ENGINES and level in ("debug", "info"):
        least = "warning"
    if LEVELS.index(found) < LEVELS.index(least):
        return None
    if not is_terminal:
        return line
    name = click.style(f"{program:<11}", fg="cyan")
    if fields is None or "event" not in fields:
        return f"{name} {click.style(line, fg=_COLOURS.get(found))}"
    more = " ".join(f"{key}={_short(value)}" for key, value in fields.items() if key not in _PLAIN_FIELDS)
    shown = f"{name} {str(fields.get('time', ''))[11:19]} {click.style(f'{found:<7}', fg=_COLOURS.get(found))}"
    text = f"{shown} {fields['event']} {more}".rstrip()
    return f"{text}\n{fields['exception']}" if fields.get("exception") else text


def _parse(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None


def _level_of(program: str, line: str, fields: dict[str, Any] | None) -> str:
    if fields is not None:
        level = _MONGOD_LEVELS.get(str(fields.get("s"))) or str(fields.get("level", "info"))
        return level if level in LEVELS else "info"
    if program == "redis":
        return "warning" if " # " in line and "Warning" not in line and "Redis is starting" not in line else "info"
    words: dict[str, Callable[[str], bool]] = {
        "error": lambda text: " CRIT " in text or " ERRO " in text or "Traceback" in text,
        "warning": lambda text: " WARN " in text,
    }
    return next((level for level, test in words.items() if test(line)), "info")


def _short(value: Any) -> str:
    text = str(value)
    return json.dumps(text) if " " in text else text
