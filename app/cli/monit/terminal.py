"""The keyboard of a terminal, key by key, without a library of windows: five keys need none.

In: a terminal. Out: names of keys. The terminal is as it was afterwards, however it ends. May import: the standard
library.
"""

from __future__ import annotations

import os
import re
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["keyboard", "read_keys"]

BYTES_MAX = 4096  # what a terminal keeps for who reads it
_KEY = re.compile(r"\x1b[\[O][0-9;]*.|.", re.DOTALL)
_NAMES = {"\x1b[A": "up", "\x1bOA": "up", "k": "up", "\x1b[B": "down", "\x1bOB": "down", "j": "down"}
_NAMES |= {"\x1b": "escape", "\x03": "q", "\x04": "q"}
_MOVES = ("up", "down")


@contextmanager
def keyboard() -> Iterator[int]:
    """Keys come as they are pressed, and are not shown; the terminal's descriptor."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield descriptor
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def read_keys(descriptor: int, limit_s: float) -> list[str]:
    """Keys in order, each its letter, or up, down, escape; none if none came within `limit_s`. q, too, when the
    terminal is gone. Of what was pressed at once, nothing follows a key that is no move: it would be answered on a page
    that nobody has seen."""
    if not select.select([descriptor], [], [], limit_s)[0]:
        return []
    data = os.read(descriptor, BYTES_MAX)
    if not data:
        return ["q"]
    keys = []
    for key in _KEY.findall(data.decode("utf-8", "replace")):
        keys.append(_NAMES.get(key, key))
        if keys[-1] not in _MOVES:
            break
    return keys
