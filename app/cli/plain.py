"""Text from elsewhere, such as a link's title or a line of a log, as a terminal may get it.

In: any text. Out: the same text, with U+FFFD for what a terminal or its reader could be fooled by: control characters
that begin a command to the terminal (ECMA-48; C1 ones too), and those that turn the order of the text around (Unicode's
UTS 55). What machines read, JSON and CSV, is never changed. Pure. May import: rich.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table

__all__ = ["PlainConsole", "plain", "show_table"]

WIDE = 100_000  # characters of a line that no terminal breaks

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """Text without what is no text; tabs and line ends stay."""
    return _UNSAFE.sub("\ufffd", text)


class PlainConsole(Console):
    """A console that shows text as it is: brackets in a target are no markup, and nothing in it is a command."""

    def __init__(self) -> None:
        super().__init__(markup=False, emoji=False, highlight=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich does; colours are no part of a segment's text."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=plain(segment.text))


def show_table(table: Table) -> None:
    """Prints a table: as wide as the terminal is, or in a pipe or file with a line for each row and nothing cut off."""
    console = PlainConsole()
    if not console.is_terminal:
        console.width = WIDE
    console.print(table)
