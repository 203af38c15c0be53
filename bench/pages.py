"""Where results go: the options that say so, and docs/performance.md, between two comments that name the command.

In: Markdown. Out: the page, with that part replaced. May import: machine.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from bench.machine import RESULTS, ROOT

__all__ = ["PERFORMANCE", "add_outputs", "put_table"]

PERFORMANCE = ROOT / "docs" / "performance.md"


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Options of a command that measures: where its results go."""
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results (default bench/results)")
    parser.add_argument("--docs", action="store_true", help="put what is shown into docs/performance.md as well")
    parser.add_argument("--json", action="store_true", help="for machines: all that was measured")


def put_table(name: str, text: str, page: Path = PERFORMANCE) -> None:
    """Replaces what stands between `<!-- NAME -->` and `<!-- end -->`. Ends the program where they are missing."""
    before = page.read_text()
    part = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
    after, count = part.subn(lambda match: f"{match[1]}\n{text.strip()}\n\n{match[2]}", before)
    if count != 1:
        raise SystemExit(f"{page} has {count} places for {name}")
    page.write_text(after)
