"""A process learns whether the one before it died of its journal, once."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, sys
from pathlib import Path
from app.journal import note_faults
print(note_faults(Path(sys.argv[1])), flush=True)
if sys.argv[2] != "0":
    os.kill(os.getpid(), int(sys.argv[2]))
"""


def run(path: Path, number: int) -> tuple[str, int]:
    command = [sys.executable, "-c", PROGRAM, str(path), str(number)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip(), done.returncode


def test_a_bus_error_is_known_to_the_next_process_and_to_no_other(tmp_path: Path) -> None:
    path = tmp_path / "web_0.faults"
    assert run(path, 0) == ("False", 0)
    assert run(path, signal.SIGBUS) == ("False", -signal.SIGBUS)
    assert run(path, signal.SIGSEGV) == ("True", -signal.SIGSEGV)
    assert run(path, signal.SIGKILL) == ("False", -signal.SIGKILL)
    assert run(path, 0) == ("False", 0)
