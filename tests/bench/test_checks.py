"""The bench of checks walks over links, looks at pages, and shows what both cost."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def test_few_links_are_walked_over_looked_at_and_shown() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.checks", "--links", "300", "--looks", "100"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    each = r"+\d+/s +\d+ µs of CPU each, mongod +\d+ µs"
    assert re.search(rf"^round {each}\n +\d+ links a step\nlooks {each}", done.stdout), done.stdout
