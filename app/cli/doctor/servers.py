"""Looks at a Redis of several servers: whether sentinels agree, replicas keep up, a cluster covers all slots.

In: a client. Out: findings of the check `redis.servers`. Nothing is written. May import: stores.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from app.cli.doctor.findings import Finding, fail, ok, warn
from app.stores import SLOTS, ClusterClient, RedisClient, SentinelClient, survey, well_replicas

__all__ = ["about_servers"]

CHECK = "redis.servers"
SENTINELS_MIN = 3


async def about_servers(client: RedisClient) -> Finding:
    """What the servers say of each other. Raises RedisError, OSError, TimeoutError."""
    if isinstance(client, SentinelClient):
        return await _about_sentinels(client)
    if isinstance(client, ClusterClient):
        return await _about_cluster(client)
    return ok(CHECK, "a single one")


async def _about_sentinels(client: SentinelClient) -> Finding:
    answers = await client.sentinels()
    silent = [f"{name} {answer}" for name, answer in answers.items() if isinstance(answer, str)]
    states = [state for state in answers.values() if not isinstance(state, str)]
    named = Counter(f"{state['ip']}:{state['port']}" for state in states)
    address, agreed = named.most_common(1)[0]
    info: dict[str, Any] = await client.info("replication")
    found = f"{agreed} of {len(answers)} sentinels name {address}; replicas: {_replicas(info)}"
    known = max(int(state["num-slaves"]) for state in states)
    if agreed * 2 <= len(answers):
        means = "When the primary dies, nobody can choose another."
        return fail(
            CHECK, f"{found}; {'; '.join(silent)}", means, "Start the other sentinels, or let the URL name them."
        )
    if silent or len(named) > 1:
        return warn(CHECK, f"{found}; {'; '.join(silent)}", "One less may be too few.", "Look at the others' logs.")
    if len(answers) < SENTINELS_MIN:
        return warn(
            CHECK, found, "They bear no loss.", f"Have {SENTINELS_MIN} on machines of their own, all in the URL."
        )
    if well_replicas(info) < max(known, 1):
        do = "Start it, or SENTINEL RESET on each sentinel when it is gone for good."
        return warn(CHECK, f"{found}; {known} are known", "A replica is away or far behind.", do)
    return ok(CHECK, found)


async def _about_cluster(client: ClusterClient) -> Finding:
    await client.look()
    nodes = client.slots.primaries()
    said = await survey(nodes[0])
    covered = sum(last + 1 - first for first, last, *_ in said.ranges)
    bare = {address for _, _, address, replicas in said.ranges if not replicas}
    members = (await client.members())["redis"]
    found = (
        f"{len(nodes)} primaries, {members.up} of {members.known} nodes are well, {covered} of {SLOTS} slots covered"
    )
    do = "redis-cli --cluster check HOST:PORT says which, --cluster fix mends what can be mended."
    if said.info.get("cluster_state") != "ok" or covered < SLOTS:
        return fail(CHECK, found, "A part of all links is read from MongoDB, and limits are each process's own.", do)
    if members.up < members.known:
        return warn(CHECK, found, "One more may be one too many.", do)
    if bare:
        names = ", ".join(f"{host}:{port}" for host, port in sorted(bare))
        return warn(CHECK, f"{found}; without a replica: {names}", "Its slots end with it.", "Give it a replica.")
    return ok(CHECK, found)


def _replicas(info: dict[str, Any]) -> str:
    rows = [info[f"slave{number}"] for number in range(int(info["connected_slaves"]))]
    return ", ".join(f"{row['ip']}:{row['port']} {row['state']}, {row['lag']} s behind" for row in rows) or "none"
