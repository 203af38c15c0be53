"""Puts tables where docs/performance.md shows them: between two comments that name the command.

In: Markdown. Out: the page, with that part replaced. May import: machine.
"""

from __future__ import annotations

import re
from pathlib import Path

from bench.machine import ROOT

__all__ = ["PERFORMANCE", "put_table"]

PERFORMANCE = ROOT / "docs" / "performance.md"


def put_table(name: str, text: str, page: Path = PERFORMANCE) -> None:
    """Replaces what stands between `<!-- NAME -->` and `<!-- end -->`. Ends the program where they are missing."""
    before = page.read_text()
    part = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
    after, count = part.subn(lambda match: f"{match[1]}\n{text.strip()}\n\n{match[2]}", before)
    if count != 1:
        raise SystemExit(f"{page} has {count} places for {name}")
    page.write_text(after)
