"""Who still may do what, of those that something was made by long ago.

In: names as the audit log has them. Out: the rights that each has now; nobody whose key was revoked or ran out, or who
was removed or disabled. May import: keys, users, stores.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from app.accounts.callers import Caller
from app.accounts.keys import KEYS, ApiKey
from app.accounts.users import USERS, User
from app.stores import Database

__all__ = ["find_callers"]


async def find_callers(database: Database, names: Collection[str], now_s: float) -> dict[str, Caller]:
    """By their names, `key:ID` or `user:ID`; those that are no more are left out."""
    keys = [name.removeprefix("key:") for name in names if name.startswith("key:")]
    users = [name.removeprefix("user:") for name in names if name.startswith("user:")]
    callers: list[Caller] = []
    if keys:
        async for row in database[KEYS].find({"_id": {"$in": keys}, "revoked": None}):
            key = msgspec.convert({**row, "id": row["_id"]}, ApiKey)
            if key.expires is None or now_s < key.expires:
                callers.append(key.caller())
    if users:
        async for row in database[USERS].find({"_id": {"$in": users}, "disabled": False}):
            callers.append(msgspec.convert({**row, "id": row["_id"]}, User).caller())
    return {caller.who: caller for caller in callers}
