"""The skeleton of every Python program of the tree: settings, logs, lifeline, loop, signals.

In: the environment that `boltlink up` filled. Out: a running `main` that is told to stop by an event, and an exit
status: 0 when it ended in order, 1 when it could not go on (one line says why), 2 for a wrong setting.
Under supervisord a program dies with it: by SIGTERM from the kernel, checked once more after it was asked for.
May import: settings, lifeline, stores, observe.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from app.lifeline import OrphanedError, die_with_supervisor
from app.observe import configure_logs, get_logger
from app.settings import Settings, SettingsError
from app.stores import supervisor_pid_file

__all__ = ["Main", "run_program"]

Main = Callable[[Settings, str, asyncio.Event], Awaitable[None]]


def run_program(default_name: str, main: Main) -> int:
    """Runs `main(settings, name, stop)` until it returns; `stop` is set by SIGTERM or SIGINT."""
    try:
        settings = Settings.from_environ(os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    name = os.environ.get("SUPERVISOR_PROCESS_NAME", default_name)
    configure_logs(name, settings.log_level)
    try:
        die_with_supervisor(Path(supervisor_pid_file(settings)), signal.SIGTERM)
    except OrphanedError as error:
        get_logger().error("not started", reason=str(error))
        return 1
    try:
        uvloop.run(_until_stopped(settings, name, main))
    except KeyboardInterrupt:
        return 0
    except Exception as error:
        get_logger().error("failed", reason=str(error).split("\n")[0], exc_info=error)
        return 1
    get_logger().info("stopped")
    return 0


async def _until_stopped(settings: Settings, name: str, main: Main) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await main(settings, name, stop)
