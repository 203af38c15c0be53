"""Logs followed over rotation, and their lines made readable."""

from __future__ import annotations

import json
from pathlib import Path

import click

from app.cli.follow import Follower, format_line, last_lines

OURS = json.dumps({"time": "2026-11-24T03:12:00.123Z", "level": "warning", "event": "slow store", "store": "redis"})
MONGOD_INFO = json.dumps({"t": {"$date": "2026-11-24T03:12:00.123+00:00"}, "s": "I", "msg": "Waiting"})


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_only_what_is_new_and_whole_is_read(tmp_path: Path) -> None:
    log = tmp_path / "web_0.log"
    append(log, "old\n")
    follower = Follower(tmp_path)
    assert list(follower.poll()) == []
    append(log, "new\nhal")
    assert list(follower.poll()) == [("web_0", "new")]
    append(log, "f\n")
    assert list(follower.poll()) == [("web_0", "half")]
    follower.close()


def test_nothing_is_lost_or_doubled_when_a_log_is_rotated(tmp_path: Path) -> None:
    log = tmp_path / "web_0.log"
    append(log, "")
    follower = Follower(tmp_path)
    append(log, "before\n")
    log.rename(tmp_path / "web_0.log.1")
    append(log, "after\n")
    found = [line for _ in range(3) for line in follower.poll()]
    assert found == [("web_0", "before"), ("web_0", "after")]
    follower.close()


def test_log_that_was_emptied_is_read_from_its_start(tmp_path: Path) -> None:
    log = tmp_path / "web_0.log"
    append(log, "a line that is longer than what comes\n")
    follower = Follower(tmp_path)
    append(log, "hal")
    assert list(follower.poll()) == []
    log.write_text("new\n")
    assert list(follower.poll()) == [("web_0", "new")]
    append(log, "more\n")
    assert list(follower.poll()) == [("web_0", "more")]
    follower.close()


def test_log_that_appears_later_is_read_from_its_start(tmp_path: Path) -> None:
    follower = Follower(tmp_path)
    append(tmp_path / "web_1.log", "first\n")
    assert list(follower.poll()) == [("web_1", "first")]
    follower.close()


def test_one_program_only(tmp_path: Path) -> None:
    follower = Follower(tmp_path, ["web_1"])
    append(tmp_path / "web_0.log", "a\n")
    append(tmp_path / "web_1.log", "b\n")
    assert list(follower.poll()) == [("web_1", "b")]
    follower.close()


def test_last_lines(tmp_path: Path) -> None:
    append(tmp_path / "a.log", "1\n2\n3\n")
    assert last_lines(tmp_path / "a.log", 2) == ["2", "3"]
    assert last_lines(tmp_path / "none.log", 2) == []


def test_machines_get_lines_as_they_are_and_people_readable_ones() -> None:
    assert format_line("web_0", OURS, level="info", is_terminal=False) == OURS
    shown = format_line("web_0", OURS, level="info", is_terminal=True)
    assert shown is not None
    assert click.unstyle(shown).split() == ["web_0", "03:12:00", "warning", "slow", "store", "store=redis"]


def test_people_do_not_see_the_small_talk_of_engines() -> None:
    assert format_line("mongod", MONGOD_INFO, level="info", is_terminal=True) is None
    assert format_line("mongod", MONGOD_INFO, level="info", is_terminal=False) == MONGOD_INFO


def test_what_strangers_wrote_into_a_log_is_no_command_to_the_terminal() -> None:
    text = "a\x1b]0;b\x07 \x9b31m\u202ec"
    fields = {"event": text, "level": "error", "path": text, "word": "\x1bc", "exception": f"{text}\nnext"}
    for line in (json.dumps(fields), text):
        shown = format_line("web_0", line, level="info", is_terminal=True)
        assert shown is not None
        assert not set("\x1b\x07\x9b\u202e") & set(click.unstyle(shown))
        assert "\x1b]" not in shown
    assert format_line("web_0", text, level="info", is_terminal=False) == text


def test_lines_below_the_level_are_left_out() -> None:
    assert format_line("web_0", OURS, level="error", is_terminal=False) is None
