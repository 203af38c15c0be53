"""Which node of a Redis Cluster has which keys.

In: some nodes to begin with. Out: a client for each node, the node of a key, and a map that is kept right: each look
asks several nodes at once, and of what they say the newest counts (`cluster_current_epoch`, which rises with every
fail-over), so that one that is cut off does not mislead. What a MOVED says is believed at once.
Only primaries are asked for keys: a replica may be behind. May import: breaker, settings, redis.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import redis.asyncio
from redis.crc import key_slot
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import RedisError

from app.settings import Address
from app.stores.breaker import Breaker

__all__ = ["SLOTS", "Node", "Slots", "Survey", "survey"]

SLOTS = 16384  # of every Redis Cluster
ANSWER_S = 0.5  # of a node; below the second between two looks
ASKED_MAX = 7  # nodes at one look: one that knows of a fail-over is among them, and a large cluster is not kept busy
NODES_MAX = 1_000  # Redis's own advice


class Node:
    """One server; `breaker` is of the commands that redirects wait for."""

    def __init__(self, address: Address, client: redis.asyncio.Redis, breaker: Breaker) -> None:
        self.address = address
        self.client = client
        self.breaker = breaker

    def __repr__(self) -> str:
        return f"{self.address[0]}:{self.address[1]}"


class Survey(NamedTuple):
    """What a node says of the cluster: slots as (first, last, primary's address, how many replicas)."""

    info: Mapping[str, str]
    ranges: Sequence[tuple[int, int, Address, int]]

    @property
    def epoch(self) -> int:
        """The newest one that this node knows."""
        return int(self.info.get("cluster_current_epoch", 0))


class Slots:
    """The map. `make` opens a client of a node, `now` is a monotonic clock in seconds."""

    def __init__(
        self, seeds: Iterable[Address], make: Callable[[Address], redis.asyncio.Redis], now: Callable[[], float]
    ) -> None:
        self._make = make
        self._now = now
        self._nodes: dict[Address, Node] = {}
        self._seeds = tuple(seeds)
        self._owners: list[Node | None] = [None] * SLOTS
        self._looking: asyncio.Task[None] | None = None

    @property
    def is_known(self) -> bool:
        """Whether any node has slots."""
        return self.primaries() != []

    def owner(self, key: bytes) -> Node | None:
        """The node that a key is on; None while nobody has said so."""
        return self._owners[key_slot(key)]

    def primaries(self) -> list[Node]:
        """Nodes that have slots."""
        return [node for node in dict.fromkeys(self._owners) if node is not None]

    def node(self, address: Address) -> Node:
        """The node of an address, which may be a new one."""
        found = self._nodes.get(address)
        if found is None:
            if len(self._nodes) >= NODES_MAX:
                raise LostError(f"the cluster names more than {NODES_MAX} nodes")
            found = self._nodes[address] = Node(address, self._make(address), Breaker(f"{address}", self._now))
        return found

    def moved(self, slot: int, address: Address) -> Node:
        """A node said where a slot is now; there may be more news."""
        node = self._owners[slot] = self.node(address)
        self.look_soon()
        return node

    def look_soon(self) -> None:
        """Has the map looked at, by a task of its own; at most one at a time."""
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look())
            self._looking.add_done_callback(self._on_looked)

    async def look(self) -> None:
        """Returns when the map has been looked at; raises RedisError when no node says what it is."""
        self.look_soon()
        assert self._looking is not None
        await asyncio.shield(self._looking)  # who gives up leaves it to the others

    async def aclose(self) -> None:
        """Ends all clients."""
        if self._looking is not None:
            self._looking.cancel()
        nodes, self._nodes, self._owners = self._nodes, {}, [None] * SLOTS
        await asyncio.gather(*(node.client.aclose() for node in nodes.values()), return_exceptions=True)

    def _on_looked(self, task: asyncio.Task[None]) -> None:
        self._looking = None
        if not task.cancelled():
            task.exception()  # whoever waits is told; nobody may be waiting

    async def _look(self) -> None:
        known = self.primaries()
        asked = random.sample(known, min(len(known), ASKED_MAX))
        surveys, reasons = await self._survey(asked)
        if not surveys:  # all of them are gone, or this is the beginning
            others = [self.node(address) for address in {*self._seeds, *self._nodes} - {node.address for node in asked}]
            surveys, more = await self._survey(others)
            reasons |= more
        if not surveys:
            raise LostError("no node of the cluster says where keys are: " + "; ".join(map(": ".join, reasons.items())))
        self._take(max(surveys, key=lambda survey: survey.epoch))

    async def _survey(self, nodes: Sequence[Node]) -> tuple[list[Survey], dict[str, str]]:
        found = await asyncio.gather(*(survey(node) for node in nodes), return_exceptions=True)
        reasons = {
            repr(node): _reason(it) for node, it in zip(nodes, found, strict=True) if isinstance(it, BaseException)
        }
        return [it for it in found if isinstance(it, Survey) and it.ranges], reasons

    def _take(self, news: Survey) -> None:
        owners: list[Node | None] = [None] * SLOTS
        for first, last, address, _ in news.ranges:
            owners[first : last + 1] = [self.node(address)] * (last + 1 - first)
        self._owners = owners


async def survey(node: Node) -> Survey:
    """What a node says; raises RedisError, TimeoutError."""
    async with asyncio.timeout(ANSWER_S), node.client.pipeline(transaction=False) as pipeline:
        pipeline.execute_command("CLUSTER INFO")
        pipeline.execute_command("CLUSTER SLOTS")
        info, slots = await pipeline.execute()
    return Survey(info, [_range_of(row, node.address[0]) for row in slots])


def _range_of(row: Sequence[Any], asked_host: str) -> tuple[int, int, Address, int]:
    """A row of CLUSTER SLOTS; a node that does not know its own address leaves it out."""
    first, last, (host, port, *_), *replicas = row
    return first, last, (host.decode() if host else asked_host, port), len(replicas)


def _reason(error: BaseException) -> str:
    if isinstance(error, RedisError | OSError) and str(error):
        return str(error)[:100]
    return type(error).__name__
