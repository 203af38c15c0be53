"""A web process's journal: opened for this run, kept by a thread of its own, ended after the last answer.

In: the state folder and a name such as web_0. Out: a `Journal` to append to; what fails is logged, and redirects go on.
May import: journal, observe.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import threading
from pathlib import Path

from app.journal import Journal, Source, create_source, note_faults
from app.observe import get_logger

__all__ = ["JournalKeeper"]

DISK_SHARE = 0.2
BYTES_MAX = 64 * 1024**3


class JournalKeeper:
    """Opens the journal of one process; `start` its upkeep, then `end` it.

    Args:
        state: the state folder, whose `journal` holds all journals.
        run: folder of what belongs to running programs.
    """

    def __init__(self, state: Path, run: Path, name: str) -> None:
        self._state, self._name = state, name
        self._log = get_logger()
        self.journal = self._open(run / f"{name}.faults")
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="journal", daemon=True)

    def start(self) -> None:
        """From now on the next segment is made when it is wanted, and what was written is on disk after a second."""
        self._thread.start()

    async def end(self) -> None:
        """Ends the upkeep; the journal may still be appended to, and is the caller's to close."""
        self._ends.set()
        await asyncio.to_thread(self._thread.join)

    def _open(self, faults: Path) -> Journal:
        """The journal of this run; off, so that redirects go on, if the last one was killed by its disk."""
        room = int(shutil.disk_usage(self._state).total * DISK_SHARE)
        if note_faults(faults):
            self._log.error("journal off: the process before died of SIGBUS; clicks are dropped until the next restart")
            room = 0
        return Journal(*self._make_source(), bytes_max=min(room, BYTES_MAX), make_source=self._make_source)

    def _make_source(self) -> tuple[Source, int]:
        return create_source(self._state / "journal", self._name, secrets.token_bytes(8))

    def _keep(self) -> None:
        while not self._ends.is_set():
            try:
                self.journal.upkeep(1.0)
            except OSError as error:
                self._log.error("journal upkeep failed", reason=str(error))
                self._ends.wait(1.0)
