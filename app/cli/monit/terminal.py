"""The keyboard of a terminal, one key at a time, without a library of windows: five keys need none.

In: a terminal. Out: names of keys. The terminal is as it was afterwards, however it ends. May import: the standard
library.
"""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["keyboard", "read_key"]

BYTES_MAX = 64
_NAMES = {b"\x1b[A": "up", b"\x1bOA": "up", b"k": "up", b"\x1b[B": "down", b"\x1bOB": "down", b"j": "down"}
_NAMES |= {b"\x1b": "escape", b"\x03": "q", b"\x04": "q"}


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


def read_key(descriptor: int, limit_s: float) -> str:
    """A key: its letter, or up, down, escape; "" when none came within `limit_s`. q, too, when the terminal is gone."""
    if not select.select([descriptor], [], [], limit_s)[0]:
        return ""
    data = os.read(descriptor, BYTES_MAX)
    if not data:
        return "q"
    if data[:1] != b"\x1b":
        data = data[:1]  # keys that were pressed meanwhile would be answered on a page that is gone
    return _NAMES.get(data, data.decode("utf-8", "replace"))
