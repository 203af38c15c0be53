"""Follows log files as they grow and rotate, and writes their lines for a terminal or for machines.

In: the folder of logs. Out: lines in the order they are found. On a terminal a line is `web_0  12:00:01 info  event
field=value`, engines from warning up; elsewhere it is written as it stands in its file.
A rotated file is recognised by its inode: the rest of the old one is read first. One that became shorter was emptied:
it is read from its start. May import: click, cli.plain.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from app.cli.plain import plain

__all__ = ["LEVELS", "Follower", "as_json", "format_line", "last_lines", "lines_since", "time_of"]

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
    """Every log of a folder, or one program's, from now on.

    Args:
        programs: names to follow; None means all, also those that appear later.
    """

    def __init__(self, folder: Path, programs: list[str] | None = None) -> None:
        self._folder = folder
        self._programs = programs
        self._files: dict[str, _File] = {}
        self._look(from_start=False)

    def poll(self) -> Iterator[tuple[str, str]]:
        """(program, line) of everything new."""
        self._look(from_start=True)
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

    def _look(self, *, from_start: bool) -> None:
        """Opens what is not open yet: a log that appears later is new from its first line on."""
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
        if os.fstat(file.descriptor).st_size < os.lseek(file.descriptor, 0, os.SEEK_CUR):
            os.lseek(file.descriptor, 0, os.SEEK_SET)
            file.rest = b""
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
            lines = file.read().splitlines()
            return [line.decode(errors="replace") for line in lines[max(0, len(lines) - count) :]]
    except FileNotFoundError:
        return []


def lines_since(path: Path, moment: datetime) -> Iterator[str]:
    """The lines of a log that were written at `moment` or later, those of its rotated files first.

    A line without a time, such as one of a traceback, belongs to the one before it.
    """
    rotated = sorted(path.parent.glob(f"{path.name}.[0-9]*"), key=lambda old: int(old.suffix[1:]), reverse=True)
    is_late = False
    for file in [*rotated, path]:
        try:
            if file.stat().st_mtime < moment.timestamp():
                continue
            with file.open("rb") as lines:
                for raw in lines:
                    line = raw.decode(errors="replace").rstrip("\n")
                    at = time_of(line)
                    is_late = is_late if at is None else at >= moment
                    if is_late:
                        yield line
        except FileNotFoundError:
            continue  # rotated away just now


def time_of(line: str) -> datetime | None:
    """When a line was written, by its own word: ours, mongod's, Redis's or supervisord's."""
    fields = _parse(line)
    try:
        if fields is not None:
            text = fields.get("time") or fields.get("t", {}).get("$date")
            at = datetime.fromisoformat(text) if text else None
            return at.astimezone(UTC) if at is not None else None
        if match := re.match(r"\d+:[A-Z] (\d\d \w{3} \d{4} \d\d:\d\d:\d\d)\.(\d{3}) ", line):  # this machine's time
            return datetime.strptime(f"{match[1]}.{match[2]}", "%d %b %Y %H:%M:%S.%f").astimezone(UTC)
        if match := re.match(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d{3} ", line):
            return datetime.fromisoformat(match[1]).astimezone(UTC)
    except (ValueError, TypeError, AttributeError):
        return None
    return None


def as_json(program: str, line: str, *, level: str) -> str | None:
    """A line as one JSON object, whoever wrote it; None when it is below `level`."""
    fields = _parse(line)
    found = _level_of(program, line, fields)
    if LEVELS.index(found) < LEVELS.index(level):
        return None
    if fields is not None and "event" in fields:
        return line
    at = time_of(line)
    told = {"time": None if at is None else at.isoformat(), "level": found, "program": program}
    return json.dumps(
        {
            **told,
            "event": line if fields is None else str(fields.get("msg", "")),
            **({} if fields is None else {"fields": fields}),
        }
    )


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
        return f"{name} {click.style(plain(line), fg=_COLOURS.get(found))}"
    more = " ".join(f"{key}={_short(value)}" for key, value in fields.items() if key not in _PLAIN_FIELDS)
    shown = f"{name} {str(fields.get('time', ''))[11:19]} {click.style(f'{found:<7}', fg=_COLOURS.get(found))}"
    text = f"{shown} {plain(str(fields['event']))} {plain(more)}".rstrip()
    return f"{text}\n{plain(str(fields['exception']))}" if fields.get("exception") else text


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
