"""Gives the clients of Redis and MongoDB, on Python 3.11, the `asyncio.wait_for` of Python 3.12.

Before, it runs what it waits for in a task of its own, and two things go wrong when the caller is cancelled just then.

A cancellation is lost: if it comes in the turn of the loop in which that task ends, `wait_for` returns as if nothing
had been. Both clients send their commands so. A loop that is cancelled as a command goes out lives on for ever, and
whoever waits for its end with it: visits were not shown any more, once in about eight times that the last who watched
left as soon as it had come.

A lock is lost: PyMongo waits so for a primary or a connection. When the time of one wait is up while another call
holds the lock, and the caller is cancelled in the turn of the loop in which the lock becomes free, the caller gives
back a lock it does not hold, and the task takes it afterwards, for nobody. From then on the client's monitor waits for
it, and the process never sees MongoDB again. Redirects are cancelled after 250 ms whenever MongoDB hangs, so this
happens: once in about fifteen times that a loaded process lost its mongod.

In and out: nothing; `mend_waits` may be called any number of times. May import: pymongo.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from typing import Any, TypeVar

from pymongo import lock

__all__ = ["mend_waits"]

T = TypeVar("T")


def mend_waits() -> None:
    """Lets the whole program wait so from now on; does nothing where Python does."""
    if sys.version_info >= (3, 12):
        return
    modules: tuple[Any, ...] = (asyncio, lock)  # all who wait look it up there; it has a name of its own in the other
    for module in modules:
        assert callable(module.wait_for)
        module.wait_for = _wait_for


async def _wait_for(awaitable: Awaitable[T], timeout: float | None) -> T:  # noqa: ASYNC109  as theirs
    """Waits in the caller's own task. Raises TimeoutError after `timeout` seconds."""
    async with asyncio.timeout(timeout):
        return await awaitable
