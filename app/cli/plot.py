"""How counts over time look in a terminal: a bar a line while they fit on a screen, columns when there are more.

In: labels and counts. Out: `Text`; rich leaves its colours out where there is no terminal. Pure. May import: rich.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

__all__ = ["BARS_MAX", "COLOUR", "bar", "bars", "columns", "grouped", "spark"]

BARS_MAX = 62  # two months of days
BAR_CHARACTERS = 40
COLUMN_ROWS = 8
COLOUR = "cyan"
_EIGHTHS_WIDE = " ▏▎▍▌▋▊▉"
_EIGHTHS_HIGH = " ▁▂▃▄▅▆▇█"


def bar(value: int, most: int) -> str:
    """A bar of at most BAR_CHARACTERS, in eighths of a character."""
    eighths = round(value / most * BAR_CHARACTERS * 8)
    return "█" * (eighths // 8) + _EIGHTHS_WIDE[eighths % 8].strip()


def bars(labels: Sequence[str], values: Sequence[int]) -> Text:
    """A line for each value."""
    most = max(values, default=0) or 1
    text = Text()
    for label, value in zip(labels, values, strict=True):
        drawn = bar(value, most)
        text.append(f"{label}  ").append(drawn, COLOUR).append(f"{'  ' if drawn else ''}{value}\n")
    return text


def columns(labels: Sequence[str], values: Sequence[int], width: int) -> Text:
    """Columns of COLUMN_ROWS lines, as many as fit into `width`: each is the sum of as many values as it takes."""
    margin = len(str(sum(values))) + 2
    sums = grouped(values, max(1, width - margin))
    most = max(sums, default=0) or 1
    text = Text()
    for row in reversed(range(COLUMN_ROWS)):
        mark = str(most) if row == COLUMN_ROWS - 1 else "0" if row == 0 else ""
        text.append(f"{mark:>{margin - 2}}  ").append(_row(sums, most, row), COLOUR).append("\n")
    gap = max(2, len(sums) - len(labels[0]) - len(labels[-1]))
    return text.append(f"{' ' * margin}{labels[0]}{' ' * gap}{labels[-1]}\n")


def spark(values: Sequence[int]) -> str:
    """One character a value."""
    most = max(values, default=0) or 1
    return "".join(_EIGHTHS_HIGH[_eighths(value, most, 8)] for value in values)


def grouped(values: Sequence[int], count_max: int) -> list[int]:
    """At most `count_max` sums of as many neighbours each; the last may have fewer."""
    size = -(-len(values) // count_max)
    return [sum(values[at : at + size]) for at in range(0, len(values), size or 1)]


def _row(values: Sequence[int], most: int, row: int) -> str:
    heights = (_eighths(value, most, COLUMN_ROWS * 8) - row * 8 for value in values)
    return "".join(_EIGHTHS_HIGH[min(8, max(0, height))] for height in heights).rstrip()


def _eighths(value: int, most: int, whole: int) -> int:
    """How high; whatever is not nothing is seen."""
    return max(round(value / most * whole), 1 if value else 0)
