"""How far a long command is: one line on stderr that is written over and over, on a terminal only."""

from __future__ import annotations

import sys
import time
from types import TracebackType

import click

__all__ = ["Progress", "count", "size"]

STEP_S = 0.2


class Progress:
    """`whole` is about how much there will be; 0: nobody knows."""

    def __init__(self, verb: str, unit: str, whole: float) -> None:
        self._verb = verb
        self._unit = unit
        self._whole = whole
        self._is_shown = sys.stderr.isatty()
        self._began_s = time.monotonic()
        self._shown_s = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._shown_s:
            click.echo("\r\033[K", nl=False, err=True)

    def update(self, done: float) -> None:
        """Shows it, a few times a second at most."""
        now_s = time.monotonic()
        if not self._is_shown or now_s - self._shown_s < STEP_S:
            return
        self._shown_s = now_s
        share = f" {min(1.0, done / self._whole):4.0%}" if self._whole else ""
        pace = done / max(0.001, now_s - self._began_s)
        click.echo(f"\r\033[K{self._verb}{share}  {done:,.0f} {self._unit}  {pace:,.0f}/s", nl=False, err=True)


def count(number: int, noun: str) -> str:
    """`1 document`, `12,000 documents`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(size_bytes: float) -> str:
    """`12.3 MB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size_bytes < 1000 or unit == "GB":
            return f"{size_bytes:.0f} bytes" if unit == "bytes" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    raise AssertionError
