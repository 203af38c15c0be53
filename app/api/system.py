"""`/health`, `/ready`, the root page, and what is answered where nothing is.

May import: observe.
"""

from __future__ import annotations

from http import HTTPStatus

from app.api.handler import Handler
from app.api.problems import Problem

__all__ = ["HealthHandler", "NotFoundHandler", "ReadyHandler", "RobotsHandler", "RootHandler"]

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>BoltLink</title><h1>BoltLink</h1><p>A URL shortener runs here. The API is at <code>/api/v1</code>.</p></html>
"""


class PublicHandler(Handler):
    """For everyone."""

    is_public = True


class HealthHandler(PublicHandler):
    """Does this process work?"""

    async def get(self) -> None:
        """200 while it does, with the state of each part."""
        self.answer(await self.services.health.report())


class ReadyHandler(PublicHandler):
    """Shall traffic come here?"""

    async def get(self) -> None:
        """200 or 503 with the reason; `?degraded=ok` asks for redirects alone."""
        degraded_ok = self.get_query_argument("degraded", "") == "ok"
        is_ready, body = await self.services.health.ready(degraded_ok=degraded_ok)
        self.answer(body, HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE)


class RootHandler(PublicHandler):
    """The public address itself."""

    async def get(self) -> None:
        """Says what runs here."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.write(_PAGE)


class RobotsHandler(PublicHandler):
    """What crawlers may fetch: everything, because a short link is only as public as its target."""

    async def get(self) -> None:
        """The robots policy."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.write("User-agent: *\nDisallow: /api/\n")


class NotFoundHandler(PublicHandler):
    """Every path that no other route names."""

    async def prepare(self) -> None:
        """404, whatever the method."""
        raise Problem(HTTPStatus.NOT_FOUND, "There is nothing here.")
