"""Connections to Redis and MongoDB, where they are, and the engines that BoltLink brings along.

The engines' own program, `app.stores.embedded`, and `replica_set` are imported by name: they are needed seldom.
"""

from app.stores.breaker import Breaker, BreakerState
from app.stores.connections import DATABASE_NAME, Database, open_mongodb, open_redis
from app.stores.places import (
    PlaceError,
    make_private_folder,
    mongodb_socket,
    mongodb_url,
    redis_socket,
    redis_url,
    replica_set_url,
    run_dir,
    supervisor_pid_file,
)

__all__ = [
    "DATABASE_NAME",
    "Breaker",
    "BreakerState",
    "Database",
    "PlaceError",
    "make_private_folder",
    "mongodb_socket",
    "mongodb_url",
    "open_mongodb",
    "open_redis",
    "redis_socket",
    "redis_url",
    "replica_set_url",
    "run_dir",
    "supervisor_pid_file",
]
