"""Runs the tests twice: the hot path interpreted, with everything; then compiled, with the tests that reach it.

Between them runs `tests/chaos`, which loads the machine and measures how soon a killed program serves again: so it has
the machine to itself, its scenes side by side.

`python -m tests.run [pytest's arguments]`. Both runs test the same source: for the first, the compiled modules are
removed; for the second they are built afresh, so that an edit is never tested by yesterday's build. Without a C
compiler the second run is left out, and says so.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHAOS = "tests/chaos"
WAITING = "3"  # at once: tests of the whole tree wait for programs half of the time
IN_ORDER = ["--dist", "loadscope", "--no-loadscope-reorder"]  # a file after the other, as tests/conftest.py has them
HOT_TESTS = ["tests/front", "tests/journal", "tests/redirect"]


def build() -> bool:
    """Compiles in place; False where that is not possible."""
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    return bool(built())


def built() -> list[Path]:
    """The compiled modules."""
    return sorted((ROOT / "app").rglob("*.so"))


def pytest(arguments: list[str]) -> int:
    """One run; its exit status."""
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=ROOT, check=False).returncode


def main(arguments: list[str]) -> int:
    """All runs; the first failure's exit status."""
    for module in built():
        module.unlink()
    if arguments:
        status = pytest(["-n", "2", *arguments])
        build()
        return status
    status = pytest(["-n", WAITING, *IN_ORDER, f"--ignore={CHAOS}"]) or pytest(
        ["-n", "2", "--maxschedchunk", "1", "-s", CHAOS]
    )
    if status:
        build()
        return status
    if not build():
        print("no C compiler: the compiled hot path was not tested")
        return 0
    print(f"compiled: {', '.join(str(path.relative_to(ROOT)) for path in built())}")
    return pytest(["-n", "2", *HOT_TESTS])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
