"""The API, a program that does jobs and turns changes into deliveries, and a receiver."""

from __future__ import annotations

import asyncio
import ipaddress
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from app.jobs import Bell, JobQueue, Kind, Runner
from app.outbound import Fetcher, Guard
from app.process import work_by_lease
from app.stores import Lease
from app.webhooks import Deliverer, FanOut
from tests.api.service import Service, serve
from tests.conftest import Stores
from tests.webhooks.receiver import Receiver, receiving

__all__ = ["HERE", "World", "until", "worlds"]

HERE = [ipaddress.ip_network("127.0.0.0/8")]
SETTINGS = {"BOLTLINK_WEBHOOK_HTTP": "on", "BOLTLINK_WEBHOOK_NETWORKS": "127.0.0.0/8", "BOLTLINK_API_RATE": "off"}
_OFF = {"BOLTLINK_CLASS_RATES": "off", "BOLTLINK_ANONYMOUS_RATE": "off"}


async def until(fact: Callable[[], Awaitable[Any]], limit_s: float = 30.0) -> Any:
    """Waits until a question has an answer that is true, and returns it."""
    async with asyncio.timeout(limit_s):
        while not (value := await fact()):  # noqa: ASYNC110  a question to a store
            await asyncio.sleep(0.01)
        return value


class World:
    """What a scenario works with. `first_s` is of the pause behind a failed delivery."""

    def __init__(self, api: Service, receiver: Receiver) -> None:
        self.api = api
        self.receiver = receiver
        self.first_s = 0.05
        self.now_s: Callable[[], float] = time.time

    async def hook(self, headers: dict[str, str] | None = None, **wish: Any) -> dict[str, Any]:
        """A new webhook that leads to the receiver."""
        body = {"url": self.receiver.url, **wish}
        answer = await self.api.client.post("/api/v1/webhooks", json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def deliveries(self, hook: dict[str, Any]) -> list[dict[str, Any]]:
        answer = await self.api.client.get(f"/api/v1/webhooks/{hook['id']}/deliveries", params={"limit": 200})
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    async def received(self, count: int) -> None:
        await until(lambda: self._has(count))

    async def _has(self, count: int) -> bool:
        return len(self.receiver.got) >= count

    @asynccontextmanager
    async def working(self, name: str = "jobs_0") -> AsyncIterator[FanOut]:
        """A program of jobs, until the block ends."""
        services = self.api.services
        bell = Bell(self.api.stores.redis)
        queue = JobQueue(services.database, kept_s=3600)
        fetcher = Fetcher(allows_http=True, answer_s=2.0, guard=Guard(HERE), at_once_max=64, body_bytes_max=65536)
        deliverer = Deliverer(
            services.database, services.webhooks, queue, fetcher, public_url="https://sho.rt", now_s=self.now_s
        )
        given = deliverer.kind()
        kind = Kind(
            name=given.name,
            payload=given.payload,
            work=given.work,
            limit_s=5.0,
            first_s=self.first_s,
            factor=1.0,
            attempts_max=given.attempts_max,
        )
        runner = Runner(queue, [kind], bell, run=secrets.token_hex(4), chance=random.random)

        async def on_jobs() -> None:
            bell.ring()

        lease = Lease(services.database, "webhooks", holder=f"n/{name}", monotonic=time.monotonic)
        fanout = FanOut(services.database, lease, services.webhooks, queue, on_jobs=on_jobs)
        stop = asyncio.Event()
        tasks = [
            asyncio.create_task(work) for work in (runner.work(stop), work_by_lease(lease, fanout, stop, pause_s=0.02))
        ]
        listening = asyncio.create_task(bell.listen())
        try:
            yield fanout
        finally:
            stop.set()
            await asyncio.gather(*tasks)
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


@asynccontextmanager
async def worlds(stores: Stores) -> AsyncIterator[World]:
    """A world of its own."""
    async with receiving() as receiver, serve(stores, None, **SETTINGS, **_OFF) as api:
        yield World(api, receiver)
