"""The sockets that a web process listens on, and how many descriptors it may have.

In: an address or a path. Out: listening sockets. May import: the standard library.
"""

from __future__ import annotations

import resource
import socket
from pathlib import Path

__all__ = ["listen", "listen_for_group", "listen_privately", "queue_moves", "raise_descriptors"]

BACKLOG = 4096
MIGRATE = Path("/proc/sys/net/ipv4/tcp_migrate_req")


def listen(host: str, port: int) -> socket.socket:
    """A listening socket that shares its port with the sibling processes."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    found.bind((host, port))
    found.listen(BACKLOG)
    return found


def listen_privately(path: Path) -> socket.socket:
    """A listening unix socket that only this user may open."""
    return _listen_at(path, 0o600)


def listen_for_group(path: Path) -> socket.socket:
    """A listening unix socket for the group, too: whoever of it may enter the folder."""
    return _listen_at(path, 0o660)


def _listen_at(path: Path, mode: int) -> socket.socket:
    path.unlink(missing_ok=True)
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    found.bind(str(path))
    path.chmod(mode)
    found.listen(BACKLOG)
    return found


def raise_descriptors() -> int:
    """Lets this process have as many descriptors as it may; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def queue_moves() -> bool:
    """Whether the kernel hands the queue of a listener that is closed to its siblings (Linux 5.14)."""
    try:
        return MIGRATE.read_text().strip() == "1"
    except OSError:
        return False
