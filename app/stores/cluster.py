"""A Redis Cluster: each command goes to the node that has its key.

In: some nodes. Out: a client and pipes as of one server. Every command of ours has one key, or none.

    MOVED        the slot is elsewhere now: sent again there, and the map is looked at
    ASK          this key alone is elsewhere, its slot is on its way: sent again there behind an ASKING
    TRYAGAIN, CLUSTERDOWN, LOADING, no answer
                 the key's caller is told, and the map is looked at: most likely a node fails over

Own code rather than redis-py's RedisCluster, because redirects need pipes (`pipe`) with the same map; and that one
(8.1.0) sends ASKING over another connection than the command where it has several, fails with an AttributeError when
ASK names a node without slots, and never looks at its map again when its caller, not its socket, had the time limit
(tests/stores/test_cluster.py tries all three here). May import: client, pipe, slots.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import redis.asyncio
from redis.asyncio.client import PubSub
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError, TryAgainError
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.settings import Address, RedisPlace
from app.stores.client import Members, Pipes, RedisClient, SomeFailedError
from app.stores.pipe import Pipe, Reply, command
from app.stores.slots import SLOTS, Node, Slots

__all__ = ["ClusterClient", "ClusterPipes", "open_cluster"]

REDIRECTS_MAX = 4  # of one command: an ASK, a MOVED, and a fail-over meanwhile
SPREAD = 128  # marks: a node with so many slots in a row, of 16,384, has one of them
KEYLESS = frozenset({"PING", "PUBLISH"})
SCRIPTS = frozenset({"EVAL", "EVALSHA"})
LOOKS = frozenset({"TRYAGAIN", "CLUSTERDOWN", "LOADING", "READONLY", "MASTERDOWN"})  # what a fail-over makes nodes say
_ASKING = command(b"ASKING")


class ClusterClient(RedisClient):
    """A client of all nodes. What belongs to one server, such as `info`, is asked of `primaries`."""

    slots: Slots
    _turn = 0

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """One command with one key, or one of KEYLESS. Raises RedisError."""
        name = str(args[0]).upper()
        if name == "PING":
            return await self._ping()
        key = None if name in KEYLESS else _bytes_of(args[3 if name in SCRIPTS else 1])
        node = await self._node_for(key)
        is_asking = False
        for _ in range(REDIRECTS_MAX):
            try:
                return await _execute(node, args, options, is_asking=is_asking)
            except MovedError as error:
                node, is_asking = self.slots.moved(int(error.slot_id), _address(error, node)), False
            except AskError as error:
                node, is_asking = self.slots.node(_address(error, node)), True
            except (LostError, RedisTimeoutError, ClusterDownError, TryAgainError):
                self.slots.look_soon()
                raise
            except asyncio.CancelledError:  # its caller had waited for long enough
                self.slots.look_soon()
                raise
        raise LostError(f"a command was sent on {REDIRECTS_MAX} times")

    def pubsub(self, **options: Any) -> PubSub:
        """A subscription on one node, which hears what is published on any; the next one is on the next node."""
        known = self.slots.primaries()
        best = min((node.breaker.failures for node in known), default=0)
        choices = [node for node in known if node.breaker.failures == best]
        if not choices:
            self.slots.look_soon()
            raise LostError("no node of the cluster is known")
        self._turn += 1
        return choices[self._turn % len(choices)].client.pubsub(**options)

    def pipe(self, limit_s: float) -> ClusterPipes:
        """As of one server."""
        return ClusterPipes(self, limit_s)

    async def look(self) -> None:
        """Looks at the map."""
        await self.slots.look()

    def spread(self, name: str) -> Sequence[str]:
        """Keys that lie evenly over all slots."""
        return [f"{name}:{{{tag}}}" for tag in _TAGS]

    def beside(self, subscription: PubSub, name: str) -> str:
        """A key on the node of a subscription, or on any when that has no slots any more."""
        keys, pool = self.spread(name), subscription.connection_pool
        owners = {key: self.slots.owner(key.encode()) for key in keys}
        return next((key for key, node in owners.items() if node and node.client.connection_pool is pool), keys[0])

    async def primaries(self) -> Sequence[redis.asyncio.Redis]:
        """A client of each node that has slots."""
        await self.slots.look()
        return [node.client for node in self.slots.primaries()]

    async def members(self) -> Mapping[str, Members]:
        """All nodes, as one of them sees them."""
        server = (await self.primaries())[0]
        nodes: Any = await server.execute_command("CLUSTER NODES")  # type: ignore[no-untyped-call]
        known = [node for node in nodes.values() if "noaddr" not in node["flags"]]
        well = [node for node in known if node["connected"] and "fail" not in node["flags"].split(",")]
        return {"redis": Members(len(well), len(known))}

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Ends the clients of all nodes."""
        await self.slots.aclose()

    async def _node_for(self, key: bytes | None) -> Node:
        if not self.slots.is_known:
            await self.slots.look()
        node = self.any_node() if key is None else self.slots.owner(key)
        if node is None:
            self.slots.look_soon()
            raise LostError("no node of the cluster has this slot")
        return node

    def any_node(self) -> Node | None:
        """For what belongs to no node: one that works as far as is known."""
        return min(self.slots.primaries(), key=lambda node: node.breaker.failures, default=None)

    async def _ping(self) -> bool:
        """Every node that has slots answers."""
        if not self.slots.is_known:
            await self.slots.look()
        try:
            await asyncio.gather(*(node.client.ping() for node in self.slots.primaries()))
        except (RedisError, asyncio.CancelledError):
            self.slots.look_soon()
            raise
        return True


