"""Restarts web processes and workers whose memory has grown above BOLTLINK_MEMORY_LIMIT; engines never.

In: supervisord's TICK_5 on stdin, as superlance's memmon takes it. Out: a restart in order, as `boltlink reload` does
it: one program at a time, the next not before the last one serves. Counted is what a process has for itself; pages of
journals, which it shares with the page cache, are not.

    too young   a process that is above the limit within YOUNG_S of its start would be no smaller after another
    busy        a reload is under way: the next tick asks again

May import: tree, rolling, settings, lifeline, observe.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
from superlance.memmon import Memmon
from supervisor import childutils

from app.lifeline import OrphanedError, die_with_supervisor
from app.observe import configure_logs, get_logger
from app.rolling import BusyError, RestartError, only_one, restart
from app.settings import Settings, SettingsError
from app.stores import supervisor_pid_file
from app.tree import Tree

__all__ = ["RollingMemmon", "main"]

YOUNG_S = 30
STDERR = 2


class RollingMemmon(Memmon):  # type: ignore[misc]
    """superlance's memmon, which measures without `ps` and restarts without a gap."""

    def __init__(self, tree: Tree, groups: dict[str, int]) -> None:
        super().__init__(
            cumulative=False,
            programs={},
            groups=groups,
            any=None,
            sendmail=None,
            email=None,
            email_uptime_limit=0,
            name=None,
            rpc=childutils.getRPCInterface(os.environ),
        )
        self.stderr = open(os.devnull, "w")  # noqa: SIM115  its own lines are not JSON
        self._tree = tree
        self._log = get_logger()

    def calc_rss(self, pid: int) -> int | None:
        """Bytes that a process has for itself; None when it is gone."""
        try:
            memory = psutil.Process(pid).memory_info()
        except psutil.Error:
            return None
        return int(memory.rss - memory.shared)

    def restart(self, name: str, rss: int) -> None:
        """One program in order; what stands against it is logged, and the next tick asks again."""
        info: dict[str, Any] = self.rpc.supervisor.getProcessInfo(name)
        program = info["name"]
        if info["now"] - info["start"] < YOUNG_S:
            self._log.error("above the memory limit right after its start", of=program, memory_bytes=rss)
            return
        try:
            with only_one(self._tree):
                away_s = restart(self._tree, program)
        except BusyError:
            self._log.info("a reload is under way", of=program)
        except RestartError as error:
            self._log.error("not restarted", of=program, reason=str(error))
        else:
            self._log.warning("restarted", of=program, memory_bytes=rss, away_s=round(away_s, 3))


def groups(tree: Tree) -> dict[str, int]:
    """Which groups of programs are watched, and the limit of each in bytes."""
    names = (*tree.web_names, *tree.worker_names)
    return dict.fromkeys((name.partition("_")[0] for name in names), tree.settings.memory_limit)


def main() -> int:
    """Watches until supervisord ends it."""
    try:
        settings = Settings.from_environ(os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    configure_logs("memmon", settings.log_level, STDERR)
    try:
        die_with_supervisor(Path(supervisor_pid_file(settings)), signal.SIGTERM)
    except OrphanedError as error:
        get_logger().error("not started", reason=str(error))
        return 1
    tree = Tree(settings)
    get_logger().info("started", limit_bytes=settings.memory_limit)
    RollingMemmon(tree, groups(tree)).runforever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
