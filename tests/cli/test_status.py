"""`boltlink status` looks at programs that may end while it looks."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from app.cli.processes import _describe
from app.settings import Settings
from app.tree import Tree

PROGRAMS = 60  # so many that some end between two looks at them


@pytest.mark.parametrize("attempt", range(4))
def test_programs_that_end_meanwhile_are_shown_all_the_same(tmp_path: Path, attempt: int) -> None:
    tree = Tree(Settings.from_environ({"BOLTLINK_STATE_DIR": str(tmp_path)}))
    programs = [subprocess.Popen(["sleep", "60"]) for _ in range(PROGRAMS)]
    found = [
        {"name": f"web_{number}", "pid": program.pid, "statename": "RUNNING", "start": 1, "now": 2}
        for number, program in enumerate(programs)
    ]

    def end() -> None:
        for program in reversed(programs):
            program.kill()
            program.wait()

    ending = threading.Thread(target=end)
    ending.start()
    try:
        rows = _describe(tree, found)
    finally:
        ending.join()
    assert {row["name"] for row in rows} == {row["name"] for row in found}
