"""The folder of scheduled backups, and whether it is the one that was there before.

    FOLDER               made when the first backup is due, and never again by whoever has seen a backup in it: it holds
                         one at least from then on, so an empty or a missing one is that of a disk that is not mounted
    STATE/backup-folder  the folder in which this node has seen a backup; another folder begins anew

restic and pgBackRest write to no place that was not made for it (`init`, `stanza-create`); this one is made by itself,
once. kill -9 between the first backup and the note leaves it to the next look. May import: the standard library.
"""

from __future__ import annotations

import fcntl
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from app.backup.retention import moment_of
from app.backup.target import PART

__all__ = ["BackupFolder", "FolderAwayError"]


class FolderAwayError(OSError):
    """There is no backup where there was one; the text says what to do."""


class BackupFolder:
    """One folder, and what this node remembers of it in the file `note`."""

    def __init__(self, path: Path, note: Path) -> None:
        self.path = path
        self._note = note
        self._newest: datetime | None = None
        self._is_noted = False

    def made(self, latest: datetime) -> Mapping[str, datetime]:
        """Backups by name, none dated after `latest`; nothing where the folder is away."""
        found = {name: moment for name, moment in self._all().items() if moment <= latest}
        if found:
            self._newest = max(found.values())
            self._remember()
        return found

    def newest(self, latest: datetime) -> datetime | None:
        """The moment of the newest backup; of the last one that was seen, where the folder is away."""
        self.made(latest)
        return self._newest

    def prepare(self) -> None:
        """Makes sure that it is there, without parts of killed runs.

        Raises:
            FolderAwayError: it held a backup and holds none.
            OSError: it cannot be made.
        """
        self._is_noted = self._is_remembered()
        if self._is_noted and not self._all():
            raise FolderAwayError(
                f"{self.path} held backups and holds none: is its disk mounted? "
                f"To begin anew in an empty folder: rm {self._note}"
            )
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self.path.glob(f".boltlink-*{PART}"):
            _remove_unless_written(path)

    def _all(self) -> dict[str, datetime]:
        try:
            names = [path.name for path in self.path.iterdir()]
        except OSError:
            return {}
        return {name: moment for name in names if (moment := moment_of(name)) is not None}

    def _is_remembered(self) -> bool:
        try:
            return self._note.read_text() == f"{self.path}\n"
        except OSError:
            return False

    def _remember(self) -> None:
        if not self._is_noted:
            with suppress(OSError):  # a full disk: the next look tries again
                self._note.write_text(f"{self.path}\n")
                self._is_noted = True


def _remove_unless_written(path: Path) -> None:
    """A part that nobody writes is one that was killed."""
    with path.open("rb") as part:
        try:
            fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        path.unlink(missing_ok=True)
