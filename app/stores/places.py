"""Where the stores and sockets of one node are: the run folder, the embedded engines' folders and addresses.

In: settings. Out: paths and URLs, deterministic, so that every program of a node finds the same ones.
A unix socket's path holds 107 bytes (sockaddr_un); a state folder too deep for that gets its run folder in SHORT,
named after it. Nothing of a session's environment goes in: `up` from a login and a backup from cron mean the same
folder, and `$XDG_RUNTIME_DIR` is removed when its user logs out.
May import: settings.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from urllib.parse import quote

from app.settings import Settings

__all__ = [
    "PlaceError",
    "make_private_folder",
    "mongodb_socket",
    "mongodb_url",
    "redis_socket",
    "redis_url",
    "replica_set_url",
    "run_dir",
    "supervisor_pid_file",
]

SOCKET_PATH_BYTES_MAX = 107
SHORT = Path("/tmp")  # noqa: S108  the folder in it is private, and its owner is checked
_LONGEST_SOCKET = "supervisor.sock.12345678"  # supervisord binds a temporary name beside its own


class PlaceError(OSError):
    """A folder that cannot be used safely; the text says which and why."""


def run_dir(settings: Settings) -> Path:
    """The folder of all sockets of this node; not made here."""
    near = settings.state_dir / "run"
    if len(os.fsencode(near / _LONGEST_SOCKET)) <= SOCKET_PATH_BYTES_MAX:
        return near
    return _far_dir(settings)


def _far_dir(settings: Settings) -> Path:
    """A run folder with a short name in lower case."""
    digest = hashlib.sha256(os.fsencode(settings.state_dir)).hexdigest()[:8]
    return SHORT / f"boltlink-{os.getuid()}-{digest}"


def make_private_folder(folder: Path) -> None:
    """Makes a folder that only this user may enter, or checks that it is one.

    Raises:
        PlaceError: it is a link, no folder, or another user's.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PlaceError(f"{folder}: cannot be made: {error.strerror}") from error
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise PlaceError(f"{folder}: is not a folder of this user")
    if status.st_mode & 0o077:
        folder.chmod(0o700)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PlaceError(f"{folder}: cannot be written to")


def redis_socket(settings: Settings) -> Path:
    """Where an embedded redis-server listens."""
    return run_dir(settings) / "redis.sock"


def mongodb_socket(settings: Settings) -> Path:
    """Where an embedded mongod listens; mongod demands the ending.

    PyMongo lower-cases the addresses that a replica set tells of its members (`pymongo.common.clean_node`), so in a
    folder with a capital letter the member would not be found: there the socket goes where a long path's goes.
    """
    near = run_dir(settings)
    folder = near if str(near) == str(near).lower() else _far_dir(settings)
    return folder / "mongod.sock"


def supervisor_pid_file(settings: Settings) -> Path:
    """Where supervisord notes its process id."""
    return run_dir(settings) / "supervisord.pid"


def redis_url(settings: Settings) -> str:
    """The Redis of this node: the one that was set, else the embedded one."""
    return settings.redis_url or f"unix://{quote(str(redis_socket(settings)))}"


def mongodb_url(settings: Settings) -> str:
    """The MongoDB of this node: the one that was set, else the embedded one."""
    return settings.mongodb_url or replica_set_url(mongodb_socket(settings))


def replica_set_url(socket: Path) -> str:
    """The URL of the one-node replica set behind a unix socket."""
    return f"mongodb://{quote(str(socket), safe='')}/?replicaSet=rs0"
