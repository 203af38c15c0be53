"""supervisord that starts a dead program again at once: `python -m app.supervision`, with supervisord's arguments.

supervisor's loop starts what has to be started, then reaps the dead, then waits for something to read, up to a second:
a program that died so waits until another says something, as SIGCHLD ends no wait (PEP 475). How long that took, and
takes: docs/architecture.md.

    signal  -> a byte in a socket that the loop reads (signal.set_wakeup_fd): the wait ends
    reap    -> what had lived for STEADY_S is started in the same turn; after what died at once the loop rests PAUSE_S,
               so that it is tried a few times a second and not a few hundred
    spawn   -> what cannot be started at all, for want of memory, processes or descriptors, is tried every few seconds
               for as long as that lasts: supervisor's own gives it up for good after the fourth time
    hang up supervisor's own restarts everything, engines too, which nobody means who knows SIGHUP from elsewhere
    logs    what the disk does not take is lost, and written again as soon as it takes something: supervisor's own says
            so on stderr, which is on the same disk, and ends of that, and every program with it. A log that was removed
            is made again with the next line, and one that cannot be made keeps no program from being started

May import: the standard library and supervisor.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import suppress
from typing import Any

from supervisor import loggers, supervisord
from supervisor.states import ProcessStates, SupervisorStates

__all__ = ["BearingHandler", "PromptSupervisor"]

STEADY_S = 1.0  # a program that dies sooner would be started again and again without a pause
PAUSE_S = 0.25
WAKE_BYTES_MAX = 4096


class PromptSupervisor(supervisord.Supervisor):  # type: ignore[misc]  # supervisor has no types
    """supervisor's own, woken by signals."""

    def runforever(self) -> None:
        """supervisor's loop."""
        woken, waking = socket.socketpair()
        woken.setblocking(False)
        waking.setblocking(False)
        sockets: dict[int, Any] = self.options.get_socket_map()
        sockets[woken.fileno()] = _Wake(woken)
        signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
        try:
            super().runforever()
        finally:
            signal.set_wakeup_fd(-1)
            sockets.pop(woken.fileno(), None)
            woken.close()
            waking.close()

    def handle_signal(self) -> None:
        """What a signal asks for, but for a restart of everything."""
        mood = self.options.mood
        super().handle_signal()
        if self.options.mood == SupervisorStates.RESTARTING != mood:
            self.options.mood = mood
            self.options.logger.warn("nothing is restarted; for that: boltlink reload")

    def reap(self, once: bool = False, recursionguard: int = 0) -> None:
        """Notes the dead, and starts again what has to be."""
        super().reap(once, recursionguard)
        is_hasty = False
        for group in self.process_groups.values():
            for process in group.processes.values():
                if process.get_state() == ProcessStates.BACKOFF:  # its last try but one, again and again
                    process.backoff = min(process.backoff, process.config.startretries - 1)
                if process.get_state() != ProcessStates.EXITED:
                    continue
                if process.laststop - process.laststart >= STEADY_S:
                    process.transition()
                elif time.time() - process.laststop < PAUSE_S:
                    is_hasty = True
        if is_hasty:
            time.sleep(PAUSE_S)


class BearingHandler(loggers.RotatingFileHandler):  # type: ignore[misc]
    """A rotated log on a disk that may be full or read-only, in a folder that may be away."""

    stream: Any

    def __init__(self, filename: str, *arguments: Any) -> None:
        try:
            super().__init__(filename, *arguments)
        except OSError:
            super().__init__(os.devnull, *arguments)
            self.baseFilename = filename

    def emit(self, record: Any) -> None:
        """One line, or none."""
        self.reopen()
        with suppress(OSError, ValueError):  # a rotation that is cut off leaves it closed
            super().emit(record)

    def reopen(self) -> None:
        """Makes sure that lines go to the file of that name, where it can be had."""
        with suppress(OSError, ValueError):
            if os.path.samestat(os.stat(self.baseFilename), os.fstat(self.stream.fileno())):
                return
        with suppress(OSError):
            found: Any = open(self.baseFilename, "ab")  # noqa: SIM115  the handler closes it
            with suppress(OSError):
                self.stream.close()
            self.stream, self.closed = found, False

    def handleError(self) -> None:  # noqa: N802  supervisor's name
        """There is nowhere to say so."""


class _Wake:
    """What the loop reads when a signal came: one of its dispatchers."""

    def __init__(self, woken: socket.socket) -> None:
        self._woken = woken

    def readable(self) -> bool:
        """There may always be a signal."""
        return True

    def writable(self) -> bool:
        """Nothing is written here."""
        return False

    def handle_read_event(self) -> None:
        """The bytes say nothing more than that one came; supervisor's own handlers know which."""
        self._woken.recv(WAKE_BYTES_MAX)

    def handle_error(self) -> None:
        """There was nothing to read after all."""


if __name__ == "__main__":
    supervisord.Supervisor = PromptSupervisor
    loggers.RotatingFileHandler = BearingHandler
    supervisord.main()
