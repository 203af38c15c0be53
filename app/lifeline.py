"""Ties a process's life to its supervisord's, and to the locks on what it writes.

In: the pid file of supervisord. Out: a signal from the kernel when it dies, so that a killed supervisord leaves no
orphan; and locks that the kernel frees however their holder dies, so that there are never two of anything.
Imports little, because engines start through it. May import: the standard library.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
from pathlib import Path

__all__ = ["REFUSED_STATUS", "OrphanedError", "die_with_parent", "die_with_supervisor", "take_lock"]

REFUSED_STATUS = 3  # of a program that no restart helps; `exitcodes` of supervisord.conf
_PR_SET_PDEATHSIG = 1


class OrphanedError(Exception):
    """The process that started this one is gone."""


def die_with_parent(parent: int, signal_number: int) -> None:
    """Asks the kernel for a signal when process `parent` dies.

    Raises:
        OrphanedError: it died before the kernel was asked.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
    if os.getppid() != parent:
        raise OrphanedError(f"the process that started this one ({parent}) is gone")


def die_with_supervisor(pid_file: Path, signal_number: int) -> None:
    """Asks the kernel for a signal when supervisord dies. Does nothing in a process that none started.

    Raises:
        OrphanedError: it died before the kernel was asked.
    """
    if "SUPERVISOR_ENABLED" not in os.environ:
        return
    try:
        supervisor = int(pid_file.read_text())
    except (OSError, ValueError) as error:
        raise OrphanedError(f"no pid of supervisord in {pid_file}") from error
    die_with_parent(supervisor, signal_number)


def take_lock(path: Path) -> int | None:
    """Locks a file, made if need be, until the returned descriptor is closed; None when another holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
