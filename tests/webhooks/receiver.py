"""A receiver of webhooks in a test: what it was sent, and what it answers."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec

__all__ = ["Got", "Receiver", "receiving"]


class Got(NamedTuple):
    """One delivery."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> Any:
        return msgspec.json.decode(self.body)

    def is_signed_by(self, secret: str) -> bool:
        """Computed as the specification says, by nothing of ours."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        message = self.headers["webhook-id"] + "." + self.headers["webhook-timestamp"] + "."
        mac = hmac.new(key, message.encode("ascii") + self.body, hashlib.sha256)
        expected = "v1," + base64.b64encode(mac.digest()).decode()
        return expected in self.headers["webhook-signature"].split(" ")


class Receiver:
    """`answer` gives the bytes of an answer, or None to hang until the end; `got` is all that came."""

    def __init__(self) -> None:
        self.url = ""
        self.got: list[Got] = []
        self.answer: Callable[[Got], bytes | None] = lambda got: answer_of(204)
        self._end = asyncio.Event()

    async def on_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.rstrip("\r\n").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await reader.readexactly(int(headers["content-length"]))
            got = Got(first.split(" ")[1], headers, body)
            self.got.append(got)
            answer = self.answer(got)
            if answer is None:
                await self._end.wait()
            else:
                writer.write(answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def end(self) -> None:
        self._end.set()


def answer_of(status: int, body: bytes = b"", fields: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), fields, body)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """One that listens on a free port."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.on_client, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    try:
        yield receiver
    finally:
        receiver.end()
        server.close()
        await server.wait_closed()
