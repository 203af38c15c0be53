"""The API, a server with pages, and the program of jobs that looks at them; rounds go by a clock that is passed in."""

from __future__ import annotations

import asyncio
import ipaddress
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from app.checks import KIND, Checker, Rounds
from app.jobs import JOBS, Bell, JobQueue, JobState, Runner
from app.links import LINKS, LinkWalk
from app.outbound import Guard, PageReader
from app.outbound.guard import Lookup
from app.stores import Lease
from tests.api.service import Service, serve
from tests.conftest import Stores
from tests.outbound.test_page import serving
from tests.webhooks.world import until

__all__ = ["FINE", "GONE", "World", "count_of", "rounds_of", "scene"]

HERE = [ipaddress.ip_network("127.0.0.0/8")]
OFF = {"BOLTLINK_API_RATE": "off", "BOLTLINK_CLASS_RATES": "off", "BOLTLINK_ANONYMOUS_RATE": "off"}
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"  # and then nothing: the body is not waited for
GONE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
DAY = 86_400


async def _nothing() -> None:
    """Nobody is rung for."""


def rounds_of(
    stores: Stores, clock: Callable[[], float], queue: JobQueue, *, holder: str = "a", **given: Any
) -> tuple[Rounds, Lease]:
    """Rounds of a week, and their lease."""
    lease = Lease(stores.database, "checks", holder=holder, monotonic=time.monotonic)
    fields = {"every_s": 7 * DAY, "on_jobs": _nothing, **given}
    return Rounds(LinkWalk(stores.database), lease, queue, now_s=clock, **fields), lease


async def count_of(stores: Stores, **query: Any) -> int:
    """How many checks there are."""
    return await stores.database[JOBS].count_documents({"kind": KIND, **query})


class World:
    """`pages` are answered by their path; what is not there is 404. `asked` are those that were asked for."""

    def __init__(self, api: Service, url: str, pages: dict[str, bytes], asked: list[str]) -> None:
        self.api, self.url, self.pages, self.asked = api, url, pages, asked
        self.meanwhile: Callable[[], Awaitable[None]] | None = None
        self.networks = HERE
        self.lookup: Lookup | None = None
        self.now_s = time.time()

    async def make(self, slug: str, path: str, **wish: Any) -> dict[str, Any]:
        body = {"target": self.url + path, "slug": slug, **wish}
        answer = await self.api.client.post("/api/v1/links", json=body)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def show(self, slug: str) -> dict[str, Any]:
        shown: dict[str, Any] = (await self.api.client.get(f"/api/v1/links/{slug}")).json()
        return shown

    async def broken(self) -> list[str]:
        """The slugs of the list of broken links."""
        answer = await self.api.client.get("/api/v1/links", params={"broken": "true", "sort": "created"})
        assert answer.status_code == 200, answer.text
        return sorted(item["slug"] for item in answer.json()["items"])

    async def entries(self, slug: str) -> list[dict[str, Any]]:
        answer = await self.api.client.get(f"/api/v1/links/{slug}/history")
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    async def ask(self) -> None:
        """One round, over all links at once, a week behind the last one."""
        self.now_s += 8 * DAY
        rounds, lease = rounds_of(self.api.stores, lambda: self.now_s, self.api.services.jobs)
        assert await lease.acquire()
        await rounds.open()
        place: dict[str, Any] = {}
        while not place.get("is_over"):
            await rounds.loop()
            place = dict(lease.kept)
            self.now_s += 10 * DAY
        await lease.release()

    @asynccontextmanager
    async def working(self, *, is_on: bool = True, **given: Any) -> AsyncIterator[None]:
        """A program of jobs, whose pauses are short, until the block ends."""
        services = self.api.services
        pages = PageReader(Guard(self.networks, self.lookup), answer_s=2.0, bytes_max=0)
        checker = Checker(services.catalog, services.audit, pages, is_on=is_on)
        kind = checker.kind()
        fields = {name: getattr(kind, name) for name in kind.__dataclass_fields__}
        quick = type(kind)(**{**fields, "first_s": 0.02, "factor": 1.0, **given})
        runner = Runner(
            services.jobs, [quick], Bell(self.api.stores.redis), run=secrets.token_hex(4), chance=random.random
        )
        stop = asyncio.Event()
        working = asyncio.create_task(runner.work(stop))
        try:
            yield
        finally:
            stop.set()
            await working

    async def check(self, **given: Any) -> list[dict[str, Any]]:
        """A round, and all of its jobs done; the jobs."""
        await self.api.stores.database[JOBS].delete_many({})
        await self.ask()
        async with self.working(**given):
            return await self.over()

    async def over(self) -> list[dict[str, Any]]:
        """The jobs, when all are over."""

        async def are_over() -> bool:
            return not await count_of(self.api.stores, state={"$ne": JobState.DONE.value})

        await until(are_over)
        found = self.api.stores.database[JOBS].find({"kind": KIND}).sort("payload.key")
        return [dict(row) async for row in found]

    async def row(self, slug: str) -> dict[str, Any]:
        row = await self.api.stores.database[LINKS].find_one({"_id": f"/{slug}"})
        assert row is not None
        return dict(row)


def scene(play: Callable[[World], Awaitable[None]], **settings: str) -> Callable[[Stores], Awaitable[None]]:
    async def whole(stores: Stores) -> None:
        pages: dict[str, bytes] = {}
        asked: list[str] = []
        worlds: list[World] = []

        async def write(writer: asyncio.StreamWriter, path: str) -> None:
            asked.append(path)
            if worlds[0].meanwhile is not None:
                await worlds[0].meanwhile()
            writer.write(pages.get(path, GONE))
            await writer.drain()
            if pages.get(path) == FINE:
                await asyncio.sleep(30)  # ended by whoever reads

        async with serving(write) as url, serve(stores, None, **{**OFF, **settings}) as api:
            worlds.append(World(api, url, pages, asked))
            await play(worlds[0])

    return whole
