"""What a node has of links, over real stores: a process that redirects, and what makes and changes links."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from app.links import Catalog, LinkCache, LinkStore
from app.redirect import Channel, Resolver, Table
from app.stores import Breaker, RedisClient
from tests.conftest import Stores


class Process:
    """What a web process has of redirects: each answer's number of changes is compared with what was acknowledged."""

    def __init__(self, stores: Stores, client: RedisClient) -> None:
        self.table = Table(1_000)
        self.breakers = [Breaker(name, time.monotonic) for name in ("redis", "mongodb")]
        self.resolver = Resolver(
            table=self.table,
            cache=LinkCache(client),
            links=LinkStore(stores.database),
            redis_breaker=self.breakers[0],
            mongodb_breaker=self.breakers[1],
            stale_max_s=3600,
            wall=time.time,
        )
        self.channel = Channel(
            client=client, table=self.table, resolver=self.resolver, monotonic=time.monotonic, wall=time.time
        )

    async def location(self, key: bytes) -> bytes | int:
        """As a redirect finds it."""
        entry: Any = self.table.find(key)
        if entry is None:
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            self.resolver.resolve(key, future.set_result)
            entry = await future
        return entry if isinstance(entry, int) else bytes(entry[12:])


def make_catalog(stores: Stores, client: RedisClient, unannounced: list[Exception]) -> Catalog:
    """What makes and changes links."""
    return Catalog(
        store=LinkStore(stores.database),
        cache=LinkCache(client),
        now_ms=lambda: int(time.time() * 1000),
        randbits=lambda bits: int.from_bytes(os.urandom(7), "big"),
        randbelow=lambda most: int.from_bytes(os.urandom(4), "big") % most,
        ours=(),
        on_unannounced=unannounced.append,
    )
