"""Folders of sources: who writes one, whether it lives, which segments it has.

In: `<state>/journal`. Out: a new source with its lock held, or the list of sources with their liveness.

    <state>/journal/<source>/lock           held (flock) by the web process for as long as it lives
    <state>/journal/<source>/00000003.seg   a segment, made ahead, zero-filled
    <state>/journal/<source>/00000001.free  applied by the aggregator; the living writer zeroes and reuses it
    <state>/journal/<source>/given-up       the aggregator asks the writer to go on in a new source
    <state>/journal/.left-<source>-0        what was found in a retired source and is none of ours

The kernel lets go of a lock however its holder dies, so "free lock" means "nobody writes any more". Whoever asks takes
it shared for a moment, so that several may ask at once. May import: the standard library.
"""

from __future__ import annotations

import fcntl
import os
import re
from dataclasses import dataclass
from itertools import count
from pathlib import Path

__all__ = ["Source", "create_source", "list_sources"]

_SEGMENT_NAME = re.compile(r"(\d{8})\.seg")
_SOURCE_NAME = re.compile(r"[0-9a-z_]{1,32}-[0-9a-f]{16}")
_OUR_NAME = re.compile(r"lock|given-up|\d{8}\.(?:seg|seg\.new|free|zero)")
_GIVEN_UP = "given-up"


@dataclass(frozen=True, slots=True)
class Source:
    """One run of one web process, as its reader sees it."""

    name: str
    folder: Path

    def is_live(self) -> bool:
        """Whether its writer still holds the lock."""
        try:
            descriptor = os.open(self.folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def segments(self) -> list[int]:
        """Sequence numbers of the segments that are there, in order."""
        with os.scandir(self.folder) as entries:
            found = [(_SEGMENT_NAME.fullmatch(entry.name), entry) for entry in entries]
            return sorted(int(name[1]) for name, entry in found if name is not None and entry.is_file())

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

    def give_up(self) -> None:
        """Asks the writer to go on in a new source."""
        (self.folder / _GIVEN_UP).touch(mode=0o600)

    def is_given_up(self) -> bool:
        """Whether somebody asked for that."""
        return (self.folder / _GIVEN_UP).exists()

    def retire(self) -> list[str]:
        """Removes the folder of a source that is dead and applied to its end.

        Returns:
            Names of what is none of ours: it is left in a folder beside, whose name is no source's.
        """
        names = os.listdir(self.folder)
        foreign = [name for name in names if not _OUR_NAME.fullmatch(name) or (self.folder / name).is_dir()]
        for name in set(names).difference(foreign):
            (self.folder / name).unlink(missing_ok=True)
        if foreign:
            beside = (self.folder.with_name(f".left-{self.name}-{number}") for number in count())
            self.folder.rename(next(path for path in beside if not path.exists()))
        else:
            self.folder.rmdir()
        return sorted(foreign)


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
    """Every source of this node, in the order of names; files, and folders of other names, are none."""
    try:
        names = sorted(os.listdir(journal))
    except FileNotFoundError:
        return []
    return [
        Source(name, journal / name) for name in names if _SOURCE_NAME.fullmatch(name) and (journal / name).is_dir()
    ]
