"""The bench of jobs does them all, and shows its rates."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def test_few_jobs_are_enqueued_done_and_shown() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.jobs", "--jobs", "60"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    assert re.search(r"^enqueued +\d+/s\ndone +\d+/s +\d+ µs of CPU each", done.stdout), done.stdout
