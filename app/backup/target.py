"""The file that a backup is written to: under its name only when it is whole and on disk.

    FOLDER/.NAME.part   being written, mode 0600; kill -9 leaves it, the next backup of that name begins it anew
    FOLDER/NAME         whole: fsync of the file, rename, fsync of the folder

It holds hashes of keys and passwords, salts and targets: nobody but its owner may read it. May import: the standard
library.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

__all__ = ["PART", "BackupFile", "TargetError"]

PART = ".part"


class TargetError(OSError):
    """The file cannot be made; the text says why."""


class BackupFile:
    """One backup's file; leaving it with an error, or without `commit`, removes what was written.

    Raises:
        TargetError: there is such a file, or another backup is just writing it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists():
            raise TargetError(f"{path} exists: choose another name, or remove it")
        self._part = path.with_name(f".{path.name}{PART}")
        try:
            descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise TargetError(f"{path}: cannot be made: {error.strerror}") from error
        self.file: BinaryIO = os.fdopen(descriptor, "w+b", buffering=1024 * 1024)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.file.close()
            raise TargetError(f"{path}: another backup is writing it") from None
        if not self._part.exists() or not os.path.samestat(self._part.stat(), os.fstat(descriptor)):
            self.file.close()  # another finished just now: this is its file, under its name
            raise TargetError(f"{path} exists: choose another name, or remove it")
        os.fchmod(descriptor, 0o600)
        os.ftruncate(descriptor, 0)

    def __enter__(self) -> BackupFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self.file.closed:
            self._part.unlink(missing_ok=True)
            with suppress(OSError):  # what cannot be written any more is not wanted any more
                self.file.close()

    def commit(self) -> None:
        """To disk, then to its name. Raises OSError: then there is no such file."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self._part.rename(self.path)
        self.file.close()
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
