"""Real web processes on the engines of the tests: one port, a unix socket for each, and stores to look into."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from app.stores import run_dir
from tests import fetch
from tests.conftest import Engines, accepts, wait_for
from tests.system.conftest import free_ports

__all__ = ["ADMIN_KEY", "Web", "run_web"]

ADMIN_KEY = "blk_admin-key-of-the-tests"


class Web:
    """Some web processes; `clients` has one client for each, `api` one with the key."""

    def __init__(self, engines: Engines, count: int, **settings: str) -> None:
        self.port, metrics_port = free_ports(2)
        self.environ = {
            **{name: value for name, value in engines.environ.items() if not name.startswith("BOLTLINK_")},
            "BOLTLINK_STATE_DIR": engines.environ["BOLTLINK_STATE_DIR"],
            "BOLTLINK_PORT": str(self.port),
            "BOLTLINK_METRICS_PORT": str(metrics_port),
            "BOLTLINK_ADMIN_KEY": ADMIN_KEY,
            **settings,
        }
        run = run_dir(engines.settings)
        self.sockets = [run / f"web_{number}.sock" for number in range(count)]
        self._log = Path(engines.environ["BOLTLINK_STATE_DIR"]) / "web.log"
        self._processes: list[subprocess.Popen[bytes]] = []
        self.clients = [self._client(str(path)) for path in self.sockets]
        self.api = self._client(str(self.sockets[0]), headers={"Authorization": f"Bearer {ADMIN_KEY}"})

    def start(self) -> None:
        """Starts them and waits until each is ready."""
        for number in range(len(self.sockets)):
            environ = {**self.environ, "SUPERVISOR_PROCESS_NAME": f"web_{number}"}
            with self._log.open("ab") as log:
                command = [sys.executable, "-m", "app.main"]
                self._processes.append(subprocess.Popen(command, env=environ, stdout=log, stderr=log))
        for client in self.clients:
            wait_for(lambda client=client: self._is_ready(client))  # type: ignore[misc]
        wait_for(lambda: self.api.get("/api/v1/keys").status_code == 200)

    def make(self, target: str = "https://example.com/", **fields: Any) -> str:
        """A link by the API; its slug."""
        answer = self.api.post("/api/v1/links", json={"target": target, **fields})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["slug"])

    def stop(self) -> None:
        """Ends them in order."""
        for client in (*self.clients, self.api):
            client.close()
        for process in self._processes:
            process.terminate()
        codes = [process.wait(30) for process in self._processes]
        assert codes == [0] * len(codes), self._log.read_text()[-4000:]

    def _is_ready(self, client: httpx.Client) -> bool:
        assert all(process.poll() is None for process in self._processes), self._log.read_text()[-4000:]
        return all(map(accepts, self.sockets)) and client.get("/ready").status_code == 200

    @staticmethod
    def _client(path: str, **options: Any) -> httpx.Client:
        return fetch.Client(base_url="http://127.0.0.1", transport=fetch.HTTPTransport(uds=path), timeout=30, **options)


@contextmanager
def run_web(engines: Engines, count: int = 1, **settings: str) -> Iterator[Web]:
    """Web processes that are stopped in order at the end."""
    web = Web(engines, count, **settings)
    try:
        web.start()
        yield web
    finally:
        web.stop()
