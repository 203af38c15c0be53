"""Engines as programs: found, refused, never two, back with their data."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import Settings
from app.stores import open_mongodb, open_redis, redis_url
from app.stores.embedded import EngineError, find_engine, prepare
from app.stores.places import mongodb_url
from tests.conftest import Engines


def settings_of(state: Path, **more: str) -> Settings:
    return Settings.from_environ({"BOLTLINK_STATE_DIR": str(state), **more})


def engine_saying(path: Path, version: str) -> Path:
    path.write_text(f"#!/bin/sh\necho 'db version v{version}'\n")
    path.chmod(0o700)
    return path


def test_engine_that_was_set_must_be_a_program(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="BOLTLINK_MONGOD"):
        find_engine("mongod", settings_of(tmp_path, BOLTLINK_MONGOD=str(tmp_path / "none")))


def test_engine_that_says_no_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="/bin/false"):
        prepare("mongod", settings_of(tmp_path / "s", BOLTLINK_MONGOD="/bin/false"))


def test_library_that_the_machine_lacks_is_named_with_its_package(tmp_path: Path) -> None:
    program = tmp_path / "mongod"  # as Debian's loader says it
    said = (
        f"{program}: error while loading shared libraries: libcurl.so.4: cannot open shared object file: No such file"
    )
    program.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 127\n")
    program.chmod(0o755)
    with pytest.raises(EngineError, match=r"needs libcurl\.so\.4, which this machine lacks: apt-get install libcurl4$"):
        prepare("mongod", settings_of(tmp_path / "s", BOLTLINK_MONGOD=str(program)))


def test_version_is_noted_and_data_of_a_newer_mongod_is_refused(tmp_path: Path) -> None:
    new, old = engine_saying(tmp_path / "new", "7.0.1"), engine_saying(tmp_path / "old", "6.0.5")
    prepare("mongod", settings_of(tmp_path / "s", BOLTLINK_MONGOD=str(new)))
    note = tmp_path / "s" / "mongodb" / "engine.json"
    assert json.loads(note.read_text())["version"] == [7, 0, 1]
    with pytest.raises(EngineError, match=r"7\.0\.1.*newer"):
        prepare("mongod", settings_of(tmp_path / "s", BOLTLINK_MONGOD=str(old)))
    assert json.loads(note.read_text())["version"] == [7, 0, 1]


def test_data_of_a_newer_redis_is_moved_aside(tmp_path: Path) -> None:
    new, old = engine_saying(tmp_path / "new", "7.2.0"), engine_saying(tmp_path / "old", "6.2.14")
    prepare("redis", settings_of(tmp_path / "s", BOLTLINK_REDIS_SERVER=str(new)))
    (tmp_path / "s" / "redis" / "dump.rdb").write_bytes(b"data")
    prepare("redis", settings_of(tmp_path / "s", BOLTLINK_REDIS_SERVER=str(old)))
    assert not (tmp_path / "s" / "redis" / "dump.rdb").exists()
    (aside,) = (tmp_path / "s").glob("redis-7.2.0-*")
    assert (aside / "dump.rdb").read_bytes() == b"data"


@pytest.mark.parametrize("name", ["redis", "mongod"])
def test_second_engine_on_the_same_folder_is_refused(engines: Engines, name: str) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "app.stores.embedded", name],
        env=engines.environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == 1
    assert second.stderr.strip() == f"another {name} runs on {engines.settings.state_dir}"
    assert Path(f"/proc/{engines.pid(name)}").exists()


def test_engine_started_by_a_dead_supervisord_does_not_run(tmp_path: Path) -> None:
    run = tmp_path / "s" / "run"
    run.mkdir(parents=True, mode=0o700)
    (run / "supervisord.pid").write_text("1")
    environ = {**os.environ, "BOLTLINK_STATE_DIR": str(tmp_path / "s"), "SUPERVISOR_ENABLED": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "app.stores.embedded", "redis"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "is gone" in done.stderr


def test_killed_mongod_comes_back_with_what_a_majority_had(engines: Engines) -> None:
    async def write() -> None:
        database = open_mongodb(mongodb_url(engines.settings).replace("/?", "/kept?"))
        await database["things"].insert_one({"_id": 1})
        await database.client.close()

    async def read() -> None:
        database = open_mongodb(mongodb_url(engines.settings).replace("/?", "/kept?"))
        assert await database["things"].find_one({}) == {"_id": 1}
        await database.client.drop_database("kept")
        await database.client.close()

    asyncio.run(write())
    engines.stop("mongod")
    engines.run("mongod")
    asyncio.run(read())


def test_killed_redis_comes_back(engines: Engines) -> None:
    async def ping() -> bool:
        client = open_redis(redis_url(engines.settings))
        try:
            return bool(await client.ping())
        finally:
            await client.aclose()

    engines.stop("redis")
    engines.run("redis")
    assert asyncio.run(ping())
