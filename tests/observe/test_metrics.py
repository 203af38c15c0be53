"""Metrics of all programs of a node, over deaths and restarts of single ones. Each program is a real process."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.observe import REDIRECT_EDGES_S, expect_programs
from app.observe.families import GAUGES

#: Calls methods of its Metrics as told by lines of JSON, and answers each.
PROGRAM = """
import json, sys
from pathlib import Path
from app.observe import Metrics
metrics = Metrics(sys.argv[1], Path(sys.argv[2]))
for line in sys.stdin:
    method, *arguments = json.loads(line)
    answer = getattr(metrics, method)(*arguments)
    print(json.dumps(answer.decode() if isinstance(answer, bytes) else None), flush=True)
"""


class Program:
    """One program of the node."""

    def __init__(self, folder: Path, name: str) -> None:
        command = [sys.executable, "-c", PROGRAM, name, str(folder)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, *call: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(call) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def samples(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(self.tell("exposition")):
            for sample in family.samples:
                labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return found

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


Start = Callable[[str], Program]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    programs: list[Program] = []

    def start(name: str) -> Program:
        programs.append(Program(tmp_path, name))
        return programs[-1]

    yield start
    for program in programs:
        if program.process.returncode is None:
            program.kill()


def test_plain_totals_become_counts_and_zeros_are_shown(start: Start) -> None:
    web = start("web_0")
    web.tell("count_to", "redirects", 0, "redirect")
    assert web.samples()["boltlink_redirects_total{outcome=redirect}"] == 0
    for total in (5, 5, 9):
        web.tell("count_to", "redirects", total, "redirect")
    assert web.samples()["boltlink_redirects_total{outcome=redirect}"] == 9


def test_latency_of_the_front_comes_out_as_a_histogram(start: Start) -> None:
    web = start("web_0")
    buckets = [0] * (len(REDIRECT_EDGES_S) + 1)
    buckets[0], buckets[-1] = 64, 128
    web.tell("count_latency", buckets, 200.5)
    buckets[0] = 640
    web.tell("count_latency", buckets, 201.0)
    found = web.samples()
    assert found["boltlink_redirect_seconds_count"] == 768
    assert found["boltlink_redirect_seconds_bucket{le=5e-06}"] == 640
    assert found["boltlink_redirect_seconds_sum"] == pytest.approx(201.0)


def test_each_program_shows_all(start: Start) -> None:
    programs = [start("web_0"), start("web_1"), start("aggregator")]
    for count, program in enumerate(programs, 1):
        program.tell("count_to", "journaled", count)
        program.tell("set", "connections", count)
        program.tell("set", "lag", count / 2)
        program.tell("on_request", "links", 200, 0.02)
    for program in programs:
        found = program.samples()
        assert found["boltlink_clicks_journaled_total"] == 6
        assert found["boltlink_connections"] == 6
        assert found["boltlink_aggregation_lag_seconds"] == 1.5
        assert found["boltlink_http_requests_total{route=links,status=200}"] == 3


def test_killed_program_counts_on_and_its_gauges_end_with_it(start: Start, tmp_path: Path) -> None:
    web, other = start("web_0"), start("web_1")
    for program in (web, other):
        program.tell("set", "connections", 5)
        program.tell("count_to", "journaled", 5)
    other.kill()
    found = web.samples()
    assert (found["boltlink_clicks_journaled_total"], found["boltlink_connections"]) == (10, 5)
    again = start("web_1")
    again.tell("count_to", "journaled", 7)
    again.tell("set", "connections", 1)
    found = web.samples()
    assert (found["boltlink_clicks_journaled_total"], found["boltlink_connections"]) == (17, 6)
    assert len(list(tmp_path.glob("counter_*.db"))) == 2


def test_what_the_kernel_knows_is_shown_of_those_that_live(start: Start, tmp_path: Path) -> None:
    web, other = start("web_0"), start("aggregator")
    before = time.time()
    other.tell("set", "lag", 0.5)
    found = web.samples()
    for program in ("web_0", "aggregator"):
        assert 5e6 < found[f"boltlink_process_memory_bytes{{program={program}}}"] < 500e6
        assert found[f"boltlink_process_open_files{{program={program}}}"] > 3
        assert found[f"boltlink_process_cpu_seconds_total{{program={program}}}"] > 0
        assert before - 60 < found[f"boltlink_process_start_time_seconds{{program={program}}}"] <= time.time()
    os.utime(tmp_path / "aggregator.alive", (1_000, 1_000))  # as it was noted then, wherever the kernel's clock is now
    assert web.samples()["boltlink_process_start_time_seconds{program=aggregator}"] == 1_000
    other.kill()
    assert "boltlink_process_memory_bytes{program=aggregator}" not in web.samples()


def test_programs_that_should_live_and_do_not_are_zero(start: Start, tmp_path: Path) -> None:
    """One that dies before it has metrics, such as by code that cannot be imported, is among them."""
    (tmp_path / "web_7.alive").touch()  # of a start with more processes
    (tmp_path / "counter_web_7.db").touch()
    expect_programs(tmp_path, ["web_0", "web_1", "rollup"])
    web, rollup = start("web_0"), start("rollup")
    rollup.tell("set", "rollup_active", 1)

    def up() -> dict[str, float]:
        return {name: value for name, value in web.samples().items() if name.startswith("boltlink_program_up")}

    program = "boltlink_program_up{program=%s}"
    assert up() == {program % "web_0": 1, program % "web_1": 0, program % "rollup": 1}
    rollup.kill()
    assert up() == {program % "web_0": 1, program % "web_1": 0, program % "rollup": 0}


def test_what_stands_still_is_shown_so_and_its_gauges_are_not(start: Start, tmp_path: Path) -> None:
    """A clock's step moves nothing of this; a sign of the process before it is none of a program that starts."""
    web, other = start("web_0"), start("aggregator")
    other.tell("set", "lag", 0.0)
    silent, lag = "boltlink_program_silent_seconds{program=aggregator}", "boltlink_aggregation_lag_seconds"
    seen = []
    for pid, age_s in ((None, 0.0), (other.process.pid, 2.0), (other.process.pid, 3600.0), (1, 3600.0)):
        if pid is not None:
            sign = struct.pack("=qd", pid, time.monotonic() - age_s)
            (tmp_path / "aggregator.beat").write_bytes(sign)
        found = web.samples()
        seen.append(
            (int(found.get(silent, -1.0)) // 60, lag in found, found["boltlink_program_up{program=aggregator}"])
        )
    assert seen == [(-1, True, 1.0), (0, True, 1.0), (60, False, 1.0), (-1, True, 1.0)]
    expect_programs(tmp_path, ["web_0"])
    assert not (tmp_path / "aggregator.beat").exists()


def test_disk_holds_all_that_values_may_take(start: Start, tmp_path: Path) -> None:
    """A store into a page that a full disk cannot give would kill the process: no file has a hole, and none grows."""
    web = start("web_0")
    for route in range(60):
        for status in (200, 401, 404, 422, 503):
            web.tell("on_request", f"a-route-of-usual-length-{route}", status, 0.01)
    for key, family in GAUGES.items():
        web.tell("set", key, 1.0, *family.labels)
    sizes = {path.name: path.stat().st_size for path in tmp_path.glob("*.db")}
    assert len(sizes) == 5
    assert all(path.stat().st_blocks * 512 >= sizes[path.name] for path in tmp_path.glob("*.db"))
    other = start("web_1")
    other.tell("set", "store_members", 1.0, "redis")
    assert {path.name: path.stat().st_size for path in tmp_path.glob("*web_1.db")} == {
        name.replace("web_0", "web_1"): size for name, size in sizes.items()
    }


#: Logs into a pipe that nobody reads, under two levels one after another.
TALKER = """
import os, sys
from pathlib import Path
from app.observe import Metrics, configure_logs, get_logger
metrics, pipe = Metrics("web_0", Path(sys.argv[1])), os.pipe()[1]
for level in ("info", "warning"):
    writer = configure_logs("web_0", level, pipe)
    while writer.dropped < 3:
        get_logger().warning("x" * 1000)
metrics.count_told()
print(metrics.exposition().decode())
"""


def test_lines_that_found_no_room_are_counted_over_changes_of_the_level(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TALKER, str(tmp_path)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "boltlink_log_lines_dropped_total 6.0" in shown


def test_gauge_that_nobody_set_is_not_shown(start: Start) -> None:
    web = start("web_0")
    assert "boltlink_aggregation_lag_seconds" not in web.samples()
    web.tell("set", "store_up", 1, "redis")
    assert web.samples()["boltlink_store_up{store=redis}"] == 1


@pytest.mark.parametrize(
    "damage", ids=range(4), argvalues=[b"\xff" * 64, b"\x40" + b"\x00" * 7 + b"\xff" * 56, b"\x01", b""]
)
def test_damaged_values_of_a_program_do_not_stop_it(start: Start, tmp_path: Path, damage: bytes) -> None:
    first = start("web_1")
    first.tell("count_to", "journaled", 5)
    first.kill()
    (path,) = tmp_path.glob("counter_web_1.db")
    path.write_bytes(damage)
    again = start("web_1")
    again.tell("count_to", "journaled", 7)
    assert again.samples()["boltlink_clicks_journaled_total"] == 7
