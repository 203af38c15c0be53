"""The process tree of one state folder: where its parts are, what it is started with, and what it says when it runs.

In: settings. Out: the environment that supervisord.conf names, and facts from supervisord's XML-RPC and from the web
processes' own sockets (the shared port cannot tell one of them from another).

    <state>/up.lock          held by supervisord for life: free means that nothing runs
    <state>/log/NAME.log     what each program said
    <run>/supervisor.sock    supervisord's XML-RPC
    <run>/web_N.sock         HTTP of that one process

    <run>/restart.lock       held by whoever restarts programs of this tree one after another

May import: settings, stores, lifeline, cpu_grant.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import xmlrpc.client
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from app.cpu_grant import web_processes
from app.lifeline import REFUSED_STATUS, take_lock
from app.settings import Settings
from app.stores import run_dir, supervisor_pid_file

__all__ = ["ROOT", "STOP_LIMIT_S", "Tree"]

STOP_LIMIT_S = 260.0  # the 250 s that supervisord.conf gives all groups to stop, one after another, and a little
RPC_S = 5.0
READY_S = 2.0
BODY_BYTES_MAX = 4096


def _root() -> Path:
    """Where supervisord.conf and etc/ are.

    An installation is started through a symbolic link to its release, and keeps that path: what supervisord starts
    again, after the link was switched, is the new release. Python does not resolve the path that it was started by.
    """
    source, start = Path(__file__).resolve().parents[1], Path(sys.prefix).parent
    return start if start.exists() and start.samefile(source) else source


ROOT = _root()


class Tree:
    """The tree of one state folder, running or not.

    Attributes:
        run: the folder of its sockets.
        logs: the folder of its programs' logs.
        socket: supervisord's.
        engines: names of the embedded engines.
        web_names: names of the web processes.
        worker_names: names of the workers.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.run = run_dir(settings)
        self.logs = settings.state_dir / "log"
        self.socket = self.run / "supervisor.sock"
        given = {"redis": settings.redis_url, "mongod": settings.mongodb_url}
        self.engines = [name for name, url in given.items() if url is None]
        self.web_names = [f"web_{number}" for number in range(settings.web_processes or web_processes())]
        count = settings.aggregators
        self.worker_names = ["aggregator"] if count == 1 else [f"aggregator_{number}" for number in range(count)]
        self.worker_names += ["announcer", "rollup", *(["backup"] if settings.backup_dir is not None else [])]
        self.worker_names += [f"jobs_{number}" for number in range(settings.jobs)]

    def as_started(self) -> Tree:
        """This tree with the settings that its programs start with, which may not be those of this shell.

        Raises SettingsError when the settings' file has become wrong.
        """
        environ = self.started_environ()
        return self if environ is None else Tree(Settings.from_environ(environ))

    def started_environ(self) -> Mapping[str, str] | None:
        """What supervisord was started with; None where none runs."""
        pid = self.supervisor_pid()
        try:
            return None if pid is None else psutil.Process(pid).environ()
        except psutil.Error:
            return None

    def environment(self) -> dict[str, str]:
        """What supervisord and its programs run with: paths absolute, every name of supervisord.conf filled.

        What the settings' file says is left out: every program reads that itself.
        """
        paths = {
            row["variable"]: str(value)
            for row in Settings.table()
            if isinstance(value := getattr(self.settings, row["field"]), Path) and os.environ.get(row["variable"])
        }
        parts = [f"embedded-{name}.conf" for name in self.engines]
        parts.append("aggregator.conf" if self.settings.aggregators == 1 else "aggregators.conf")
        parts += [f"{name}.conf" for name in self.worker_names if not name.startswith(("aggregator", "jobs"))]
        parts.append("jobs.conf")
        return {
            **os.environ,
            **paths,
            "BOLTLINK_STATE_DIR": str(self.settings.state_dir),
            "BOLTLINK_PYTHON": sys.executable,
            "BOLTLINK_RUN_DIR": str(self.run),
            "BOLTLINK_LOG_DIR": str(self.logs),
            "BOLTLINK_NUM_WEB": str(len(self.web_names)),
            "BOLTLINK_NUM_AGGREGATORS": str(self.settings.aggregators),
            "BOLTLINK_NUM_JOBS": str(self.settings.jobs),
            "BOLTLINK_INCLUDE": " ".join(f"etc/supervisor/{part}" for part in parts),
        }

    def is_held(self) -> bool:
        """Whether a supervisord lives on this state folder, or a command just starts or restores it."""
        lock = self.settings.state_dir / "up.lock"
        if not lock.exists():
            return False
        descriptor = take_lock(lock)
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is None

    def supervisor_pid(self) -> int | None:
        """The pid of the supervisord that lives on this state folder; None when none does, or not yet."""
        if not self.is_held():
            return None
        try:
            pid = int(supervisor_pid_file(self.settings).read_text())
            process = psutil.Process(pid)
            folder = Path(process.environ().get("BOLTLINK_STATE_DIR", ""))
            # A supervisord that was killed leaves its file, and its number may be another process's by now.
            is_ours = "app.supervision" in process.cmdline() and folder.samefile(self.settings.state_dir)
        except (OSError, ValueError, psutil.Error):
            return None
        return pid if is_ours else None

    def processes(self) -> list[dict[str, Any]] | None:
        """supervisord's account of each process (name, pid, statename, start, now); None when it does not answer."""
        try:
            return list(self.ask("getAllProcessInfo"))
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return None

    def refusal(self, info: Mapping[str, Any]) -> str | None:
        """Why a program will not work on this database, if supervisord says so of it; else None."""
        if info["statename"] != "EXITED" or info["exitstatus"] != REFUSED_STATUS:
            return None
        try:
            *_, line = (self.logs / f"{info['name']}.log").read_text().splitlines()
            return str(json.loads(line)["reason"])
        except (OSError, ValueError, KeyError):
            return "the database needs a newer release"

    def ask(self, method: str, *arguments: Any) -> Any:
        """Calls a method of supervisord. Raises OSError, HTTPException or, where it refuses, xmlrpc.client.Fault."""
        with xmlrpc.client.ServerProxy("http://localhost", transport=_UnixTransport(self.socket)) as proxy:
            return getattr(proxy.supervisor, method)(*arguments)

    def ready(self, name: str) -> tuple[bool, str]:
        """Whether a web process wants traffic, asked on its own socket, and why not."""
        connection = _UnixConnection(self.run / f"{name}.sock", READY_S)
        try:
            connection.request("GET", "/ready")
            answer = connection.getresponse()
            body = answer.read(BODY_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            return False, f"does not answer ({error})"
        finally:
            connection.close()
        return answer.status == http.HTTPStatus.OK, _reason(body)


def _reason(body: bytes) -> str:
    try:
        return str(json.loads(body).get("reason", ""))
    except (ValueError, AttributeError):
        return body.decode("utf-8", "replace").strip()[:200]


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket, with a time limit on every step."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over a unix socket in a folder that only this user may enter."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        """A connection to supervisord, whatever `host` says; kept where `close` finds it."""
        connection = _UnixConnection(self._path, RPC_S)
        self._connection = host, connection
        return connection
