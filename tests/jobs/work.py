"""A kind of work for tests: each job's effects are written down, and may fail, wait or be cut off as a test says."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from app.jobs import INDEXES, Bell, JobQueue, Kind, NewJob, Runner, Task
from app.stores import Shape, make_schema
from tests.conftest import Stores

__all__ = ["Number", "Work", "job", "kind_of", "queue_of", "running"]

Do = Callable[["Number", Task], Awaitable[Mapping[str, Any]]]


class Number(msgspec.Struct):
    """The payload."""

    number: int


class Work:
    """`done` counts the effects of each number; `order` has them in their order."""

    def __init__(self, takes_s: float = 0.001) -> None:
        self.takes_s = takes_s
        self.done: Counter[int] = Counter()
        self.order: list[int] = []
        self.now = 0
        self.most = 0

    async def __call__(self, payload: Number, task: Task) -> Mapping[str, Any]:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.takes_s)
            task.check()
            self.done[payload.number] += 1
            self.order.append(payload.number)
        finally:
            self.now -= 1
        return {"number": payload.number}


def job(number: int, lane: str = "ann/a", **about: Any) -> NewJob:
    """A job of the kind that tests register."""
    given = {"order": number, **about}
    return NewJob(id=f"j{number:06}", kind="test", lane=lane, payload=Number(number), **given)


def kind_of(work: Do, **about: Any) -> Kind:
    """The kind; what fails comes again at once."""
    return Kind(name="test", payload=Number, work=work, **{"first_s": 0.01, "factor": 1.0, **about})


async def queue_of(stores: Stores, **about: Any) -> JobQueue:
    """A queue with its indexes."""
    await make_schema(stores.database, Shape(INDEXES))
    return JobQueue(stores.database, **{"kept_s": 3600, **about})


@asynccontextmanager
async def running(queue: JobQueue, stores: Stores, work: Do, **about: Any) -> AsyncIterator[Runner]:
    """A program that does jobs until the block ends."""
    given = {name: about.pop(name) for name in ("at_once", "drain_s") if name in about}
    async with doing(queue, stores, kind_of(work, **about), **given) as runner:
        yield runner


@asynccontextmanager
async def doing(queue: JobQueue, stores: Stores, kind: Kind, **given: Any) -> AsyncIterator[Runner]:
    """As `running`, of a kind that there is."""
    run = secrets.token_hex(4)
    runner = Runner(queue, [kind], Bell(stores.redis), run=run, chance=random.random, **given)
    stop = asyncio.Event()
    task = asyncio.create_task(runner.work(stop))
    try:
        yield runner
    finally:
        stop.set()
        await task
