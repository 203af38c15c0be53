"""A network of one's own: loopback alone, and settings of the kernel that no one else sees.

A thread leaves the network that it was started in; what it starts, threads and processes, is born in the new one.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP = 1
MIGRATE = Path("/proc/sys/net/ipv4/tcp_migrate_req")


def in_own_network(work: Callable[[], None], *, migrates: bool) -> None:
    """Runs `work` where the kernel does, or does not, hand the queue of a closed listener to its siblings.

    Raises:
        PermissionError: this user may not make networks.
    """
    errors: list[BaseException] = []

    def run() -> None:
        try:
            _leave()
            MIGRATE.write_text(str(int(migrates)))
            work()
        except BaseException as error:  # raised again below
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def _leave() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    with socket.socket() as probe:
        fcntl.ioctl(probe, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
