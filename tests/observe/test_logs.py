"""Log lines: whole, never waited for, never lost without a count."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.observe import RotatedLog, configure_logs, get_logger
from app.observe.logs import BACKUPS, FILE_BYTES_MAX, LineWriter

PIPE_BYTES_MAX = 1 << 20


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    os.close(reader)
    os.close(writer)


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


def test_a_file_of_its_own_is_rotated_as_supervisord_would_and_nothing_is_lost(tmp_path: Path) -> None:
    log = RotatedLog(tmp_path / "access.log")
    padding = "x" * (FILE_BYTES_MAX // 3)
    count = 3 * BACKUPS
    for number in range(count):
        log.write([{"n": number, "padding": padding}])
    names = ["access.log", *(f"access.log.{number}" for number in range(1, BACKUPS + 1))]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    found = []
    for name in reversed(names):
        path = tmp_path / name
        assert path.stat().st_size <= FILE_BYTES_MAX
        assert path.stat().st_mode & 0o077 == 0
        found += [json.loads(line)["n"] for line in path.read_text().splitlines()]
    assert found == list(range(count))[-len(found) :]
    assert len(found) > 2 * BACKUPS


def test_a_program_that_starts_again_goes_on_in_its_file(tmp_path: Path) -> None:
    for number in range(2):
        RotatedLog(tmp_path / "access.log").write([{"n": number}])
    assert (tmp_path / "access.log").read_text() == '{"n": 0}\n{"n": 1}\n'


def test_what_a_full_disk_does_not_take_is_left_out_whole_and_counted(tmp_path: Path) -> None:
    log = RotatedLog(tmp_path / "access.log")
    log.write([{"n": 0}])
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (25, limits[1]))  # room for two and a half lines
    try:
        log.write([{"n": 1}, {"n": 2}, {"n": 3}])
        log.write([{"n": 4}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    log.write([{"n": 5}])
    lines = [json.loads(line) for line in (tmp_path / "access.log").read_text().splitlines()]
    assert [line["n"] for line in lines] == [0, 1, 5]
    assert sum(line.get("lines_dropped", 0) for line in lines) == 6 - len(lines)
