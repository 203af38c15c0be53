"""Makes an embedded mongod the primary of a replica set of one, and mends it when its folder was moved.

In: the socket of a mongod that was started with `--replSet rs0`. Out: a primary.
A replica set remembers its member's address; in a moved state folder that is a socket elsewhere, so mongod finds
itself "not a member" (InvalidReplicaSetConfig, 93) until a forced reconfiguration names the new one.
May import: pymongo.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pymongo import MongoClient
from pymongo.errors import ConnectionFailure, OperationFailure

__all__ = ["ensure_replica_set"]

NOT_YET_INITIALIZED = 94
INVALID_CONFIG = 93
STEP_S = 0.05


def ensure_replica_set(socket: Path, *, limit_s: float = 30.0) -> None:
    """Returns when the mongod at `socket` is a primary.

    Raises:
        TimeoutError: it did not answer, or did not become one, within `limit_s`.
    """
    deadline = time.monotonic() + limit_s
    client: MongoClient[dict[str, Any]] = MongoClient(
        f"mongodb://{quote(str(socket), safe='')}/?directConnection=true",
        serverSelectionTimeoutMS=250,
        connectTimeoutMS=1000,
    )
    with client:
        while time.monotonic() < deadline:
            try:
                if client.admin.command("hello").get("isWritablePrimary"):
                    return
                _configure(client, str(socket))
            except (ConnectionFailure, OperationFailure):
                pass  # not up yet, or electing: asked again until the limit
            time.sleep(STEP_S)
    raise TimeoutError(f"mongod at {socket} did not become a primary within {limit_s:.0f} s")


def _configure(client: MongoClient[dict[str, Any]], address: str) -> None:
    try:
        client.admin.command("replSetGetStatus")
    except OperationFailure as error:
        if error.code == NOT_YET_INITIALIZED:
            config: dict[str, Any] = {"_id": "rs0", "members": [{"_id": 0, "host": address}]}
            client.admin.command({"replSetInitiate": config})
        elif error.code == INVALID_CONFIG:
            config = client.admin.command("replSetGetConfig")["config"]
            config["members"][0]["host"] = address
            config["version"] += 1
            client.admin.command({"replSetReconfig": config, "force": True})
        else:
            raise
