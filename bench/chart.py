"""Bars of all cases in one picture, where matplotlib is installed (the extra `bench`).

In: case -> row -> runs. Out: a PNG. May import: cases, report.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path

from bench.cases import CASES, Case
from bench.report import Rows, base_of, ratios

__all__ = ["draw"]

COLOURS = {"boltlink compiled": "#1f6f43", "boltlink interpreted": "#74b48f"}
OTHERS = "#9aa5b1"


def draw(results: Mapping[str, Rows], path: Path) -> str:
    """Draws; returns why not, when it cannot."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415  an extra
    except ImportError:
        return "no chart: matplotlib is not installed (pip install -c constraints.txt -e '.[bench]')"
    cases = [case for case in CASES if any(_bars(case, results.get(case.name, {})))]
    if not cases:
        return "no chart: nothing was measured"
    figure = Figure(
        figsize=(9, 0.9 + sum(0.5 + 0.24 * len(results[case.name]) for case in cases)), layout="constrained"
    )
    axes = figure.subplots(len(cases), 1, squeeze=False, height_ratios=[1 + len(results[case.name]) for case in cases])
    for case, (axis,) in zip(cases, axes, strict=True):
        bars = _bars(case, results[case.name])
        names, values = [row for row, *_ in bars], [value for _, value, *_ in bars]
        errors = [[value - least for _, value, least, _ in bars], [most - value for _, value, _, most in bars]]
        colours = [next((c for name, c in COLOURS.items() if row.startswith(name)), OTHERS) for row in names]
        axis.barh(names, values, color=colours, xerr=errors, error_kw={"elinewidth": 0.8})
        axis.axvline(1.0, color="black", linewidth=0.6, linestyle=":")
        axis.invert_yaxis()
        axis.set_title(f"{case.title} (x by {case.by})", loc="left", fontsize=9)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    return ""


def _bars(case: Case, rows: Rows) -> list[tuple[str, float, float, float]]:
    """(row, median, least, most) of the ratios."""
    bars = []
    for row, runs in rows.items():
        base = base_of(case, row, rows)
        values = ratios(case.by, runs, rows[base]) if base else []
        if values:
            bars.append((row, statistics.median(values), min(values), max(values)))
    return bars
