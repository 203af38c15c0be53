"""`boltlink logs`: since when, over rotated files, from which level on, in the order of time, for machines."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.cli.follow import time_of
from tests.cli.command import boltlink
from tests.conftest import wait_for

ROOT = Path(__file__).parents[2]


def line(minutes_ago: float, event: str, level: str = "info") -> str:
    at = (datetime.now(UTC) - timedelta(minutes=minutes_ago)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": at, "level": level, "program": "web_0", "event": event}) + "\n"


def engine_line(minutes_ago: float) -> str:
    at = (datetime.now(UTC) - timedelta(minutes=minutes_ago)).isoformat(timespec="milliseconds")
    return json.dumps({"t": {"$date": at}, "s": "W", "msg": "slow"}) + "\n"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with logs of two programs, one of them rotated twice."""
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "web_0.log.2").write_text(line(300, "first"))
    os.utime(folder / "web_0.log.2", (time.time() - 300 * 60,) * 2)
    (folder / "web_0.log.1").write_text(line(90, "second") + line(50, "third", "error") + "  a line of its traceback\n")
    (folder / "web_0.log").write_text(line(30, "fourth") + line(10, "fifth"))
    (folder / "mongod.log").write_text(engine_line(20))
    return tmp_path


async def logs(state: Path, *words: str) -> list[str]:
    said = await boltlink("logs", *words, environ={"BOLTLINK_STATE_DIR": str(state)})
    assert said.status == 0, said.err
    return said.out.splitlines()


def events(lines: list[str]) -> list[str]:
    return [json.loads(text)["event"] for text in lines]


def test_since_reaches_into_rotated_files(state: Path) -> None:
    found = asyncio.run(logs(state, "web_0", "--since", "1h"))
    assert found[1] == "  a line of its traceback"
    assert events([found[0], *found[2:]]) == ["third", "fourth", "fifth"]
    moment = (datetime.now(UTC) - timedelta(minutes=100)).isoformat()
    assert events(asyncio.run(logs(state, "web_0", "--since", moment, "--json")))[:2] == ["second", "third"]


def test_programs_are_shown_in_the_order_of_time_and_engines_as_json(state: Path) -> None:
    found = [json.loads(text) for text in asyncio.run(logs(state, "--since", "40m", "--json"))]
    assert [(row["program"], row["event"]) for row in found] == [
        ("web_0", "fourth"),
        ("mongod", "slow"),
        ("web_0", "fifth"),
    ]
    assert events(asyncio.run(logs(state, "--level", "warning", "--since", "2h", "--json")))[0] == "third"


def test_so_many_lines_are_shown_and_none_where_none_are_wanted(state: Path) -> None:
    shown = [events(asyncio.run(logs(state, "web_0", "--json", "-n", count))) for count in ("0", "1", "9")]
    assert shown == [[], ["fifth"], ["fourth", "fifth"]]


@pytest.mark.parametrize("words", [["--since", "yesterday"], ["--level", "loud"], ["--since"], ["-n", "-5"]])
def test_wrong_times_are_wrong_usage(state: Path, words: list[str]) -> None:
    said = asyncio.run(boltlink("logs", *words, environ={"BOLTLINK_STATE_DIR": str(state)}))
    assert said.status == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12:M 25 Nov 2026 22:49:44.123 * Ready", datetime(2026, 11, 25, 22, 49, 44, 123_000).astimezone(UTC)),
        ("2026-11-25 22:49:44,123 INFO spawned", datetime(2026, 11, 25, 22, 49, 44).astimezone(UTC)),
        ('{"time": "2026-11-25T22:49:44Z"}', datetime(2026, 11, 25, 22, 49, 44, tzinfo=UTC)),
        ('{"time": 7}', None),
        ('{"t": 7}', None),
        ("Traceback", None),
    ],
)
def test_time_of_each_kind_of_line(text: str, expected: datetime | None) -> None:
    assert time_of(text) == expected


def _hear_interrupts() -> None:
    """A shell starts what goes on in the background deaf to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_followed_over_rotation_until_interrupted(state: Path) -> None:
    log = state / "log" / "web_0.log"
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "logs", "web_0", "-f", "-n", "1"],
        env={**os.environ, "BOLTLINK_STATE_DIR": str(state), "PYTHONUNBUFFERED": "1"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_interrupts,  # noqa: PLW1509  this process has one thread
    )
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["event"] == "fifth"
        with log.open("a") as file:
            file.write(line(0, "before"))
        assert json.loads(process.stdout.readline())["event"] == "before"
        log.rename(log.with_name("web_0.log.1"))
        log.write_text(line(0, "after"))
        assert json.loads(process.stdout.readline())["event"] == "after"
        process.send_signal(signal.SIGINT)
        wait_for(lambda: process.poll() is not None)
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
