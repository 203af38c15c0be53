"""How far clicks are counted, over all nodes: what each aggregator notes, taken together.

In: the checkpoints `aggregator/NODE`. Out: the time before which every click is counted, as far as anybody knows.
A node that has noted nothing for FORGOTTEN_DAYS is not waited for; its clicks come late. May import: stores.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pymongo.asynchronous.client_session import AsyncClientSession

from app.analytics.ledger import CHECKPOINTS
from app.stores import Database

__all__ = ["read_as_of"]

FORGOTTEN_DAYS = 1


async def read_as_of(database: Database, now_s: float, session: AsyncClientSession | None = None) -> datetime | None:
    """Up to when all nodes' clicks are counted; None when no node has said so of late."""
    since = datetime.fromtimestamp(now_s, UTC) - timedelta(days=FORGOTTEN_DAYS)
    rows = database[CHECKPOINTS].find({"as_of": {"$gt": since}}, {"as_of": 1}, session=session)
    times: list[datetime] = [row["as_of"] async for row in rows]
    return min(times, default=None)
