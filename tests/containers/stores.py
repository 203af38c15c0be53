"""Redis and MongoDB as compose.yaml runs them: over TCP, with a password, MongoDB as a replica set with a key file.

In: a folder. Out: running engines of the installed wheels, and the file of settings that leads to them.
"""

from __future__ import annotations

import secrets
import subprocess
import time
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from app.settings import Settings
from app.stores.embedded import find_engine

__all__ = ["SecuredStores"]

MONGODB_PORT, REDIS_PORT = 27017, 6379
ANSWER_S = 30.0


class SecuredStores:
    """Both engines, and what nobody may find anywhere but in files.

    Attributes:
        passwords: of Redis and of MongoDB.
    """

    def __init__(self, folder: Path) -> None:
        self.passwords = [secrets.token_hex(12), secrets.token_hex(12)]
        self._folder = folder
        self._settings = Settings.from_environ({"BOLTLINK_STATE_DIR": str(folder)})
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._key = folder / "mongodb-key"
        (folder / "mongodb").mkdir(parents=True)
        self._key.write_text(secrets.token_hex(100))
        self._key.chmod(0o400)
        redis = folder / "redis.conf"
        redis.write_text(f'requirepass {self.passwords[0]}\nport {REDIS_PORT}\nbind 127.0.0.1\nsave ""\n')
        self._run("redis", [str(find_engine("redis", self._settings)), str(redis)])
        self.start_mongodb()
        self._make_replica_set()

    @property
    def settings(self) -> str:
        """The file of settings."""
        redis, mongodb = self.passwords
        return (
            f"BOLTLINK_REDIS_URL=redis://:{redis}@127.0.0.1:{REDIS_PORT}/0\n"
            f"BOLTLINK_MONGODB_URL=mongodb://boltlink:{mongodb}@127.0.0.1:{MONGODB_PORT}/boltlink"
            "?replicaSet=rs0&authSource=admin\n"
        )

    def start_mongodb(self) -> None:
        """mongod, over the data that is there."""
        command = [str(find_engine("mongod", self._settings)), "--dbpath", str(self._folder / "mongodb")]
        command += ["--replSet", "rs0", "--keyFile", str(self._key), "--bind_ip", "127.0.0.1", "--nounixsocket"]
        command += ["--port", str(MONGODB_PORT), "--wiredTigerCacheSizeGB", "0.25"]
        self._run("mongodb", command)

    def stop_mongodb(self) -> None:
        """It is away."""
        process = self._processes.pop("mongodb")
        process.terminate()
        process.wait(60)

    def close(self) -> None:
        """Both are gone."""
        for process in self._processes.values():
            process.kill()
            process.wait()

    def _run(self, name: str, command: list[str]) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(command, stdout=log, stderr=log)

    def _make_replica_set(self) -> None:
        """By the exception for whoever asks from the machine itself while there is no user."""
        client: MongoClient[dict[str, Any]] = MongoClient("127.0.0.1", MONGODB_PORT, directConnection=True)
        deadline = time.monotonic() + ANSWER_S
        member = {"_id": 0, "host": f"127.0.0.1:{MONGODB_PORT}"}
        self._ask(client, deadline, {"replSetInitiate": {"_id": "rs0", "members": [member]}})
        self._ask(client, deadline, {"createUser": "boltlink", "pwd": self.passwords[1], "roles": ["root"]})
        client.close()

    @staticmethod
    def _ask(client: MongoClient[dict[str, Any]], deadline: float, command: dict[str, Any]) -> None:
        while True:
            try:
                client.admin.command(command)
            except PyMongoError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return
