"""A minute of the whole product under mixed traffic: nothing fails, grows or is lost, over three rolling reloads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(240)
def test_a_minute_of_mixed_traffic(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.soak", "--minutes", "1", "--rate", "200", "--links", "5000"]
    command += ["--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=220, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert (tmp_path / "soak.json").exists()
    assert "FAULT" not in done.stdout
