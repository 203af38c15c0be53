"""Collects keys and hands them on in batches: what is asked for while a store answers goes to it as one question.

In: keys, one by one. Out: lists of them, each to a task of `read`. A question costs a store and its client much more
than a key in it (docs/performance.md#resolver), so batches shall be large when there is much to ask, and start at once
when there is not:

    nothing under way      what one turn of the loop collects leaves at its end
    something under way    keys wait until it ends, or BATCH_KEYS_MAX of them, or LINGER_S
    BATCHES_MAX under way  keys wait until one ends; how many may wait is the resolver's limit of flights

May import: the standard library.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["BATCHES_MAX", "BATCH_KEYS_MAX", "Batches"]

BATCH_KEYS_MAX = 512  # 4 ms of MongoDB's client
BATCHES_MAX = 4  # so that a question that takes its whole time limit holds nobody up
LINGER_S = 0.002  # about what a question takes; nobody waits longer for others


class Batches:
    """Questions to one store; `read` is called with each batch and must not raise."""

    def __init__(self, read: Callable[[list[bytes]], Coroutine[Any, Any, None]]) -> None:
        self._read = read
        self._waiting: list[bytes] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.Handle | None = None  # the end of this turn, or of LINGER_S

    def add(self, key: bytes) -> None:
        """Asks for a key, in a later turn of the loop."""
        self._waiting.append(key)
        if self._timer is None:
            self._schedule()
        elif len(self._waiting) == BATCH_KEYS_MAX:
            self._timer.cancel()
            self._timer = None
            self._schedule()

    async def close(self) -> None:
        """Waits for what is under way; each batch is bounded by its store's time limit."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _schedule(self) -> None:
        if not self._waiting or len(self._tasks) >= BATCHES_MAX:
            return
        loop = asyncio.get_running_loop()
        if self._tasks and len(self._waiting) < BATCH_KEYS_MAX:
            self._timer = loop.call_later(LINGER_S, self._send)
        else:
            self._timer = loop.call_soon(self._send)

    def _send(self) -> None:
        self._timer = None
        keys, self._waiting = self._waiting[:BATCH_KEYS_MAX], self._waiting[BATCH_KEYS_MAX:]
        task = asyncio.get_running_loop().create_task(self._read(keys))
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        self._schedule()

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._schedule()
