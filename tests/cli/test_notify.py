"""systemd is told where it asked to be told, by a path or an abstract name."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

import pytest

from app.cli.notify import tell_systemd


@pytest.mark.parametrize("is_abstract", [False, True])
def test_systemd_is_told(is_abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"@boltlink-{secrets.token_hex(8)}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name.replace("@", "\0", 1) if is_abstract else name)
        systemd.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        tell_systemd("READY=1")
        assert systemd.recv(64) == b"READY=1"


def test_nobody_is_told_where_nobody_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    tell_systemd("READY=1")
