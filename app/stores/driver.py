"""Mends the one place where PyMongo, on Python 3.11, loses a lock for ever when a call is cancelled.

PyMongo waits for a primary or a connection by `asyncio.wait_for(condition.wait(), …)`, which before Python 3.12 runs
the wait in a task of its own. When the time of one wait is up while another call holds the lock, and the caller is
cancelled in the turn of the loop in which the lock becomes free, the caller gives back a lock it does not hold, and
the task takes it afterwards, for nobody. From then on the client's monitor waits for it, and the process never sees
MongoDB again. Redirects are cancelled after 250 ms whenever MongoDB hangs, so this happens: once in about fifteen times
that a loaded process lost its mongod. In the caller's own task, as Python 3.12 does it, a cancelled wait has the lock
until it ends.

In and out: nothing; `mend_waits` may be called any number of times. May import: pymongo.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Protocol

from pymongo.asynchronous import pool, topology

__all__ = ["mend_waits", "wait_in_own_task"]


class _Condition(Protocol):
    async def wait(self) -> bool: ...


async def wait_in_own_task(condition: _Condition, timeout: float | None) -> bool:  # noqa: ASYNC109  as theirs
    """Waits until notified, or for `timeout` seconds; whether it was notified."""
    try:
        async with asyncio.timeout(timeout):
            return await condition.wait()
    except TimeoutError:
        return False


def mend_waits() -> None:
    """Lets PyMongo wait so from now on; does nothing where Python does."""
    if sys.version_info >= (3, 12):
        return
    modules: tuple[Any, ...] = (pool, topology)
    for module in modules:
        assert callable(module._async_cond_wait)
        module._async_cond_wait = wait_in_own_task
