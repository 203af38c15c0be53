"""Programs are loaded without what they never use and without looking for cycles, and run with both."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROBE = """
import gc, json, sys

def is_there(name):
    try:
        __import__(name)
    except ModuleNotFoundError:
        return False
    return True

HIDDEN = ("opentelemetry", "rich", "yaml")
import app.main
spared = [name for name in ("cryptography.x509", "jwt") if name in sys.modules]
while_loading = [gc.isenabled(), *map(is_there, HIDDEN)]

if __name__ == "__main__":
    from app.launch import settle
    settle()
    running = [gc.isenabled(), *map(is_there, HIDDEN)]
    print(json.dumps([spared, while_loading, running, gc.get_freeze_count() > 0, sys.argv[1:]]))
    sys.exit(7)
"""


def test_a_program_is_loaded_without_and_runs_with_them(tmp_path: Path) -> None:
    (tmp_path / "probe.py").write_text(PROBE)
    done = subprocess.run(
        [sys.executable, "-m", "app.launch", "probe", "an argument"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert json.loads(done.stdout) == [
        [],
        [False, False, False, False],
        [True, True, True, True],
        True,
        ["an argument"],
    ]


def test_every_program_of_ours_but_engines_and_memmon_is_launched_so() -> None:
    files = [ROOT / "supervisord.conf", *(ROOT / "etc" / "supervisor").glob("*.conf")]
    modules = [
        module for file in files for module in re.findall(r"^command=.* -m (.+)$", file.read_text(), re.MULTILINE)
    ]
    plain = [module for module in modules if not module.startswith("app.launch ")]
    assert {module.split()[0] for module in plain} == {"workers.memmon", "app.stores.embedded"}
    assert len(modules) - len(plain) == 7
