"""The skeleton of every Python program of the tree: settings, logs, lifeline, loop, signals.

In: the environment that `boltlink up` filled. Out: a running `main` that is told to stop by an event, and an exit
status: 0 when it ended in order, 1 when it could not go on (one line says why), 2 for a wrong setting, 3 when the
database needs a newer release or is half restored, which trying again does not change: supervisord lets it be.
Under supervisord a program dies with it: by SIGTERM from the kernel, checked once more after it was asked for.

    SIGTERM, SIGINT   `stop` is set
    SIGHUP            the level of logs is read again
    a loop that hangs for HANG_S (or was stopped for so long): every thread's stack goes to the log, the process ends
                      and supervisord starts another; a thread of C watches, which needs nothing of the interpreter
    a process that stands still, and its watching thread with it: memmon ends it, by the sign of life that is left here
                      once a second

Work that one of many does goes through `work_by_lease`, which owns the waiting; the work itself is three functions:

    STANDING_BY  asks for the lease every STAND_BY_S
    ACTIVE       open once, then loop after loop; the lease is renewed between two of them
    told to end  drain, and the lease is given back: the next one is active within STAND_BY_S

A store that does not answer is waited for; a lost lease leads back to STANDING_BY. May import: settings, lifeline,
stores, observe.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import os
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import uvloop
from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from app.launch import settle
from app.lifeline import REFUSED_STATUS, OrphanedError, die_with_supervisor, take_lock
from app.observe import Beat, TraceWish, configure_logs, get_logger, reason_of, start_traces, stop_traces
from app.settings import Settings, SettingsError
from app.stores import (
    Database,
    HalfRestoredError,
    Lease,
    LeaseLostError,
    SchemaError,
    check_data,
    run_dir,
    supervisor_pid_file,
)

__all__ = [
    "LeasedWork",
    "Main",
    "calm_collector",
    "node_id",
    "refuse_second",
    "run_program",
    "wait_for_data",
    "work_by_lease",
]

Main = Callable[[Settings, str, asyncio.Event], Awaitable[None]]
STAND_BY_S = 1.0
COLLECT_OBJECTS = 10_000  # looked through in 1 ms, which a request may wait
HANG_S = 10.0
ALIVE_S = 1.0
BACK_OFF_S = (0.1, 0.2, 0.5, 1.0, 2.0)  # after failures of a store in a row
_STORE_ERRORS = (PyMongoError, RedisError, OSError)


class LeasedWork(Protocol):
    """What one of many does. Each may raise a store's error, after which `open` is called again."""

    async def open(self) -> None:
        """The lease was acquired, or a step failed: starts from what is stored."""

    async def loop(self) -> bool:
        """One step, well below a third of the lease's life; True when there may be more at once."""

    async def drain(self) -> None:
        """Ends; called while the lease is still held."""


def run_program(default_name: str, main: Main) -> int:
    """Runs `main(settings, name, stop)` until it returns; `stop` is set by SIGTERM or SIGINT."""
    settle()
    try:
        settings = Settings.from_environ(os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    name = os.environ.get("SUPERVISOR_PROCESS_NAME", default_name)
    configure_logs(name, settings.log_level)
    start_traces(
        name,
        TraceWish(settings.traces_url, settings.otlp_headers, settings.traces_sampler, settings.traces_share),
    )
    try:
        return _run(settings, name, main)
    finally:
        stop_traces()


def _run(settings: Settings, name: str, main: Main) -> int:
    """The program's exit status."""
    try:
        die_with_supervisor(Path(supervisor_pid_file(settings)), signal.SIGTERM)
    except OrphanedError as error:
        get_logger().error("not started", reason=str(error))
        return 1
    try:
        uvloop.run(_until_stopped(settings, name, main))
    except KeyboardInterrupt:
        return 0
    except (SchemaError, HalfRestoredError) as error:
        get_logger().error("not started", reason=str(error))
        return REFUSED_STATUS
    except Exception as error:
        get_logger().error("failed", reason=reason_of(error), exc_info=error)
        return 1
    get_logger().info("stopped")
    return 0


async def _until_stopped(settings: Settings, name: str, main: Main) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, _read_log_level, name)
    faulthandler.dump_traceback_later(HANG_S, exit=True)
    living = loop.create_task(_live(Beat(run_dir(settings) / "metrics", name)))
    try:
        await main(settings, name, stop)
    finally:
        living.cancel()
        faulthandler.cancel_dump_traceback_later()


