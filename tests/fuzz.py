"""`make fuzz`: a million mutated streams against h11, half of them on the interpreted front, half on the compiled one.

`python -m tests.fuzz [--inputs N] [--minutes M] [--seed S]`. Both run at once, with seeds that are printed;
a find is printed as tests/corpus/found.txt wants it, and the exit status is 1. Without a C compiler all of it runs
interpreted.
"""

from __future__ import annotations

import argparse
import secrets
import subprocess
import sys
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)

from tests.run import ROOT, build

SHOWN_EVERY_S = 15.0


def main() -> int:
    """Starts both and waits for them; or is one of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--only", choices=["interpreted", "compiled"], help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.only:
        return run_one(wanted.only, wanted.seed, wanted.inputs, wanted.minutes)
    kinds = ["interpreted", "compiled"] if build() else ["interpreted"]
    if len(kinds) == 1:
        print("no C compiler: the compiled front is not fuzzed")
    children = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.fuzz", "--only", kind, "--seed", str(wanted.seed + number)),
                *("--inputs", str(wanted.inputs // len(kinds)), "--minutes", str(wanted.minutes)),
            ],
            cwd=ROOT,
        )
        for number, kind in enumerate(kinds)
    ]
    return max(child.wait() for child in children)


def run_one(kind: str, seed: int, inputs: int, minutes: float) -> int:
    """Fuzzes in this process; nothing of the front was imported before."""
    if kind == "interpreted":
        prefer_sources()
    from app.front import connection
    from tests.front.fuzzing import Found, Report, fuzz

    assert connection.__file__.endswith(".py") == (kind == "interpreted"), connection.__file__
    shown_s = 0.0

    def show(report: Report) -> None:
        nonlocal shown_s
        if report.inputs == 0 or report.seconds - shown_s >= SHOWN_EVERY_S:
            shown_s = report.seconds
            print(f"{kind}, seed {seed}: {report.inputs:,} of {inputs:,} in {report.seconds:.0f} s", flush=True)

    try:
        report = fuzz(seed, inputs=inputs, seconds=minutes * 60, progress=show)
    except Found as found:
        print(f"{kind}: {found}", flush=True)
        return 1
    print(
        f"{kind}, seed {seed}: {report.inputs:,} streams in {report.seconds:.0f} s, no difference; "
        f"{report.answered:,} got an answer that is no error, {report.fast:,} needed no h11",
        flush=True,
    )
    return 0


def prefer_sources() -> None:
    """Makes this process import a module's source where a compiled one lies beside it."""
    loaders = (
        (SourceFileLoader, SOURCE_SUFFIXES),
        (ExtensionFileLoader, EXTENSION_SUFFIXES),
        (SourcelessFileLoader, BYTECODE_SUFFIXES),
    )
    sys.path_hooks.insert(0, FileFinder.path_hook(*loaders))
    sys.path_importer_cache.clear()


if __name__ == "__main__":
    sys.exit(main())
