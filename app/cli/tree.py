"""The running process tree of one state folder, as seen from outside.

In: settings (which state folder), supervisord's XML-RPC and the web processes' own sockets. Out: facts.

    <state>/up.lock          held by supervisord for life: free means that nothing runs
    <run>/supervisord.pid    whom to signal while the lock is held
    <run>/tree.json          what `up` started: {"url", "metrics_url"}
    <run>/web_N.sock         HTTP of that one process, since the shared port cannot tell them apart
    <state>/log/NAME.log     what each program said

May import: settings, stores, lifeline.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import xmlrpc.client  # nosec  our own supervisord, on a socket in a folder that is ours alone
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.lifeline import take_lock
from app.settings import Settings
from app.stores import run_dir, supervisor_pid_file

__all__ = ["Program", "Readiness", "Tree", "TreeError"]

RPC_S = 5.0
READY_S = 2.0
BODY_BYTES_MAX = 4096


class TreeError(Exception):
    """supervisord does not answer; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One supervised process. `pid` is 0 and `uptime_s` 0 while it does not run."""

    name: str
    pid: int
    state: str
    uptime_s: int


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a web process wants traffic, and why not."""

    is_ready: bool
    reason: str


class Tree:
    """The tree of one state folder, running or not."""

    def __init__(self, settings: Settings) -> None:
        self.run_dir = run_dir(settings)
        self.log_dir = settings.state_dir / "log"
        self.lock = settings.state_dir / "up.lock"
        self.socket = self.run_dir / "supervisor.sock"
        self._pid_file = supervisor_pid_file(settings)
        self._facts = self.run_dir / "tree.json"
        self._public_url = settings.public_url

    def is_running(self) -> bool:
        """Whether a supervisord lives on this state folder."""
        if not self.lock.exists():
            return False
        descriptor = take_lock(self.lock)
        if descriptor is None:
            return True
        os.close(descriptor)
        return False

    def noted_pid(self) -> int | None:
        """The pid of supervisord; it is a living one's only while `is_running`."""
        try:
            return int(self._pid_file.read_text())
        except (OSError, ValueError):
            return None

    def note(self, *, url: str, metrics_url: str) -> None:
        """Keeps what `up` was told, for commands that were told otherwise."""
        self._facts.write_text(json.dumps({"url": url, "metrics_url": metrics_url}))

    def url(self) -> str:
        """The public address of the running tree, else the one that the settings say."""
        try:
            return str(json.loads(self._facts.read_text())["url"])
        except (OSError, ValueError, KeyError):
            return self._public_url

    def programs(self) -> list[Program]:
        """Every supervised process, in the order in which they start.

        Raises:
            TreeError: supervisord does not answer.
        """
        proxy = xmlrpc.client.ServerProxy("http://localhost", transport=_UnixTransport(self.socket))
        try:
            rows: Any = proxy.supervisor.getAllProcessInfo()
        except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
            raise TreeError(f"supervisord does not answer on {self.socket}: {error}") from error
        return [_program(row) for row in rows]

    def readiness(self, program: str) -> Readiness:
        """Asks one web process on its own socket."""
        connection = _UnixConnection(self.run_dir / f"{program}.sock", READY_S)
        try:
            connection.request("GET", "/ready")
            response = connection.getresponse()
            body = response.read(BODY_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            return Readiness(False, f"does not answer ({error})")
        finally:
            connection.close()
        return Readiness(response.status == http.HTTPStatus.OK, _reason(body))

    def starts(self) -> Counter[str]:
        """How often each program was started since this supervisord began, by supervisord's own log.

        Counted in what rotation kept (20 MB, some 100,000 starts).
        """
        count: Counter[str] = Counter()
        for path in sorted(self.log_dir.glob("supervisord.log*"), key=_rotation, reverse=True):
            try:
                text = path.read_text(errors="replace")
            except FileNotFoundError:  # rotated away in between
                continue
            for line in text.splitlines():
                if " supervisord started with pid " in line:
                    count.clear()
                elif match := _SPAWNED.search(line):
                    count[match[1]] += 1
        return count


_SPAWNED = re.compile(r" INFO spawned: '([^']+)' with pid \d+$")


def _rotation(path: Path) -> int:
    suffix = path.suffix.removeprefix(".")
    return int(suffix) if suffix.isdigit() else 0


def _program(row: dict[str, Any]) -> Program:
    pid = int(row["pid"])
    uptime_s = max(0, int(row["now"]) - int(row["start"])) if pid else 0
    return Program(name=str(row["name"]), pid=pid, state=str(row["statename"]), uptime_s=uptime_s)


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
    """XML-RPC over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _UnixConnection(self._path, RPC_S)
