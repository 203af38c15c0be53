"""Redis tells programs that wait that there is a job now. It carries nothing: without it they look once a second.

In: whoever enqueued. Out: `Bell.wait` of every program returns. May import: redis, stores.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from redis.exceptions import RedisError

from app.stores import RedisClient

__all__ = ["CHANNEL", "Bell", "ring"]

CHANNEL = "jobs"
RING_S = 0.5  # whoever enqueued waits no longer for a Redis that hangs
RETRY_S = 1.0
SILENCE_S = 5.0


async def ring(client: RedisClient) -> None:
    """Wakes whoever waits; a Redis that is away wakes nobody."""
    with suppress(RedisError, OSError, TimeoutError):
        async with asyncio.timeout(RING_S):
            await client.publish(CHANNEL, b"")


class Bell:
    """One program's ear."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wakes this program."""
        self._rung.set()

    async def wait(self, seconds: float) -> None:
        """Until somebody rings, or has rung since the last time, or so long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._rung.wait(), seconds)
        self._rung.clear()

    async def listen(self) -> None:
        """Hears what others ring, until cancelled."""
        while True:
            try:
                async with self._client.pubsub() as subscription:
                    await subscription.subscribe(CHANNEL)
                    while True:
                        message = await subscription.get_message(timeout=SILENCE_S)
                        if message is not None:  # also of the subscription itself: something may have come before
                            self.ring()
            except (RedisError, OSError):
                await asyncio.sleep(RETRY_S)
