"""Structured logs: one JSON object a line on stdout, which supervisord keeps in `<state>/log/PROGRAM.log`.

    {"time": "2026-11-24T03:12:00.123Z", "level": "info", "program": "web_0", "event": "started", …}

Writing never blocks a program: a line that a full pipe does not take at once is dropped and counted, and the count is
part of the next line that gets through. No secret and no client address is ever logged.
May import: structlog.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any

import structlog

__all__ = ["LineWriter", "configure_logs", "get_logger"]

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


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
        line = self._rest + json.dumps(fields, default=str, ensure_ascii=False).encode() + b"\n"
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


def configure_logs(program: str, level: str, descriptor: int = 1) -> LineWriter:
    """Sends the logs of this process, also those of libraries, to `descriptor` from `level` on."""
    writer = LineWriter(descriptor)

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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
