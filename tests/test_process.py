"""The skeleton of programs, in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.conftest import wait_for

PROGRAM = """
import asyncio, sys
from app.observe import get_logger
from app.process import run_program

async def main(settings, name, stop):
    get_logger().info("at work", port=settings.port)
    if name == "breaks":
        raise RuntimeError("no way on\\nand more")
    await stop.wait()

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
