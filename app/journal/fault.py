"""Whether the process before died of its journal: SIGBUS, because a disk held nothing where a map said it would.

In: a file of the run folder. Out: yes or no; and from now on the interpreter notes there what kills it. Preallocation
makes that impossible on file systems that honour it; where one does not, each click would kill a process, and its
successor after it. May import: the standard library.
"""

from __future__ import annotations

import faulthandler
from pathlib import Path
from typing import IO

__all__ = ["note_faults"]

_SIGBUS = "Bus error"  # what faulthandler calls it
_kept: list[IO[str]] = []


def note_faults(path: Path) -> bool:
    """Whether the last process that noted its faults in this file died of SIGBUS; begins a new note."""
    try:
        died_of_it = _SIGBUS in path.read_text(errors="replace")
    except FileNotFoundError:
        died_of_it = False
    file = path.open("w")
    faulthandler.enable(file)
    _kept[:] = [file]  # it writes to the descriptor, which must stay open
    return died_of_it
