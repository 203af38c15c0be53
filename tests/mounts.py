"""Mounts of a process's own, which are gone with it: for tests that fill a disk, or install where nothing shall stay.

In: a command. Out: what to put in front of it. Root needs a mount namespace for that, others a user namespace as well,
where the kernel gives them one.
"""

from __future__ import annotations

import os
import subprocess

from tests.needs import find, needs_that

__all__ = ["UNSHARE", "may_mount", "needs_mounts", "needs_mounts_of_root"]

IS_ROOT = os.geteuid() == 0
UNSHARE = ("unshare", "--mount") if IS_ROOT else ("unshare", "--map-root-user", "--mount")


def may_mount(*, as_root: bool = False) -> bool:
    """Whether this user may have them here; with `as_root` one who is root outside of them, too."""
    is_possible = find("unshare") is not None and (IS_ROOT or not as_root)
    return is_possible and subprocess.run([*UNSHARE, "true"], check=False).returncode == 0


_REASON = "may not mount anything here; root on a machine of one's own may"
needs_mounts = needs_that(may_mount(), _REASON)
needs_mounts_of_root = needs_that(may_mount(as_root=True), _REASON)
