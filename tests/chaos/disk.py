"""A disk of one tree's own that can be filled: a small tmpfs, where the system lets us mount one.

In: the folder to mount on. Out: a disk that is full between `fill` and `free`, and gone at the end.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DISK_BYTES = 700 * 1024 * 1024  # mongod takes 300 MB at birth
STEP_BYTES = 1024 * 1024
FILLER = "filler"


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mounts it; what it holds is gone afterwards."""
    folder.mkdir(mode=0o700, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> None:
    """Leaves not one byte."""
    block = bytes(STEP_BYTES)
    with (folder / FILLER).open("wb", buffering=0) as file, suppress(OSError):
        while file.write(block):
            pass


def free(folder: Path) -> None:
    """Gives back what `fill` took."""
    (folder / FILLER).unlink()
