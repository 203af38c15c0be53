"""Memory and descriptors of each program over time, in one picture, where matplotlib is installed (the extra `bench`).

In: samples. Out: a PNG. May import: gauge.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.soak.gauge import ENGINES, Sample

__all__ = ["draw"]


def draw(samples: Sequence[Sample], path: Path) -> str:
    """Draws; returns why not, when it cannot."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415  an extra
    except ImportError:
        return "no chart: matplotlib is not installed (pip install -c constraints.txt -e '.[bench]')"
    figure = Figure(figsize=(9, 9), layout="constrained")
    ours, engines, descriptors = figure.subplots(3, 1, sharex=True)
    for name in sorted({sample.name for sample in samples}):
        own = [sample for sample in samples if sample.name == name]
        minutes = [sample.at_s / 60 for sample in own]
        axis = engines if name in ENGINES else ours
        axis.plot(minutes, [sample.memory / 1e6 for sample in own], label=name, linewidth=1)
        descriptors.plot(minutes, [sample.descriptors for sample in own], label=name, linewidth=1)
    for axis, title in ((ours, "memory of programs, MB"), (engines, "memory of engines, MB"), (descriptors, "files")):
        axis.set_title(title, loc="left", fontsize=9)
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=7, ncols=4, frameon=False)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    descriptors.set_xlabel("minutes", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return ""
