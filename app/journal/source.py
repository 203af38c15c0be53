"""Folders of sources: who writes one, whether it lives, which segments it has.

In: `<state>/journal`. Out: a new source with its lock held, or the list of sources with their liveness.

    <state>/journal/<source>/lock           held (flock) by the web process for as long as it lives
    <state>/journal/<source>/00000003.seg   a segment, made ahead, zero-filled
    <state>/journal/<source>/00000001.free  applied by the aggregator; the living writer zeroes and reuses it

The kernel lets go of a lock however its holder dies, so "free lock" means "nobody writes any more".
May import: the standard library.
"""

from __future__ import annotations

import fcntl
import os
import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Source", "create_source", "list_sources"]

_SEGMENT_NAME = re.compile(r"(\d{8})\.seg")
_SOURCE_NAME = re.compile(r"[0-9a-z_]{1,32}-[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Source:
    """One run of one web process, as its reader sees it."""

    name: str
    folder: Path

    def is_live(self) -> bool:
        """Whether its writer still holds the lock."""
        try:
            descriptor = _hold_lock(self.folder / "lock")
        except FileNotFoundError:
            return False
        if descriptor is None:
            return True
        os.close(descriptor)
        return False

    def segments(self) -> list[int]:
        """Sequence numbers of the segments that are there, in order."""
        found = (_SEGMENT_NAME.fullmatch(name) for name in os.listdir(self.folder))
        return sorted(int(match[1]) for match in found if match is not None)

    def segment_path(self, sequence: int) -> Path:
        """Where a segment is."""
        return self.folder / f"{sequence:08d}.seg"

    def release(self, sequence: int) -> None:
        """Gives an applied segment back: to the living writer for reuse, else to the file system."""
        path = self.segment_path(sequence)
        if self.is_live():
            path.rename(path.with_suffix(".free"))
        else:
            path.unlink()

    def retire(self) -> None:
        """Removes the folder of a source that is dead and applied to its end."""
        for name in os.listdir(self.folder):
            (self.folder / name).unlink()
        self.folder.rmdir()


def _hold_lock(path: Path) -> int | None:
    """Locks a file for as long as the returned descriptor is open; None when another process holds it.

    Raises:
        FileNotFoundError: there is no such file.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def create_source(journal: Path, program: str, random: bytes) -> tuple[Source, int]:
    """Makes the folder of a new source and holds its lock; `random` is 8 bytes that were never used before.

    The folder appears under its name with the lock already held, so that no reader takes it for a dead one.
    """
    journal.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"{program}-{random.hex()}"
    hidden = journal / f".{name}"
    hidden.mkdir(mode=0o700)
    descriptor = os.open(hidden / "lock", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    hidden.rename(journal / name)
    return Source(name, journal / name), descriptor


def list_sources(journal: Path) -> list[Source]:
    """Every source of this node, in the order of names; folders of other names are none."""
    try:
        names = sorted(os.listdir(journal))
    except FileNotFoundError:
        return []
    return [Source(name, journal / name) for name in names if _SOURCE_NAME.fullmatch(name)]
