"""How many servers of each store there are, and how many of them are well.

In: clients. Out: counts, for metrics and `boltlink doctor`. May import: client, connections, the two clients.
"""

from __future__ import annotations

from collections.abc import Mapping

from pymongo.errors import OperationFailure

from app.stores.client import Members, RedisClient
from app.stores.connections import Database

__all__ = ["MONGODB_WELL", "count_members"]

MONGODB_WELL = (1, 2, 7)  # states of members: primary, secondary, arbiter


async def count_members(database: Database, client: RedisClient) -> Mapping[str, Members]:
    """By store; a store is left out where it is no set, or does not say.

    Raises:
        PyMongoError, RedisError, OSError: one of them does not answer.
    """
    found = dict(await client.members())
    try:
        status = await database.client.admin.command("replSetGetStatus")
    except OperationFailure:  # no set, or its user may not ask
        return found
    states = [member["state"] for member in status["members"]]
    found["mongodb"] = Members(sum(state in MONGODB_WELL for state in states), len(states))
    return found
