"""The API, and a server with the pages that its links lead to."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tests.api.service import Service, serve
from tests.conftest import Stores
from tests.outbound.test_page import serving

__all__ = ["GONE", "HERE", "Pages", "scene_of"]

HERE = [ipaddress.ip_network("127.0.0.0/8")]
OFF = {"BOLTLINK_API_RATE": "off", "BOLTLINK_CLASS_RATES": "off", "BOLTLINK_ANONYMOUS_RATE": "off"}
GONE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class Pages:
    """`pages` are answered by their path; what is not there is GONE. `asked` are those that were asked for.

    Attributes:
        held: answers behind which the connection stays open, until who reads ends it.
        meanwhile: done before each answer.
    """

    held: tuple[bytes, ...] = ()

    def __init__(self, api: Service, url: str) -> None:
        self.api, self.url = api, url
        self.pages: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    async def write(self, writer: asyncio.StreamWriter, path: str) -> None:
        """Answers a request."""
        self.asked.append(path)
        if self.meanwhile is not None:
            await self.meanwhile()
        answer = self.pages.get(path, GONE)
        writer.write(answer)
        await writer.drain()
        if answer in self.held:
            await asyncio.sleep(30)


W = TypeVar("W", bound=Pages)


def scene_of(
    world: Callable[[Service, str], W], play: Callable[[W], Awaitable[None]], **settings: str
) -> Callable[[Stores], Awaitable[None]]:
    """What `play` does in a world of its own."""

    async def whole(stores: Stores) -> None:
        worlds: list[W] = []

        async def write(writer: asyncio.StreamWriter, path: str) -> None:
            await worlds[0].write(writer, path)

        async with serving(write) as url, serve(stores, None, **{**OFF, **settings}) as api:
            worlds.append(world(api, url))
            await play(worlds[0])

    return whole