async def _live(sign: Beat) -> None:
    """Tells the watching thread, and who watches from outside, once a second that the loop runs."""
    while True:
        sign.beat()
        await asyncio.sleep(ALIVE_S)
        faulthandler.dump_traceback_later(HANG_S, exit=True)


def _read_log_level(name: str) -> None:
    try:
        level = Settings.from_environ(os.environ).log_level
    except SettingsError as error:
        get_logger().error("settings not read again", reason=str(error))
    else:
        configure_logs(name, level)
        get_logger().warning("settings read again", log_level=level)


def refuse_second(folder: Path, name: str) -> None:
    """Holds `NAME.lock` in a folder for as long as this process lives, so that there are never two of a program.

    Raises:
        RuntimeError: another process holds it; the program ends with that one line, and is started again.
    """
    if take_lock(folder / f"{name}.lock") is None:
        raise RuntimeError(f"another {name} runs on {folder}")


def node_id(state: Path) -> str:
    """This node's name in statistics: 8 hex digits, made once."""
    path = state / "node-id"
    if not path.exists():
        fresh = state / f".node-id-{os.getpid()}"
        fresh.write_text(secrets.token_hex(4))
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)  # whoever is first wins, and nobody sees half a file
        fresh.unlink()
    return path.read_text().strip()


def calm_collector(objects: int = COLLECT_OBJECTS) -> None:
    """Looks for cycles after so many new objects: what most programs make ends without, and looking takes long.

    What there is now stays for good and is not looked at again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(objects, 20, 100)


async def wait_for_data(database: Database, stop: asyncio.Event) -> None:
    """Returns when MongoDB answers and holds data that this release may work on, or at `stop`.

    Raises:
        SchemaError, HalfRestoredError: it holds other data; the program ends with that one line.
    """
    failures = 0
    while not stop.is_set():
        try:
            await check_data(database)
        except _STORE_ERRORS as error:
            failures = await _back_off(error, failures, stop)
        else:
            return


async def work_by_lease(lease: Lease, work: LeasedWork, stop: asyncio.Event, *, pause_s: float) -> None:
    """Does `work` whenever this process holds `lease`, until `stop`; `pause_s` is between loops that found nothing."""
    shift = _Shift(lease, work, pause_s)
    failures = 0
    while not stop.is_set():
        try:
            wait_s = await shift.step()
            failures = 0
        except _STORE_ERRORS as error:
            shift.is_open = False
            failures = await _back_off(error, failures, stop)
        else:
            await _pause(wait_s, stop)
    try:
        await shift.end()
    except (LeaseLostError, *_STORE_ERRORS) as error:
        get_logger().warning("not ended in order", reason=reason_of(error))  # the lease runs out by itself


async def _back_off(error: Exception, failures: int, stop: asyncio.Event) -> int:
    """Says why and waits, the longer the more `failures` came before; how many there are now."""
    get_logger().warning("a store does not answer", reason=reason_of(error), tries=failures + 1)
    await _pause(BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)], stop)
    return failures + 1


async def _pause(seconds: float, stop: asyncio.Event) -> None:
    if seconds:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), seconds)


class _Shift:
    """Where one process stands with its leased work."""

    def __init__(self, lease: Lease, work: LeasedWork, pause_s: float) -> None:
        self.is_open = False
        self._lease = lease
        self._work = work
        self._pause_s = pause_s

    async def step(self) -> float:
        """Asks for the lease, or does one step of the work; returns how long to wait before the next."""
        try:
            if not self._lease.is_held:
                self.is_open = False
                if not await self._lease.acquire():
                    return STAND_BY_S
                get_logger().info("lease acquired", lease=self._lease.name, epoch=self._lease.epoch)
            if self._lease.is_due:
                await self._lease.renew()
            if not self.is_open:
                await self._work.open()
                self.is_open = True
            return 0.0 if await self._work.loop() else self._pause_s
        except LeaseLostError as error:
            get_logger().warning("lease lost", lease=error.name, epoch=error.epoch)
            return 0.0

    async def end(self) -> None:
        """Ends the work, if it was begun, and gives the lease back."""
        if self._lease.is_held:
            if self.is_open:
                await self._work.drain()
            await self._lease.release()
