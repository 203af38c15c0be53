"""The files that make the image: what they copy, what they name, and how health is asked."""

from __future__ import annotations

import http.server
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from app.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
HEALTHY = ROOT / "etc" / "container" / "healthy"


def test_the_image_holds_what_the_installer_takes() -> None:
    parts = re.search(r"^PARTS=\((.*)\)$", (ROOT / "etc" / "install.sh").read_text(), re.MULTILINE)
    assert parts is not None
    taken = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert taken == set(parts[1].split()) - {"docs"}


def test_every_variable_is_a_setting_and_holds() -> None:
    known = {row["variable"] for row in Settings.table()}
    given = dict(re.findall(r"(BOLTLINK_\w+)=(\S+)", DOCKERFILE))
    assert set(given) <= known
    settings = Settings.from_environ(given)
    assert settings.state_dir == Path("/var/lib/boltlink/state")
    assert re.search(r"^VOLUME /var/lib/boltlink$", DOCKERFILE, re.MULTILINE)
    assert re.search(rf"^EXPOSE {settings.port} {settings.metrics_port}$", DOCKERFILE, re.MULTILINE)


class Answer(http.server.BaseHTTPRequestHandler):
    """Answers with the status that the server was given."""

    def do_GET(self) -> None:
        assert isinstance(self.server, Asked)
        self.server.paths.append(self.path)
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class Asked(http.server.HTTPServer):
    """Notes what it is asked for."""

    def __init__(self, status: int) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.status = status
        self.paths: list[str] = []


def healthy(port: int) -> int:
    command = [sys.executable, "-IS", str(HEALTHY)]
    environ = {**os.environ, "BOLTLINK_PORT": str(port)}
    return subprocess.run(command, env=environ, capture_output=True, check=False).returncode


@pytest.mark.parametrize(("status", "expected"), [(200, 0), (503, 1)])
def test_health_is_what_ready_says_while_redirects_can_be_served(status: int, expected: int) -> None:
    server = Asked(status)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        assert healthy(server.server_port) == expected
        assert server.paths == ["/ready?degraded=ok"]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert healthy(server.server_port) == 1
