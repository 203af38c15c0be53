"""What memmon watches."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from app.observe import SILENT_S, last_beat
from app.settings import Settings
from app.tree import Tree
from tests.conftest import wait_for
from workers.memmon import StillWatch, groups

ROOT = Path(__file__).resolve().parents[2]


def test_every_program_but_engines_is_watched(tmp_path: Path) -> None:
    environ = {"BOLTLINK_STATE_DIR": str(tmp_path), "BOLTLINK_MEMORY_LIMIT": "64MB"}
    tree = Tree(Settings.from_environ({**environ, "BOLTLINK_BACKUP_DIR": str(tmp_path / "backups")}))
    text = "".join(path.read_text() for path in (ROOT / "supervisord.conf", *(ROOT / "etc" / "supervisor").iterdir()))
    programs = set(re.findall(r"^\[program:(\w+)\]$", text, re.MULTILINE))
    assert groups(tree) == dict.fromkeys(programs - {"redis", "mongod"}, 64_000_000)


PROGRAM = """
import sys, time
from pathlib import Path
from app.observe import Beat
sign = Beat(Path(sys.argv[1]), "rollup")
while True:
    if not Path(sys.argv[1], "silent").exists():
        sign.beat()
    time.sleep(0.01)
"""


def test_what_is_stopped_is_found_at_the_second_look_and_what_only_gives_no_sign_is_not(tmp_path: Path) -> None:
    program = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path)])
    late = StillWatch(tmp_path, lambda: time.monotonic() + SILENT_S)
    try:
        wait_for(lambda: last_beat(tmp_path, "rollup"))
        os.kill(program.pid, signal.SIGSTOP)
        wait_for(lambda: psutil.Process(program.pid).status() == psutil.STATUS_STOPPED)
        assert [late.is_still("rollup", program.pid) for _ in range(2)] == [False, True]
        assert not late.is_still("rollup", os.getpid())  # it died, and another one has not begun
        soon = StillWatch(tmp_path, time.monotonic)
        assert [soon.is_still("rollup", program.pid) for _ in range(2)] == [False, False]
        before = last_beat(tmp_path, "rollup")
        os.kill(program.pid, signal.SIGCONT)
        wait_for(lambda: last_beat(tmp_path, "rollup") != before)
        assert not late.is_still("rollup", program.pid)
        (tmp_path / "silent").touch()
        wait_for(lambda: _is_steady(tmp_path))
        assert [late.is_still("rollup", program.pid) for _ in range(3)] == [False, False, False]
    finally:
        program.kill()
        program.wait()
    assert not late.is_still("rollup", program.pid)


def _is_steady(folder: Path) -> bool:
    """Whether no sign comes any more: thirty times as long as between two."""
    last = last_beat(folder, "rollup")
    return last is not None and time.monotonic() - last.at_s > 0.3


@pytest.mark.parametrize("content", [b"", b"short"])
def test_a_sign_that_cannot_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rollup.beat").write_bytes(content)
    assert last_beat(tmp_path, "rollup") is None
    assert last_beat(tmp_path, "announcer") is None
