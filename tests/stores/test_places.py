"""Paths of one node's sockets and folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.settings import Settings
from app.stores import PlaceError, make_private_folder, mongodb_socket, mongodb_url, redis_url, run_dir
from app.stores.places import SOCKET_PATH_BYTES_MAX


def settings_of(state: str, **more: str) -> Settings:
    return Settings.from_environ({"BOLTLINK_STATE_DIR": state, **more})


def test_sockets_are_in_the_state_folder() -> None:
    settings = settings_of("/srv/boltlink")
    assert run_dir(settings) == Path("/srv/boltlink/run")
    assert redis_url(settings) == "unix:///srv/boltlink/run/redis.sock"
    assert mongodb_url(settings) == "mongodb://%2Fsrv%2Fboltlink%2Frun%2Fmongod.sock/?replicaSet=rs0"


def test_given_urls_are_used_as_they_are() -> None:
    given = {"BOLTLINK_REDIS_URL": "redis://r:1/2", "BOLTLINK_MONGODB_URL": "mongodb://m/x?replicaSet=a"}
    settings = settings_of("/srv/boltlink", **given)
    assert redis_url(settings) == "redis://r:1/2"
    assert mongodb_url(settings) == "mongodb://m/x?replicaSet=a"


def test_deep_state_folder_gets_a_short_run_folder_always_the_same() -> None:
    deep = settings_of("/srv/" + "d" * 200)
    assert run_dir(deep) == run_dir(settings_of("/srv/" + "d" * 200))
    assert run_dir(deep) != run_dir(settings_of("/srv/" + "e" * 200))
    assert len(os.fsencode(run_dir(deep) / "supervisor.sock")) <= SOCKET_PATH_BYTES_MAX
    assert str(os.getuid()) in run_dir(deep).name


def test_session_of_whoever_asks_moves_no_socket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`boltlink up` by ssh and `boltlink backup` by cron: the one has these variables, the other has not."""
    both = settings_of("/srv/" + "d" * 200), settings_of("/home/Ada/links")
    before = [(run_dir(settings), mongodb_socket(settings)) for settings in both]
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert [(run_dir(settings), mongodb_socket(settings)) for settings in both] == before


def test_capital_letters_move_only_the_socket_of_mongod() -> None:
    settings = settings_of("/home/Ada/links")
    assert run_dir(settings) == Path("/home/Ada/links/run")
    assert "Ada" not in str(mongodb_socket(settings))


def test_private_folder_is_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    make_private_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    make_private_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_link_or_file_is_no_private_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").touch()
    for name in ("link", "file", "file/below"):
        with pytest.raises(PlaceError, match=name):
            make_private_folder(tmp_path / name)
