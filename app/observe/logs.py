"""Structured logs: one JSON object a line on stdout, which supervisord keeps in `<state>/log/PROGRAM.log`.

    {"time": "2026-11-24T03:12:00.123Z", "level": "info", "program": "web_0", "event": "started", …}

Writing never blocks a program: a line that a full pipe does not take at once is dropped and counted, and the count is
part of the next line that gets through. No secret is ever logged, and no client address but in the access log, where a
setting asks for it: a `RotatedLog`, which its program writes and rotates by itself, as supervisord would.
May import: structlog.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

__all__ = ["LineWriter", "RotatedLog", "configure_logs", "dropped_lines", "get_logger", "reason_of"]

FILE_BYTES_MAX = 20_000_000  # as supervisord.conf has it for the logs of programs
BACKUPS = 5
REASON_CHARACTERS_MAX = 200
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_configured: list[LineWriter] = []  # since the start of this process: a new level comes with a new writer


class LineWriter:
    """Writes whole lines to a descriptor without ever waiting.

    Attributes:
        dropped: lines that were not taken.
    """

    def __init__(self, descriptor: int) -> None:
        self.dropped = 0
        self._unreported = 0
        self._descriptor = descriptor
        self._rest = b""
        os.set_blocking(descriptor, False)

    def write(self, fields: dict[str, Any]) -> None:
        """One line."""
        if self._unreported:
            fields = {**fields, "lines_dropped": self._unreported}
        line = self._rest + _encode(fields)
        try:
            sent = os.write(self._descriptor, line)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # nobody reads any more; there is nowhere to say so
        if sent == 0 or (self._rest and sent < len(self._rest)):
            self._rest = self._rest[sent:]
            self.dropped += 1
            self._unreported += 1
        else:
            self._rest = line[sent:]
            self._unreported = 0


class RotatedLog:
    """A log file beside those of supervisord: lines of the same form, too many to go through its pipe.

        NAME.log   until FILE_BYTES_MAX, then it is NAME.log.1, and so on up to NAME.log.BACKUPS

    What the disk does not take is dropped, and counted in the next line that it takes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._size_bytes = 0
        self._dropped = 0

    def note_dropped(self, count: int) -> None:
        """Lines that were left out before they came here."""
        self._dropped += count

    def write(self, lines: Sequence[dict[str, Any]]) -> None:
        """Appends lines in one write."""
        if not lines:
            return
        first = {**lines[0], "lines_dropped": self._dropped} if self._dropped else lines[0]
        data = b"".join(_encode(line) for line in (first, *lines[1:]))
        try:
            self._make_room(len(data))
            written = os.write(self._descriptor, data)
        except OSError:
            self._dropped += len(lines)
            return
        self._size_bytes += written
        if written == len(data):
            self._dropped = 0
        else:  # the disk is full: the rest is given up, and so is the line that was begun
            self._dropped = data[written:].count(b"\n") + (0 if b"\n" in data[:written] else self._dropped)
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._size_bytes - written + data[:written].rfind(b"\n") + 1)
                self._size_bytes = os.fstat(self._descriptor).st_size

    def _make_room(self, size_bytes: int) -> None:
        """Opens the file, or another one when it is full."""
        if self._descriptor >= 0 and self._size_bytes and self._size_bytes + size_bytes > FILE_BYTES_MAX:
            os.close(self._descriptor)
            self._descriptor = -1
            for number in range(BACKUPS, 0, -1):
                older = self._path if number == 1 else _numbered(self._path, number - 1)
                with suppress(FileNotFoundError):
                    older.rename(_numbered(self._path, number))
        if self._descriptor < 0:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o600)
            self._size_bytes = os.fstat(self._descriptor).st_size


def configure_logs(program: str, level: str, descriptor: int = 1) -> LineWriter:
    """Sends the logs of this process, also those of libraries, to `descriptor` from `level` on."""
    writer = LineWriter(descriptor)
    _configured.append(writer)

    def emit(_: Any, method: str, fields: Any) -> str:
        event = fields.pop("event", "")
        exception = fields.pop("exception", None)
        line = {"time": _now(), "level": method, "program": program, "event": event, **fields}
        if exception is not None:
            line["exception"] = exception
        writer.write(line)
        raise structlog.DropEvent

    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.format_exc_info, emit],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_Handler()], level=max(_LEVELS[level], logging.WARNING), force=True)
    return writer


def dropped_lines() -> int:
    """How many lines of this process were dropped since its start."""
    return sum(writer.dropped for writer in _configured)


def reason_of(error: BaseException) -> str:
    """Why something failed, as one short line: without the whole reply that PyMongo adds to what MongoDB said."""
    said = str(error).partition(", full error")[0].partition("\n")[0]
    return said[:REASON_CHARACTERS_MAX] or type(error).__name__


def get_logger() -> Any:
    """A logger: `get_logger().info("event", field=…)`."""
    return structlog.get_logger()


class _Handler(logging.Handler):
    """Libraries that use `logging` come out as the same lines."""

    def emit(self, record: logging.LogRecord) -> None:
        method = {"WARNING": "warning", "ERROR": "error", "CRITICAL": "error"}.get(record.levelname, "info")
        try:
            getattr(get_logger(), method)(record.getMessage(), logger=record.name, exc_info=record.exc_info or None)
        except Exception:
            sys.stderr.write("a log line could not be written\n")


def _encode(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, default=str, ensure_ascii=False).encode() + b"\n"


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
