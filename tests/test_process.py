"""The skeleton of programs, in processes of its own, and of work that one of many does."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from pymongo.errors import AutoReconnect

from app.process import refuse_second, work_by_lease
from app.stores import LEASES, Lease
from tests.conftest import Stores, wait_for, wait_until

PROGRAM = """
import asyncio, sys, time
from app import process
from app.observe import get_logger
from app.process import run_program

async def main(settings, name, stop):
    get_logger().info("at work", port=settings.port)
    if name == "breaks":
        raise RuntimeError("no way on\\nand more")
    if name == "hangs":
        time.sleep(60)
    if name == "steady":  # many times as long as it may hang, but it never does
        await asyncio.sleep(1.5)
        return
    await stop.wait()

if sys.argv[1] in ("hangs", "steady"):
    process.HANG_S, process.ALIVE_S = 0.5, 0.1

sys.exit(run_program(sys.argv[1], main))
"""


def start(name: str, output: Path, **environ: str) -> subprocess.Popen[bytes]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("BOLTLINK_", "SUPERVISOR_"))}
    with output.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, name], env={**clean, **environ}, stdout=file, stderr=subprocess.STDOUT
        )


def lines(output: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.read_text().splitlines()]


def test_there_are_never_two_of_a_program(tmp_path: Path) -> None:
    refuse_second(tmp_path, "rollup")
    with pytest.raises(RuntimeError, match=f"another rollup runs on {tmp_path}"):
        refuse_second(tmp_path, "rollup")
    refuse_second(tmp_path, "announcer")


def test_told_to_stop_it_ends_with_0_and_says_so(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        output = tmp_path / f"{number}"
        process = start("web_7", output, BOLTLINK_PORT="8123")
        wait_for(lambda output=output: b"at work" in output.read_bytes())  # type: ignore[misc]
        process.send_signal(number)
        assert process.wait(10) == 0
        first, last = lines(output)
        assert (first["program"], first["level"], first["event"], first["port"]) == ("web_7", "info", "at work", 8123)
        assert str(first["time"]).endswith("Z")
        assert last["event"] == "stopped"


def test_name_comes_from_supervisor(tmp_path: Path) -> None:
    process = start("breaks", tmp_path / "out", SUPERVISOR_PROCESS_NAME="web_3")
    wait_for(lambda: b"at work" in (tmp_path / "out").read_bytes())
    process.terminate()
    assert process.wait(10) == 0
    assert lines(tmp_path / "out")[0]["program"] == "web_3"


def test_failure_is_status_1_with_its_reason_in_one_line(tmp_path: Path) -> None:
    assert start("breaks", tmp_path / "out").wait(10) == 1
    last = lines(tmp_path / "out")[-1]
    assert (last["event"], last["level"], last["reason"]) == ("failed", "error", "no way on")
    assert "RuntimeError" in str(last["exception"])


def test_wrong_setting_is_one_line_and_status_2(tmp_path: Path) -> None:
    assert start("web_0", tmp_path / "out", BOLTLINK_PORT="abc").wait(10) == 2
    (line,) = (tmp_path / "out").read_text().splitlines()
    assert line.startswith("BOLTLINK_PORT: 'abc' is not ")


def test_started_by_a_dead_supervisord_it_does_not_run(tmp_path: Path) -> None:
    run = tmp_path / "s" / "run"
    run.mkdir(parents=True)
    (run / "supervisord.pid").write_text("1")
    environ = {"SUPERVISOR_ENABLED": "1", "BOLTLINK_STATE_DIR": str(tmp_path / "s")}
    assert start("web_0", tmp_path / "out", **environ).wait(10) == 1
    (line,) = lines(tmp_path / "out")
    assert line["event"] == "not started"


def test_loop_that_hangs_is_ended_with_its_stack(tmp_path: Path) -> None:
    assert start("hangs", tmp_path / "out").wait(20) == 1
    said = (tmp_path / "out").read_text()
    assert "Timeout (0:00:00.5" in said
    assert 'File "<string>", line 12 in main' in said
    assert start("steady", tmp_path / "steady").wait(20) == 0


def test_hang_up_reads_the_level_of_logs_again(tmp_path: Path) -> None:
    settings = tmp_path / "settings"
    settings.write_text("BOLTLINK_LOG_LEVEL=info\n")
    process = start("web_0", tmp_path / "out", BOLTLINK_SETTINGS_FILE=str(settings))
    wait_for(lambda: b"at work" in (tmp_path / "out").read_bytes())
    for text, event, level in (
        ("BOLTLINK_LOG_LEVEL=loud\n", "settings not read again", "error"),
        ("BOLTLINK_LOG_LEVEL=warning\n", "settings read again", "warning"),
    ):
        settings.write_text(text)
        process.send_signal(signal.SIGHUP)
        wait_for(lambda event=event: event in {line["event"] for line in lines(tmp_path / "out")})  # type: ignore[misc]
        assert lines(tmp_path / "out")[-1]["level"] == level
    process.terminate()
    assert process.wait(10) == 0
    assert lines(tmp_path / "out")[-1]["event"] == "settings read again"  # "stopped" is below the level now


class Work:
    """Notes its steps; fails when told to."""

    def __init__(self, stores: Stores, holder: str) -> None:
        self.steps: list[str] = []
        self.stop = asyncio.Event()
        self.failures = 0
        self.lease = Lease(stores.database, "work", holder=holder, monotonic=time.monotonic)
        self.task = asyncio.create_task(work_by_lease(self.lease, self, self.stop, pause_s=0.001))

    async def open(self) -> None:
        self.steps.append("open")

    async def loop(self) -> bool:
        if self.failures:
            self.failures -= 1
            raise AutoReconnect("gone")
        if self.steps[-1] != "loop":
            self.steps.append("loop")
        return False

    async def drain(self) -> None:
        self.steps.append("drain")


def test_one_works_and_the_next_one_follows_when_it_ends(
    with_stores: Callable[[Callable[[Stores], Awaitable[None]]], None],
) -> None:
    async def scenario(stores: Stores) -> None:
        works = [Work(stores, "a"), Work(stores, "b")]
        first = await wait_until(lambda: next((work for work in works if "loop" in work.steps), None))
        assert first is not None
        (second,) = [work for work in works if work is not first]
        assert second.steps == []
        first.stop.set()
        await wait_until(lambda: "loop" in second.steps)
        await first.task
        assert first.steps == ["open", "loop", "drain"]
        second.stop.set()
        await second.task

    with_stores(scenario)


def test_work_is_opened_again_after_a_failure_and_after_its_lease_came_back(
    with_stores: Callable[[Callable[[Stores], Awaitable[None]]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario(stores: Stores) -> None:
        work = Work(stores, "a")
        await wait_until(lambda: work.steps == ["open", "loop"])
        work.failures = 2
        await wait_until(lambda: work.steps == ["open", "loop", "open", "open", "loop"])
        assert work.lease.epoch == 1
        await stores.database[LEASES].update_one({"_id": "work"}, [{"$set": {"holder": "x", "until": "$$NOW"}}])
        work.lease._renewed_s = 0.0  # as if a third of its life had passed
        await wait_until(lambda: work.steps[5:] == ["open", "loop"])
        work.stop.set()
        await work.task
        assert work.steps[7:] == ["drain"]

    with_stores(scenario)
    assert "lease lost" in capsys.readouterr().out
