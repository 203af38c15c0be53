"""Clients of Redis and MongoDB, with time limits that suit each use.

In: URLs. Out: async clients that connect when first used. Redirects set their own, shorter limits on each call.
Where traces are sent, they tell of each call (`traced`); elsewhere nothing of that is loaded.
Redis is one server, or what sentinels call the primary, or a cluster: its users see no difference (`client`).
May import: settings, observe, client, sentinels, cluster, traced, and the two clients.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.monitoring import CommandListener
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from app.observe import is_tracing
from app.settings import read_redis_place
from app.stores.client import RedisClient
from app.stores.cluster import ClusterClient, open_cluster
from app.stores.driver import mend_waits
from app.stores.sentinels import SentinelClient, open_by_sentinels

__all__ = ["DATABASE_NAME", "Database", "open_mongodb", "open_redis"]

DATABASE_NAME = "boltlink"
CONNECT_S = 2.0
CALL_S = 10.0  # an API call may wait this long; redirects allow a store 250 ms
REDIS_CALL_S = 3.0  # nothing of ours takes Redis long: one that is silent for so long hangs, and another may be primary
HEARTBEAT_S = 10.0  # the driver's own
MONGODB_SELECT_MS = 2_000  # how long a call waits for a primary
REDIS_CONNECTIONS_MAX = 32

Database = AsyncDatabase[Mapping[str, Any]]
C = TypeVar("C", bound=RedisClient)


def open_redis(url: str) -> RedisClient:
    """A client of bytes. It never retries by itself: a lost connection must be noticed, not hidden.

    Raises:
        ValueError, TypeError: it is a URL of which no client can be made.
    """
    mend_waits()
    options: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_S,
        "socket_timeout": REDIS_CALL_S,
        "max_connections": REDIS_CONNECTIONS_MAX,
        "retry": Retry(NoBackoff(), 0),
        "driver_info": None,  # by CLIENT SETINFO, of Redis 7.2: the rights of an earlier one cannot allow it
        "protocol": 2,  # no reply comes that nobody asked for, and `Pipe` reads them
    }
    place = read_redis_place(url)
    if place is None:
        client = _traced(RedisClient).from_url(url, **options)
        assert isinstance(client, RedisClient)
        return client
    if place.kind == "sentinel":
        return open_by_sentinels(place, _traced(SentinelClient), options)
    return open_cluster(place, _traced(ClusterClient), options)


def open_mongodb(url: str, *, call_s: float = CALL_S, heartbeat_s: float = HEARTBEAT_S) -> Database:
    """The database that the URL names, or `boltlink`: majority writes, reads from the primary.

    Args:
        call_s: what a call may take: longer where indexes of millions of documents are made.
        heartbeat_s: how often MongoDB is asked whether it lives. One that hangs is given up, with all calls that wait
            for it, at most CONNECT_S after it should have said so; `call_s` alone ends none, as the driver tries again.
    """
    mend_waits()
    client: AsyncMongoClient[Mapping[str, Any]] = AsyncMongoClient(
        url,
        serverSelectionTimeoutMS=MONGODB_SELECT_MS,
        connectTimeoutMS=int(CONNECT_S * 1000),
        heartbeatFrequencyMS=int(heartbeat_s * 1000),
        socketTimeoutMS=int(call_s * 1000),
        retryWrites=True,
        tz_aware=True,
        event_listeners=_listeners(),
    )
    return client.get_default_database(
        DATABASE_NAME,
        write_concern=WriteConcern(w="majority"),
        read_preference=ReadPreference.PRIMARY,
    )


def _traced(kind: type[C]) -> type[C]:
    if not is_tracing():
        return kind
    from app.stores.traced import traced_class  # noqa: PLC0415  see above

    return traced_class(kind)


def _listeners() -> list[CommandListener]:
    if not is_tracing():
        return []
    from app.stores.traced import CommandSpans  # noqa: PLC0415  see above

    return [CommandSpans()]
