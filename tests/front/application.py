"""An application for the front to call: says what reached it, waits, streams, and takes long bodies with a key."""

from __future__ import annotations

import asyncio
from typing import Any

from tornado import web

__all__ = ["BATCH_BYTES_MAX", "KEY", "STREAM_PART", "make_application"]

KEY = "the key"
BATCH_BYTES_MAX = 8 * 1024 * 1024
STREAM_PART = b"x" * 32_768


class EchoHandler(web.RequestHandler):
    """Says what reached the application."""

    def set_default_headers(self) -> None:
        self.set_header("Date", "Tue, 14 Nov 2023 22:13:20 GMT")

    def prepare(self) -> None:
        self.set_header("X-Seen", f"{self.request.method} {self.request.uri} {len(self.request.body)}")

    def get(self) -> None:
        self.write(self.request.path)

    post = put = delete = patch = options = head = get


class SlowHandler(web.RequestHandler):
    """Answers when the test lets it."""

    async def get(self) -> None:
        await self.settings["release"].wait()
        self.write(self.request.path)


@web.stream_request_body
class BatchHandler(web.RequestHandler):
    """Takes 8 MiB, but only from who has the key; looking that up takes a turn of the loop."""

    async def prepare(self) -> None:
        self.size = 0
        await asyncio.sleep(0)
        if self.request.headers.get("Authorization") != KEY:
            raise web.HTTPError(401)
        assert self.request.connection is not None
        self.request.connection.set_max_body_size(BATCH_BYTES_MAX)  # type: ignore[attr-defined]

    async def data_received(self, chunk: bytes) -> None:
        await asyncio.sleep(0)
        if chunk.startswith(b"break"):
            raise RuntimeError("it broke")
        self.size += len(chunk)

    def post(self) -> None:
        self.write(f"{self.size} bytes")


class StreamHandler(web.RequestHandler):
    """Writes part after part, each when the client has taken those before; `parts` counts them."""

    async def get(self) -> None:
        state = self.settings["state"]
        try:
            for _ in range(int(self.get_query_argument("parts"))):
                self.write(STREAM_PART)
                await self.flush()
                state["parts"] = state.get("parts", 0) + 1
        finally:
            state["is_over"] = True

    def on_connection_close(self) -> None:
        self.settings["state"]["is_gone"] = True


def make_application(release: asyncio.Event, state: dict[str, Any]) -> web.Application:
    """`release` lets slow handlers answer; `state` is where a stream says how far it is."""
    handlers: list[Any] = [
        (r"/api/slow", SlowHandler),
        (r"/api/batch", BatchHandler),
        (r"/api/stream", StreamHandler),
        (r".*", EchoHandler),
    ]
    return web.Application(handlers, log_function=lambda handler: None, release=release, state=state)
