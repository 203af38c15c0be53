"""Looks at Redis and MongoDB: whether they answer, how soon, and whether they are set as BoltLink needs them.

In: settings. Out: findings. Nothing is written. May import: schema, settings, stores.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from pymongo.errors import OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri
from redis.exceptions import RedisError

from app.cli.doctor.findings import Finding, State, fail, ok, warn
from app.cli.doctor.servers import about_servers
from app.schema import SHAPE
from app.stores import (
    MONGODB_WELL,
    SCHEMA,
    SCHEMA_VERSION,
    Database,
    missing_indexes,
    mongodb_url,
    open_mongodb,
    open_redis,
    redis_url,
)
from app.stores.embedded import MONGODB_TRANSACTION_S
from app.tree import Tree

__all__ = ["about_stores"]

ANSWER_S = 3.0
PINGS = 20
LATENCY_GOOD_MS = 5.0
LATENCY_MAX_MS = 250.0  # what redirects allow a store
DRIFT_GOOD_S = 1.0
DRIFT_MAX_S = 10.0
REDIS_MIN, MONGODB_MIN = (6, 0), (6, 0)
_NAME_ALL = "Let BOLTLINK_MONGODB_URL name all members, with replicaSet and without directConnection."
#: The latter two: a client that cannot be made of its URL, such as one with an unknown parameter.
_STORE_ERRORS = (RedisError, PyMongoError, OSError, TimeoutError, ValueError, TypeError)


async def about_stores(tree: Tree) -> list[Finding]:
    """Everything about both; embedded ones that do not run are not missed."""
    runs = tree.supervisor_pid() is not None
    found: list[Finding] = []
    for name, check, look in (("redis", "redis", _about_redis), ("mongod", "mongodb", _about_mongodb)):
        if name in tree.engines and not runs:
            found.append(ok(check, "embedded, does not run"))
            continue
        try:
            async with asyncio.timeout(ANSWER_S * 5):
                found += [finding async for finding in look(tree)]
        except _STORE_ERRORS as error:
            found.append(_away(tree, name, check, error))
    return found


def _away(tree: Tree, name: str, check: str, error: BaseException) -> Finding:
    means = {
        "redis": "Redirects come from memory and MongoDB; changes are seen late.",
        "mongodb": "Redirects go on from what is known, clicks wait on disk, the API is 503.",
    }[check]
    reason = str(error).split("\n", maxsplit=1)[0].split(", Timeout:")[0][:200] or type(error).__name__
    if name in tree.engines:
        return fail(check, f"does not answer ({reason})", means, f"boltlink logs {name}")
    variable = f"BOLTLINK_{check.upper()}_URL"
    return fail(
        check, f"does not answer ({reason})", means, f"Start it, or mend {variable}; mind firewalls and passwords."
    )


async def _about_redis(tree: Tree) -> AsyncIterator[Finding]:
    client = open_redis(redis_url(tree.settings))
    try:
        async with asyncio.timeout(ANSWER_S):
            servers = await client.primaries()
            infos: list[dict[str, Any]] = [await server.info("all") for server in servers]
        for look in (_redis_itself, _redis_memory, _redis_persistence):
            yield _worst([look(info) for info in infos])
        yield await about_servers(client)
        yield await _latency("redis.latency", client.ping)
        for server in servers:
            seconds, microseconds = await server.time()
            yield _drift("Redis", seconds + microseconds / 1e6)
    finally:
        await client.aclose()


def _worst(findings: list[Finding]) -> Finding:
    """Of several servers, what one says that is not as well as the others."""
    return max(findings, key=lambda finding: list(State).index(finding.state))


def _redis_itself(info: dict[str, Any]) -> Finding:
    version = str(info.get("redis_version", "0.0"))
    if _version(version) < REDIS_MIN:
        return fail("redis", f"version {version}", "Its scripts may not run.", "Install Redis 6 or later.")
    if info.get("role") != "master":
        means = "Changes of links cannot be written."
        return fail("redis", f"version {version}, a replica", means, "Let BOLTLINK_REDIS_URL name the primary.")
    return ok("redis", f"version {version}")


def _redis_memory(info: dict[str, Any]) -> Finding:
    policy, most, used = info.get("maxmemory_policy"), int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    found = f"{used / 1e6:.0f} MB used, maxmemory {most / 1e6:.0f} MB, {policy}"
    do = "CONFIG SET maxmemory 256mb, maxmemory-policy volatile-lru; and in redis.conf."
    if most and policy == "noeviction":
        return fail("redis.memory", found, "When it is full, changes of links are refused.", do)
    if not most:
        return warn("redis.memory", f"{used / 1e6:.0f} MB used, no limit", "It may grow until the kernel kills it.", do)
    return ok("redis.memory", found)


def _redis_persistence(info: dict[str, Any]) -> Finding:
    failed = [name for name in ("rdb_last_bgsave_status", "aof_last_write_status") if info.get(name, "ok") != "ok"]
    if failed:
        means = "It may refuse to write (stop-writes-on-bgsave-error), and comes back old."
        return fail("redis.persistence", f"{', '.join(failed)}: err", means, "Look at its log and its disk.")
    if info.get("aof_enabled"):
        means = "Each change is written twice; what Redis loses, MongoDB has."
        return warn(
            "redis.persistence", "append-only file on", means, "CONFIG SET appendonly no, unless others need it."
        )
    return ok("redis.persistence", "snapshots written" if info.get("rdb_last_save_time") else "none")


async def _about_mongodb(tree: Tree) -> AsyncIterator[Finding]:
    database = open_mongodb(mongodb_url(tree.settings))
    try:
        hello = await database.client.admin.command("hello")
        info = await database.client.server_info()
        version = info["version"]
        if _version(version) < MONGODB_MIN:
            yield fail("mongodb", f"version {version}", "It lacks what is used.", "Install MongoDB 6 or later.")
        else:
            yield ok("mongodb", f"version {version}")
        yield _drift("MongoDB", hello["localTime"].replace(tzinfo=hello["localTime"].tzinfo or UTC).timestamp())
        yield await _replica_set(database, mongodb_url(tree.settings), hello)
        yield await _transactions(database)
        yield await _schema(database)
        yield await _indexes(database)
        yield await _latency("mongodb.latency", lambda: database.command("ping"))
    finally:
        await database.client.close()


async def _replica_set(database: Database, url: str, hello: dict[str, Any]) -> Finding:
    check = "mongodb.replica_set"
    if "setName" not in hello:
        means = "No click is counted and no change announced: there are no transactions and no change stream."
        return fail(check, "a single server", means, "Start mongod with --replSet rs0, then rs.initiate().")
    try:
        status = await database.client.admin.command("replSetGetStatus")
    except OperationFailure as error:
        return warn(
            check, f"does not say ({error.code})", "A lost majority would not be seen here.", "Grant clusterMonitor."
        )
    reason = _unsafe_url(database, url) if len(status["members"]) > 1 else None
    return _majority(status) if reason is None else warn(check, reason, "A fail-over would not be followed.", _NAME_ALL)


def _unsafe_url(database: Database, url: str) -> str | None:
    if database.client.topology_description.topology_type_name == "Single":
        return "a direct connection to one member of several"
    if "+srv" not in url and len(parse_uri(url)["nodelist"]) == 1:
        return "the URL names one member of several: while that is away, nothing starts"
    return None


def _majority(status: dict[str, Any]) -> Finding:
    check, members = "mongodb.replica_set", status["members"]
    good = [member for member in members if member["state"] in MONGODB_WELL]
    found = f"{len(good)} of {len(members)} members of {status['set']} are up"
    if len(good) * 2 <= len(members):
        return fail(check, found, "There is no majority: nothing can be written.", "Start the others.")
    if len(good) < len(members):
        return warn(check, found, "One more may be one too many.", "Start the others: rs.status()")
    if len(members) % 2 == 0:
        return warn(check, found, "An even set bears no more than one less.", "Add a member or an arbiter.")
    return ok(check, found)


async def _transactions(database: Database) -> Finding:
    check, name = "mongodb.settings", "transactionLifetimeLimitSeconds"
    try:
        seconds = (await database.client.admin.command({"getParameter": 1, name: 1}))[name]
    except OperationFailure as error:
        return warn(
            check, f"{name} is not shown ({error.code})", "It may be 60.", f"Set it to {MONGODB_TRANSACTION_S}."
        )
    if seconds > MONGODB_TRANSACTION_S:
        means = f"A worker that is stopped inside one holds its successor up for {seconds * 1.5:.0f} s."
        do = f"setParameter: {name}: {MONGODB_TRANSACTION_S} in mongod.conf of every member"
        return warn(check, f"{name} is {seconds}", means, do)
    return ok(check, f"{name} is {seconds}")


async def _schema(database: Database) -> Finding:
    check = "mongodb.schema"
    row = await database[SCHEMA].find_one({"_id": "boltlink"})
    if row is None:
        return ok(check, f"a new database; `boltlink up` makes version {SCHEMA_VERSION}")
    stored, oldest = row["version"], row.get("oldest", row["version"])
    if oldest > SCHEMA_VERSION:
        means = f"It needs programs of version {oldest}; this release has {SCHEMA_VERSION}, and none of it starts."
        return fail(check, f"version {stored}", means, "Install the newer release again.")
    if stored < SCHEMA_VERSION:
        return warn(check, f"version {stored}", f"This release writes {SCHEMA_VERSION}.", "boltlink reload")
    return ok(check, f"version {stored}")


async def _indexes(database: Database) -> Finding:
    check = "mongodb.indexes"
    there = await database.list_collection_names()
    missing = await missing_indexes(database, SHAPE)
    if missing and not there:
        return ok(check, "a new database; `boltlink up` makes them")
    if missing:
        means = "What they serve reads whole collections, or is refused."
        return fail(check, f"missing: {', '.join(missing)}", means, "boltlink reload makes them again")
    return ok(check, f"{sum(map(len, SHAPE.indexes.values()))} are there")


async def _latency(check: str, ping: Callable[[], Awaitable[Any]]) -> Finding:
    times = []
    for _ in range(PINGS):
        began_s = time.perf_counter()
        await ping()
        times.append((time.perf_counter() - began_s) * 1000)
    median = statistics.median(times)
    found = f"{median:.2f} ms, the slowest of {PINGS} {max(times):.2f} ms"
    do = "Let it run in the same network, on a machine that has CPU and disk left."
    if median >= LATENCY_MAX_MS:
        return fail(check, found, f"Redirects wait for {LATENCY_MAX_MS:.0f} ms, then do without.", do)
    if median >= LATENCY_GOOD_MS:
        return warn(check, found, "Redirects of links that memory lacks are as slow.", do)
    return ok(check, found)


def _drift(store: str, theirs_s: float) -> Finding:
    drift = theirs_s - datetime.now(UTC).timestamp()
    found = f"{store}: {drift:+.2f} s"
    do = "Synchronise both machines: chrony, or systemd-timesyncd."
    if abs(drift) >= DRIFT_MAX_S:
        return fail("clock.stores", found, "Leases and links end at the wrong time.", do)
    if abs(drift) >= DRIFT_GOOD_S:
        return warn("clock.stores", found, "Leases and links end a little early or late.", do)
    return ok("clock.stores", found)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
