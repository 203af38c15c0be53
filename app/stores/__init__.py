"""Connections to Redis and MongoDB, where they are, and the engines that BoltLink brings along.

The engines' own program, `app.stores.embedded`, and `replica_set` are imported by name: they are needed seldom. The
clients are loaded when they are first asked for: an engine that starts again does not wait 0.18 s for libraries that it
never uses (`python -X importtime -c 'import app.stores.embedded'`: 190 ms with them, 50 ms without).
"""

from typing import TYPE_CHECKING, Any

from app.stores.breaker import Breaker, BreakerState
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

if TYPE_CHECKING:
    from app.stores.client import Members, Pipes, RedisClient, SomeFailedError, well_replicas
    from app.stores.cluster import ClusterClient
    from app.stores.connections import Database, open_mongodb, open_redis
    from app.stores.lease import LEASES, Lease, LeaseLostError, renewing
    from app.stores.members import MONGODB_WELL, count_members
    from app.stores.migrations import Migration, Migrations, mark_migrated
    from app.stores.pipe import Pipe, command
    from app.stores.schema import (
        RESTORE_ID,
        SCHEMA,
        SCHEMA_VERSION,
        HalfRestoredError,
        SchemaError,
        SchemaState,
        Shape,
        check_data,
        make_schema,
        missing_indexes,
        read_schema,
    )
    from app.stores.sentinels import SentinelClient
    from app.stores.slots import SLOTS, survey
    from app.stores.stream import ChangeStream, HistoryLostError
    from app.stores.transactions import (
        LostRaceError,
        Session,
        Trace,
        UnknownOutcomeError,
        insert_rows,
        transact,
        transaction,
    )

__all__ = [
    "LEASES",
    "MONGODB_WELL",
    "RESTORE_ID",
    "SCHEMA",
    "SCHEMA_VERSION",
    "SLOTS",
    "Breaker",
    "BreakerState",
    "ChangeStream",
    "ClusterClient",
    "Database",
    "HalfRestoredError",
    "HistoryLostError",
    "Lease",
    "LeaseLostError",
    "LostRaceError",
    "Members",
    "Migration",
    "Migrations",
    "Pipe",
    "Pipes",
    "PlaceError",
    "RedisClient",
    "SchemaError",
    "SchemaState",
    "SentinelClient",
    "Session",
    "Shape",
    "SomeFailedError",
    "Trace",
    "UnknownOutcomeError",
    "check_data",
    "command",
    "count_members",
    "insert_rows",
    "make_private_folder",
    "make_schema",
    "mark_migrated",
    "missing_indexes",
    "mongodb_socket",
    "mongodb_url",
    "open_mongodb",
    "open_redis",
    "read_schema",
    "redis_socket",
    "redis_url",
    "renewing",
    "replica_set_url",
    "run_dir",
    "supervisor_pid_file",
    "survey",
    "transact",
    "transaction",
    "well_replicas",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from app.stores import (  # noqa: PLC0415
        client,
        cluster,
        connections,
        lease,
        members,
        migrations,
        pipe,
        schema,
        sentinels,
        slots,
        stream,
        transactions,
    )

    parts = (
        *(schema, migrations, lease, pipe, client, members, transactions, connections, stream),
        *(cluster, sentinels, slots),
    )
    return getattr(next(part for part in parts if name in part.__all__), name)
