"""Makes the replica set of the cluster, and its user: `python replica_set.py HOST:PORT…`, on the last of its machines.

Again, it changes nothing. The password comes by BOLTLINK_CLUSTER_SECRET.
"""

import os
import sys
import time
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

LIMIT_S = 300.0
UNAUTHORIZED, ALREADY_INITIALIZED, USER_EXISTS = 13, 23, 51003


def ask(client: MongoClient[dict[str, Any]], command: dict[str, Any], *done: int) -> bool:
    """Whether it is so now; `done` are MongoDB's codes of what was so before."""
    try:
        client.admin.command(command)
    except OperationFailure as error:
        return error.code in done
    except PyMongoError:
        return False
    return True


def main(hosts: list[str]) -> None:
    """One set of all members, then its user: MongoDB takes the first one from whoever asks on the machine itself."""
    members = [{"_id": number, "host": host, "priority": 1} for number, host in enumerate(hosts)]
    members[-1]["priority"] = 2  # this machine's, so that it becomes the primary and can be asked here
    client: MongoClient[dict[str, Any]] = MongoClient(
        "127.0.0.1", int(hosts[-1].rpartition(":")[2]), directConnection=True, serverSelectionTimeoutMS=2000
    )
    initiate = {"replSetInitiate": {"_id": "rs0", "members": members}}
    user = {"createUser": "boltlink", "pwd": os.environ["BOLTLINK_CLUSTER_SECRET"], "roles": ["root"]}
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        # Once there is a user, a stranger may do neither.
        if ask(client, initiate, ALREADY_INITIALIZED, UNAUTHORIZED) and ask(client, user, USER_EXISTS, UNAUTHORIZED):
            return
        time.sleep(0.5)
    sys.exit(f"no replica set of {' '.join(hosts)} within {LIMIT_S:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
