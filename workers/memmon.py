"""Restarts web processes and workers that stand still, or have grown above BOLTLINK_MEMORY_LIMIT; engines never.

In: supervisord's TICK_5 on stdin, as superlance's memmon takes it. Out: a restart in order, as `boltlink reload` does
it: one program at a time, the next not before the last one serves. Counted is what a process has for itself; pages of
journals, which it shares with the page cache, are not.

    too young   a process that is above the limit within YOUNG_S of its start would be no smaller after another
    busy        a reload is under way: the next tick asks again
    still       it gave no sign of life for SILENT_S, none between two ticks, and the kernel has it stopped or waiting
                for a disk: it is killed, which costs nothing, and supervisord starts another. What only waits for a
                CPU, or goes on after the whole machine stood still, is in another state, or beats before the second
                look; a debugger's is left alone. What waits for a disk dies when that answers

May import: tree, rolling, settings, lifeline, observe.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from superlance.memmon import Memmon
from supervisor import childutils

from app.lifeline import OrphanedError, die_with_supervisor
from app.observe import SILENT_S, LastBeat, configure_logs, get_logger, last_beat
from app.rolling import BusyError, RestartError, only_one, restart
from app.settings import Settings, SettingsError
from app.stores import supervisor_pid_file
from app.tree import Tree

__all__ = ["RollingMemmon", "StillWatch", "main"]

YOUNG_S = 30
STILL = (psutil.STATUS_STOPPED, psutil.STATUS_DISK_SLEEP)
STDERR = 2


class StillWatch:
    """Finds processes that stand still.

    Args:
        folder: where programs leave their signs of life.
        monotonic: the clock of those.
    """

    def __init__(self, folder: Path, monotonic: Callable[[], float]) -> None:
        self._folder = folder
        self._monotonic = monotonic
        self._seen: dict[str, LastBeat] = {}

    def is_still(self, name: str, pid: int) -> bool:
        """Whether this process of a program has stood still since the look before."""
        last, before = last_beat(self._folder, name), self._seen.get(name)
        if last is None or last.pid != pid:
            return False
        self._seen[name] = last
        if last != before or self._monotonic() - last.at_s < SILENT_S:
            return False
        try:
            return psutil.Process(pid).status() in STILL
        except psutil.Error:
            return False


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
        self._watch = StillWatch(tree.run / "metrics", time.monotonic)
        self._names = (*tree.web_names, *tree.worker_names)

    def calc_rss(self, pid: int) -> int | None:
        """Bytes that a process has for itself; None when it is gone, or stood still and is killed."""
        for name in self._names:
            if self._watch.is_still(name, pid):
                self._log.error("stands still, killed", of=name, pid=pid)
                with suppress(ProcessLookupError):  # it has just died
                    os.kill(pid, signal.SIGKILL)
                return None
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
