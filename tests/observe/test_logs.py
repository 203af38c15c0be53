"""Log lines: whole, never waited for, never lost without a count."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from app.observe import configure_logs, get_logger
from app.observe.logs import LineWriter

PIPE_BYTES_MAX = 1 << 20


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    os.close(reader)
    os.close(writer)


@pytest.fixture
def _logs_restored() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:], logging.root.level = handlers, level
    structlog.reset_defaults()


def read_all(reader: int) -> bytes:
    found = b""
    while True:
        try:
            part = os.read(reader, PIPE_BYTES_MAX)
        except BlockingIOError:
            return found
        if not part:
            return found
        found += part


@pytest.mark.usefixtures("_logs_restored")
def test_line_has_time_level_program_event_then_fields(pipe: tuple[int, int]) -> None:
    configure_logs("web_0", "info", pipe[1])
    get_logger().info("started", port=8000)
    line: dict[str, Any] = json.loads(read_all(pipe[0]))
    assert list(line) == ["time", "level", "program", "event", "port"]
    assert (line["level"], line["program"], line["event"], line["port"]) == ("info", "web_0", "started", 8000)
    assert len(line["time"]) == len("2026-11-24T03:12:00.123Z")


@pytest.mark.usefixtures("_logs_restored")
def test_lines_below_the_level_are_not_written(pipe: tuple[int, int]) -> None:
    configure_logs("web_0", "warning", pipe[1])
    get_logger().info("small talk")
    get_logger().warning("heard")
    assert [json.loads(line)["event"] for line in read_all(pipe[0]).splitlines()] == ["heard"]


@pytest.mark.usefixtures("_logs_restored")
def test_libraries_that_use_logging_come_out_as_the_same_lines(pipe: tuple[int, int]) -> None:
    configure_logs("web_0", "info", pipe[1])
    logging.getLogger("pymongo").error("lost %s", "it")
    line = json.loads(read_all(pipe[0]))
    assert (line["level"], line["event"], line["logger"]) == ("error", "lost it", "pymongo")


@pytest.mark.usefixtures("_logs_restored")
def test_line_break_in_a_value_does_not_break_the_line(pipe: tuple[int, int]) -> None:
    configure_logs("web_0", "info", pipe[1])
    get_logger().info("odd", value='a\nb"c\x1b[31m')
    (line,) = read_all(pipe[0]).splitlines()
    assert json.loads(line)["value"] == 'a\nb"c\x1b[31m'


def test_full_pipe_drops_lines_whole_and_counts_them(pipe: tuple[int, int]) -> None:
    writer = LineWriter(pipe[1])
    written = 0
    while not writer.dropped:
        writer.write({"n": written, "padding": "x" * 300})
        written += 1
        assert written < PIPE_BYTES_MAX
    received = read_all(pipe[0])
    writer.write({"n": written})
    received += read_all(pipe[0])
    lines = [json.loads(line) for line in received.splitlines()]
    assert lines[-1] == {"n": written, "lines_dropped": writer.dropped}
    assert len(lines) + writer.dropped == written + 1
    numbers = [line["n"] for line in lines]
    assert numbers == sorted(set(numbers))


def test_nobody_reading_is_no_error() -> None:
    reader, descriptor = os.pipe()
    os.close(reader)
    LineWriter(descriptor).write({"event": "unheard"})
    os.close(descriptor)
