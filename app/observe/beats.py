"""When the loop of each program last came round: its sign of life, by a clock that no step moves.

    FOLDER/NAME.beat   pid, then CLOCK_MONOTONIC in seconds, which is one for all processes of a machine and stands
                       still while that sleeps; 16 bytes in this machine's order

Written by its program once a second (`app.process`) into a map, as metrics are, so that no disk is waited for. A
program that dies leaves it, and its pid tells. Where it cannot be made there is no sign, which says nothing.
May import: the standard library.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

__all__ = ["BEAT", "SILENT_S", "Beat", "LastBeat", "last_beat"]

BEAT = ".beat"
#: Then it stands still: three times as long as a loop may hang before its own watching thread ends it (`app.process`).
SILENT_S = 30.0
_FORM = struct.Struct("=qd")


class LastBeat(NamedTuple):
    """Of which process, and when by `time.monotonic`."""

    pid: int
    at_s: float


class Beat:
    """That of this process; nothing is written before there is the folder."""

    def __init__(self, folder: Path, program: str) -> None:
        self._path = folder / f"{program}{BEAT}"
        self._map: mmap.mmap | None = None

    def beat(self) -> None:
        """Now."""
        if self._map is None:
            with suppress(OSError):  # no folder, or a full disk: it is tried again
                self._map = self._open()
        if self._map is not None:
            _FORM.pack_into(self._map, 0, os.getpid(), time.monotonic())

    def _open(self) -> mmap.mmap:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, _FORM.size)
            return mmap.mmap(descriptor, _FORM.size)
        finally:
            os.close(descriptor)


def last_beat(folder: Path, program: str) -> LastBeat | None:
    """What a program, or one of its name before it, has left; None where there is nothing."""
    try:
        return LastBeat(*_FORM.unpack((folder / f"{program}{BEAT}").read_bytes()))
    except (OSError, struct.error):
        return None
