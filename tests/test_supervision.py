"""supervisord, as BoltLink runs it, starts again what was killed at once, and is in no hurry with what dies at once."""

from __future__ import annotations

import configparser
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest

from app.supervision import STEADY_S
from tests.conftest import wait_for

KILLS = 5
KILLS_S = 3.0  # supervisor alone waits a second after each
FULL_BYTES = 800
GIVEN_UP_AFTER = 4  # tries, by supervisor alone
HASTY_STARTS_MAX = 20  # in KILLS_S; without a pause it would be some hundreds
CONFIGURATION = """
[supervisord]
nodaemon=true
silent=true
%s
logfile=supervisord.log
logfile_maxbytes=%d
pidfile=supervisord.pid
[program:only]
command=%s
startsecs=0
autorestart=true
redirect_stderr=true
stdout_logfile=%s
"""


ROOT = Path(__file__).parents[1]
PARTS = (ROOT / "supervisord.conf", *sorted((ROOT / "etc" / "supervisor").glob("*.conf")))


@pytest.mark.parametrize("path", PARTS, ids=lambda path: path.name)
def test_programs_of_the_tree_are_started_alike(path: Path) -> None:
    """By a Python whose path may hold spaces, from the folder that is the release now, and told to end by SIGTERM."""
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";",))
    parser.read(path)
    programs = [parser[name] for name in parser.sections() if name.startswith(("program:", "eventlistener:"))]
    assert programs
    for program in programs:
        assert program["command"].startswith('"%(ENV_BOLTLINK_PYTHON)s" -m ')
        assert program["directory"] == ("%(here)s" if path.parent == ROOT else "%(here)s/../..")
        assert (program["startsecs"], program["stopsignal"]) == ("0", "TERM")
        assert program["autorestart"] == ("unexpected" if "exitcodes" in program else "true")


@contextmanager
def supervised(
    folder: Path, command: str, *within: str, log_bytes_max: int = 1_000_000, program_log: str = "NONE"
) -> Iterator[psutil.Process]:
    """supervisord with one program; `within` is a command that starts it in some way."""
    user = "user=root" if os.geteuid() == 0 else ""
    (folder / "supervisord.conf").write_text(CONFIGURATION % (user, log_bytes_max, command, program_log))
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [*within, sys.executable, "-m", "app.supervision", "-c", "supervisord.conf"]
    with (folder / "err").open("wb") as errors:
        process = subprocess.Popen(words, cwd=folder, env=environ, stderr=errors)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        assert process.wait(30) == 0


def steady(supervisor: psutil.Process) -> int:
    """The pid of the program that lives; 0 while none does."""
    for child in supervisor.children():
        try:
            if child.name() == "sleep" and child.status() != psutil.STATUS_ZOMBIE:
                return int(child.pid)
        except psutil.NoSuchProcess:
            continue
    return 0


def is_replaced(supervisor: psutil.Process, pid: int) -> bool:
    return steady(supervisor) not in (0, pid)


def test_killed_program_is_started_at_once_and_a_hang_up_restarts_none(tmp_path: Path) -> None:
    waited_s = 0.0
    with supervised(tmp_path, "sleep 1000") as supervisor:
        for _ in range(KILLS):
            pid = wait_for(partial(steady, supervisor))
            time.sleep(STEADY_S + 0.1)  # by this clock: when a process began, the kernel says to a second
            os.kill(pid, signal.SIGKILL)
            begun = time.monotonic()
            wait_for(partial(is_replaced, supervisor, pid))
            waited_s += time.monotonic() - begun
        log, pid = tmp_path / "supervisord.log", steady(supervisor)
        supervisor.send_signal(signal.SIGHUP)
        wait_for(lambda: "boltlink reload" in log.read_text())
        assert steady(supervisor) == pid
    assert waited_s < KILLS_S


def test_program_that_dies_at_once_is_not_hurried(tmp_path: Path) -> None:
    def starts() -> int:
        log = tmp_path / "supervisord.log"
        return log.read_text().count("spawned: 'only'") if log.exists() else 0

    with supervised(tmp_path, "true"):
        wait_for(lambda: starts() > 1)
        until, before = time.monotonic() + KILLS_S, starts()
        wait_for(lambda: time.monotonic() > until)
        assert 0 < starts() - before < HASTY_STARTS_MAX


def test_disk_that_is_full_ends_nothing(tmp_path: Path) -> None:
    """No file may grow beyond FULL_BYTES, neither the log, which would rotate a little later, nor stderr."""
    log, marks = tmp_path / "supervisord.log", tmp_path / "marks"

    def starts() -> int:
        return marks.stat().st_size if marks.exists() else 0

    limit, program = ("prlimit", f"--fsize={FULL_BYTES}:unlimited"), "sh -c 'printf x >>marks'"
    with supervised(tmp_path, program, *limit, log_bytes_max=FULL_BYTES + 200) as supervisor:
        wait_for(lambda: log.exists() and log.stat().st_size >= FULL_BYTES)
        before = starts()
        wait_for(lambda: starts() > before + 2)
        psutil.Process(supervisor.pid).rlimit(psutil.RLIMIT_FSIZE, (-1, -1))
        wait_for((tmp_path / "supervisord.log.1").exists)


def test_program_whose_log_cannot_be_had_is_started_and_its_log_is_made_again(tmp_path: Path) -> None:
    logs, away = tmp_path / "logs", tmp_path / "away"
    logs.mkdir()
    log, command = logs / "only.log", "sh -c 'echo begins; exec sleep 1000'"
    with supervised(tmp_path, command, program_log=str(log)) as supervisor:
        pid = wait_for(partial(steady, supervisor))
        wait_for(lambda: log.read_text() == "begins\n")
        logs.rename(away)
        os.kill(pid, signal.SIGKILL)
        wait_for(partial(is_replaced, supervisor, pid))
        away.rename(logs)
        for _ in range(2):
            log.unlink(missing_ok=True)
            pid = steady(supervisor)
            os.kill(pid, signal.SIGKILL)
            wait_for(partial(is_replaced, supervisor, pid))
            wait_for(lambda: log.exists() and log.read_text() == "begins\n")
        (tmp_path / "supervisord.log").unlink()
        supervisor.send_signal(signal.SIGHUP)
        wait_for((tmp_path / "supervisord.log").exists)


def test_program_that_cannot_be_started_is_never_given_up(tmp_path: Path) -> None:
    log = tmp_path / "supervisord.log"
    with supervised(tmp_path, "sleep 1000") as supervisor:
        pid = wait_for(partial(steady, supervisor))
        limits = supervisor.rlimit(psutil.RLIMIT_NOFILE)
        supervisor.rlimit(psutil.RLIMIT_NOFILE, (supervisor.num_fds(), limits[1]))  # none for the program's pipes
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: log.read_text().count("too many open files") > GIVEN_UP_AFTER, limit_s=60)
        supervisor.rlimit(psutil.RLIMIT_NOFILE, limits)
        wait_for(partial(is_replaced, supervisor, pid))
        assert "gave up" not in log.read_text()
