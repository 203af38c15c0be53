"""Looks at the state folder and its disk: rights, secrets, room, and whether what is promised to a journal is held.

In: settings. Out: findings. It writes one file, of a journal's segment, and removes it. May import: settings, journal.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from app.cli.doctor.findings import Finding, fail, ok, warn
from app.journal import SEGMENT_BYTES
from app.settings import Settings
from app.tree import Tree

__all__ = ["about_disk", "about_folder", "about_preallocation", "about_secrets"]

MONGOD_BYTES = 500_000_000  # 300 MB at birth, and a beginning
SEGMENTS_EACH = 3  # of a web process: written, made ahead, waiting
ROOM_BYTES = 2_000_000_000
ROOM_SHARE = 0.1
INODES_MIN = 10_000
STEP_BYTES = 1024 * 1024
#: File systems on which a store into a page that was promised may still find no room; and those of a network.
COPYING = ("btrfs", "zfs", "bcachefs")
REMOTE = ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs")
_NOCOW_FL, _GETFLAGS = 0x00800000, 0x80086601  # linux/fs.h


def about_folder(settings: Settings) -> Iterator[Finding]:
    """Whether it can be used, and who may enter."""
    folder = settings.state_dir
    place = _existing(folder)
    means = "`boltlink up` refuses to start."
    if not place.is_dir():
        yield fail(
            "state.folder", f"{place} is no folder", means, "Move it away, or choose another BOLTLINK_STATE_DIR."
        )
    elif not os.access(place, os.W_OK | os.X_OK):
        yield fail("state.folder", f"{place} cannot be written to", means, f"chown it to {_me()}, or run as its owner.")
    elif place != folder:
        yield ok("state.folder", f"{folder} will be made")
    elif place.stat().st_uid != os.getuid():
        yield fail("state.folder", f"{place} belongs to another user", means, f"chown -R {_me()} {place}")
    elif place.stat().st_mode & 0o077:
        mode = stat.S_IMODE(place.stat().st_mode)
        yield fail(
            "state.folder", f"{place} has mode {mode:04o}", "Others reach clicks and data.", f"chmod 0700 {place}"
        )
    else:
        yield ok("state.folder", str(folder))


def about_secrets(settings: Settings) -> Iterator[Finding]:
    """Modes of files that hold keys, passwords or addresses."""
    places = [settings.state_dir / "admin-key"]
    places += filter(None, (settings.settings_file, settings.oidc_client_secret_file))
    places += sorted((settings.state_dir / "journal").glob("*/*.seg"))
    open_ones = [path for path in places if path.exists() and path.stat().st_mode & _forbidden(path, settings)]
    for path in open_ones:
        mode = stat.S_IMODE(path.stat().st_mode)
        do = f"chmod 0600 {path}"
        if path.name == "admin-key":
            do += "; if somebody may have read it: remove it, boltlink down, boltlink up, and revoke the old one"
        yield fail("state.secrets", f"{path} has mode {mode:04o}", "Others may read what it holds.", do)
    if not open_ones:
        yield ok("state.secrets", f"{sum(path.exists() for path in places)} files")


def _forbidden(path: Path, settings: Settings) -> int:
    is_setting = path in (settings.settings_file, settings.oidc_client_secret_file)
    return 0o007 if is_setting else 0o077  # a service's group may read its settings


def about_disk(tree: Tree) -> Iterator[Finding]:
    """Room for segments, and for an embedded MongoDB."""
    place = _existing(tree.settings.state_dir)
    disk, inodes = shutil.disk_usage(place), os.statvfs(place)
    needed = SEGMENT_BYTES * SEGMENTS_EACH * len(tree.web_names)
    if "mongod" in tree.engines and not (tree.settings.state_dir / "mongodb" / "WiredTiger").exists():
        needed += MONGOD_BYTES
    found = f"{disk.free / 1e9:.1f} of {disk.total / 1e9:.1f} GB are free"
    do = f"Make room on {place}, or choose another BOLTLINK_STATE_DIR."
    if disk.free < needed:
        yield fail("state.disk", found, f"{needed / 1e9:.1f} GB are needed; clicks are dropped without them.", do)
    elif inodes.f_files and inodes.f_favail < INODES_MIN:
        yield warn("state.disk", f"{inodes.f_favail} files may still be made", "Journals need new files.", do)
    elif disk.free < min(ROOM_BYTES, disk.total * ROOM_SHARE):
        yield warn("state.disk", found, "A store that is away for long may fill it; clicks are dropped then.", do)
    else:
        yield ok("state.disk", found)


def about_preallocation(settings: Settings) -> Iterator[Finding]:
    """Takes a segment's space from the disk, looks whether it was taken, and writes all of it, twice."""
    place = _existing(settings.state_dir)
    kind = file_system(place)
    elsewhere = "Use ext4 or xfs on a local disk for the state folder (BOLTLINK_STATE_DIR)."
    means = (
        "A web process that writes to its journal is killed (SIGBUS) when the disk is full, and its journal stays off."
    )
    if kind in REMOTE:
        means = "Locks and mapped files of a journal are not safe there."
        yield fail("state.preallocation", f"{kind} is no local disk", means, elsewhere)
        return
    path = place / f".boltlink-doctor-{os.getpid()}"
    try:
        reason, is_copying = _try_segment(path, kind)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            found = f"no room for one segment of {SEGMENT_BYTES // 2**20} MiB ({error.strerror})"
            yield fail("state.preallocation", found, "Clicks are dropped, redirects go on.", f"Make room on {place}.")
        else:
            yield fail("state.preallocation", f"{place}: {error.strerror}", "No journal can be made.", elsewhere)
        return
    if reason:
        yield fail("state.preallocation", f"{kind}: {reason}", means, elsewhere)
    elif is_copying:
        yield warn("state.preallocation", f"{kind} writes to new places", means, f"chattr +C {place}, or: {elsewhere}")
    else:
        yield ok("state.preallocation", f"{kind} holds what it promises")


def _try_segment(path: Path, kind: str) -> tuple[str, bool]:
    """What was promised and not held, or "", and whether each write needs a new place. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, SEGMENT_BYTES)
        taken = os.fstat(descriptor).st_blocks * 512
        if taken < SEGMENT_BYTES:
            return f"{SEGMENT_BYTES} bytes were promised, {taken} are held", False
        noise = os.urandom(STEP_BYTES)  # what compresses would take less than it may have to
        for _ in range(2):
            for offset in range(0, SEGMENT_BYTES, STEP_BYTES):
                os.pwrite(descriptor, noise, offset)
            os.fdatasync(descriptor)
        return "", kind in COPYING and not _keeps_places(descriptor)
    finally:
        os.close(descriptor)
        path.unlink()


def _keeps_places(descriptor: int) -> bool:
    """Whether the file has the attribute `C`: written in place."""
    try:
        flags = fcntl.ioctl(descriptor, _GETFLAGS, bytes(8))
    except OSError:
        return False
    return bool(int.from_bytes(flags[:4], "little") & _NOCOW_FL)


def file_system(place: Path) -> str:
    """The type of the file system that a path is on, such as ext4."""
    real = place.resolve()
    found, kind = Path("/"), "unknown"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        head, _, tail = line.partition(" - ")
        point = Path(head.split()[4].replace("\\040", " "))
        if real.is_relative_to(point) and point.is_relative_to(found):  # the last one mounted there is seen
            found, kind = point, tail.split()[0]
    return kind


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())


def _me() -> str:
    return str(os.getuid())