class ClusterPipes(Pipes):
    """A pipe to each node."""

    def __init__(self, client: ClusterClient, limit_s: float) -> None:
        self._client = client
        self._limit_s = limit_s
        self._pipes: dict[Node, Pipe] = {}

    async def ask(self, commands: Sequence[bytes], keys: Sequence[bytes]) -> Sequence[Reply]:
        """As `Pipes.ask`."""
        replies: list[Reply] = [None] * len(commands)
        errors: dict[int, str] = {}
        rest = await self._targets(keys)
        for _ in range(REDIRECTS_MAX):
            parts: dict[Node, list[int]] = {}
            for at, (node, _) in rest.items():
                parts.setdefault(node, []).append(at)
            told = await asyncio.gather(*(self._tell(node, part, commands, rest) for node, part in parts.items()))
            following: dict[int, tuple[Node, bool]] = {}
            for (node, part), (values, failed) in zip(parts.items(), told, strict=True):
                for place, at in enumerate(part):
                    replies[at] = values[place]
                    if place in failed and not self._redirect(failed[place], at, keys, node, following):
                        errors[at] = failed[place]
            rest = following
            if not rest:
                break
        errors |= dict.fromkeys(rest, "sent on too often")
        if errors:
            raise SomeFailedError(replies, errors)
        return replies

    async def _targets(self, keys: Sequence[bytes]) -> dict[int, tuple[Node, bool]]:
        """Where each command goes, and whether behind an ASKING."""
        client = self._client
        if not client.slots.is_known:
            await client.slots.look()
        found = {}
        for at, key in enumerate(keys):
            node = client.slots.owner(key) if key else client.any_node()
            if node is None:
                client.slots.look_soon()
                raise LostError("the cluster does not cover all slots")
            found[at] = (node, False)
        return found

    async def _tell(
        self, node: Node, part: Sequence[int], commands: Sequence[bytes], how: Mapping[int, tuple[Node, bool]]
    ) -> tuple[Sequence[Reply], Mapping[int, str]]:
        """A node's replies to its commands; the same error for all of them when it does not answer."""
        if not node.breaker.admits():
            self._client.slots.look_soon()
            return [None] * len(part), dict.fromkeys(range(len(part)), f"{node} did not answer just now")
        asking = [how[at][1] for at in part]
        data = b"".join(
            [_ASKING + commands[at] if is_asking else commands[at] for at, is_asking in zip(part, asking, strict=True)]
        )
        pipe = self._pipes.get(node) or self._pipes.setdefault(node, Pipe(node.client))
        try:
            async with asyncio.timeout(self._limit_s):
                replies, errors = await pipe.ask_each(data, len(part) + sum(asking))
        except (RedisError, OSError, TimeoutError) as error:
            node.breaker.on_failure()
            self._client.slots.look_soon()
            return [None] * len(part), dict.fromkeys(range(len(part)), f"{node}: {str(error) or 'no answer in time'}")
        node.breaker.on_success()
        return _without_asking(replies, errors, asking)

    def _redirect(
        self, said: str, at: int, keys: Sequence[bytes], node: Node, following: dict[int, tuple[Node, bool]]
    ) -> bool:
        """Whether an error says where the command is to be sent instead; then it is noted in `following`."""
        word, *words = said.split(" ")
        slots = self._client.slots
        if word == "MOVED":
            following[at] = (slots.moved(int(words[0]), _split_address(words[1], node)), False)
        elif word == "ASK":
            following[at] = (slots.node(_split_address(words[1], node)), True)
        elif word in LOOKS:
            slots.look_soon()
        return at in following


def open_cluster(place: RedisPlace, kind: type[ClusterClient], options: Mapping[str, Any]) -> ClusterClient:
    """A client of type `kind` that connects when it is first used; `options` are those of its connections."""
    tls = {} if place.tls is None else {"ssl": True, **place.tls}
    common = {**options, **tls, "username": place.username, "password": place.password}

    def make(address: Address) -> redis.asyncio.Redis:
        return redis.asyncio.Redis(host=address[0], port=address[1], **common)

    client = kind(host=place.hosts[0][0], port=place.hosts[0][1])  # it has no connection of its own
    client.slots = Slots(place.hosts, make, time.monotonic)
    client._turn = os.getpid()  # so that processes do not all listen to the same node
    return client


async def _execute(node: Node, args: Sequence[Any], options: Mapping[str, Any], *, is_asking: bool) -> Any:
    if not is_asking:
        return await node.client.execute_command(*args, **options)  # type: ignore[no-untyped-call]
    async with node.client.pipeline(transaction=False) as pipeline:  # over one connection
        pipeline.execute_command("ASKING")
        pipeline.execute_command(*args, **options)
        return (await pipeline.execute())[1]


def _without_asking(
    replies: Sequence[Reply], errors: Mapping[int, str], asking: Sequence[bool]
) -> tuple[Sequence[Reply], Mapping[int, str]]:
    """What was said of the commands themselves."""
    if not any(asking):
        return replies, errors
    places, at = [], 0
    for is_asking in asking:
        at += is_asking
        places.append(at)
        at += 1
    return [replies[at] for at in places], {n: errors[at] for n, at in enumerate(places) if at in errors}


def _address(error: AskError, node: Node) -> Address:
    return error.host or node.address[0], error.port


def _split_address(text: str, node: Node) -> Address:
    """Of HOST:PORT; without a host, the same host as the node that said so."""
    host, _, port = text.rpartition(":")
    return host or node.address[0], int(port)


def _bytes_of(key: Any) -> bytes:
    return key if isinstance(key, bytes) else str(key).encode()


def _tags() -> list[str]:
    """Short words whose slots lie evenly over all."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < SPREAD:
        found.setdefault(key_slot(b"%d" % number) * SPREAD // SLOTS, str(number))
        number += 1
    return [found[part] for part in sorted(found)]


_TAGS = _tags()
