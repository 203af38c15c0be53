"""What happens to clicks behind the journal: `python -m bench.clicks [--figure NAME] [--json] [--docs]`.

    folding    read and folded by one core                  bench/clicks/folding.py
    stored     at 50,000 a second, Zipf(1.1)                the others in bench/clicks/figures.py
    uniform    the largest rate over 10 million links
    visible    from redirect to statistics under 10,000 redirects a second
    memory     of the aggregator over a backlog of 1 GiB of unique links and agents
    catch-up   with a backlog of 1 GiB while 10,000 redirects a second are answered
    hostile    lag while one client makes everything up

Each figure but the first runs in a tree as `boltlink up` makes it, on both CPUs. Kept in bench/results/clicks.json.
May import: all of bench.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from bench.clicks.figures import FIGURES, fill_links
from bench.clicks.folding import measure_folding
from bench.clicks.tables import table
from bench.machine import keep_json, machine_line, read_kept
from bench.pages import put_table
from bench.tree import running_tree

KEPT = "clicks"
FOLDING = "folding"


def main(words: Sequence[str] | None = None) -> int:
    """Measures what is named, keeps it beside what was measured before, and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.clicks", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--figure", action="append", choices=(FOLDING, *FIGURES), help="this one; all by default")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--docs", action="store_true", help="put the table into docs/performance.md as well")
    parser.add_argument("--report", action="store_true", help="measure nothing, show what is kept")
    options = parser.parse_args(words)
    kept: dict[str, Any] = read_kept(KEPT)
    for name in () if options.report else options.figure or (FOLDING, *FIGURES):
        print(f"{name} …", file=sys.stderr, flush=True)
        kept[name] = {"machine": machine_line(), "found": _measure(name)}
        keep_json(KEPT, kept)
    if options.docs:
        put_table("bench.clicks", table(kept))
    print(json.dumps(kept) if options.json else table(kept))
    return 0


def _measure(name: str) -> Any:
    if name == FOLDING:
        return measure_folding()
    with running_tree() as tree:
        fill_links(tree)
        return FIGURES[name](tree)


if __name__ == "__main__":
    sys.exit(main())
