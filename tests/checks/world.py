"""The API, a server with pages, and the program of jobs that looks at them; rounds go by a clock that is passed in."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from app.checks import KIND, Checker, Rounds
from app.jobs import JOBS, JobQueue, JobState
from app.links import LINKS, LinkWalk
from app.outbound import Guard, PageReader
from app.outbound.guard import Lookup
from app.stores import Lease
from tests.api.service import Service
from tests.conftest import Stores
from tests.jobs.work import doing
from tests.outbound.world import GONE, HERE, Pages, scene_of
from tests.webhooks.world import until

__all__ = ["FINE", "GONE", "World", "count_of", "rounds_of", "scene"]

FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"  # and then nothing: the body is not waited for
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


class World(Pages):
    """Its links, and what comes of them."""

    held = (FINE,)

    def __init__(self, api: Service, url: str) -> None:
        super().__init__(api, url)
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
        kind = Checker(services.catalog, services.audit, pages, is_on=is_on).kind()
        quick = replace(kind, **{"first_s": 0.02, "factor": 1.0, **given})
        async with doing(services.jobs, self.api.stores, quick):
            yield

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
    return scene_of(World, play, **settings)
