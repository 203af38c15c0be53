"""Becomes supervisord for `boltlink up`: `python -m app.cli.supervise LOCK PARENT CONFIG`.

In: the descriptor of the state folder's lock, taken by `up`; the pid to die with (0: none); the configuration.
Out: supervisord, in this process. The lock lives exactly as long as it does, however it dies, so a second `up` can tell
a living tree from a dead one. Killed with its `up`, it gets SIGTERM and stops its programs in order.
May import: lifeline, supervisor.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from app.lifeline import OrphanedError, die_with_parent

KEPT_DESCRIPTOR = 3  # supervisord closes 5 and above when it reloads; its children close 3 and above


def main(arguments: Sequence[str]) -> int:
    """Runs until supervisord has stopped everything."""
    lock, parent, config = int(arguments[0]), int(arguments[1]), arguments[2]
    if lock != KEPT_DESCRIPTOR:
        os.dup2(lock, KEPT_DESCRIPTOR, inheritable=False)
        os.close(lock)
    os.set_inheritable(KEPT_DESCRIPTOR, False)
    if parent:
        try:
            die_with_parent(parent, signal.SIGTERM)
        except OrphanedError as error:
            print(error, file=sys.stderr)  # noqa: T201
            return 1
    from supervisor import supervisord  # noqa: PLC0415  after the lifeline: it takes 0.1 s to load

    user = ["--user", "root"] if os.getuid() == 0 else []  # said, so that it does not warn of it
    supervisord.main(["-c", config, *user])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
