"""`/health`, `/ready`, the root page, and what is answered where nothing is.

May import: links, observe.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.api.handler import Handler
from app.api.operation import Answer, operation
from app.api.problems import Problem
from app.links import PLAIN_OPTIONS, DomainOptions
from app.redirect import PAGE_STYLE

__all__ = ["HealthHandler", "NotFoundHandler", "PublicHandler", "ReadyHandler", "RobotsHandler", "RootHandler"]

_PAGE = f"""<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<style>{PAGE_STYLE}</style>
<title>BoltLink</title><h1>BoltLink</h1><p>A URL shortener runs here. The API is at <code>/api/v1</code>,
its description at <a href="/docs">/docs</a>,
the dashboard at <a href="/dashboard">/dashboard</a>.</p></html>
"""


class HealthReport(msgspec.Struct, kw_only=True):
    """The state of one process; there is more in it, for people."""

    status: Literal["ok", "draining"]
    parts: Annotated[dict[str, str], Meta(description="`ok`, or why not, of each store.")]
    program: str
    hot_path: str | UnsetType = UNSET
    breakers: dict[str, str] | UnsetType = UNSET
    channel: str | UnsetType = UNSET
    hot_links: int | UnsetType = UNSET
    journal: dict[str, Any] | UnsetType = UNSET


class Readiness(msgspec.Struct, kw_only=True):
    """Whether traffic shall come here."""

    ready: bool
    reason: str | UnsetType = UNSET


class ReadyQuery(msgspec.Struct):
    """What is asked."""

    degraded: Annotated[Literal["ok"], Meta(description="Whether redirects can be served, no more.")] | None = None


class PublicHandler(Handler):
    """For everyone, as often as they like: probes of proxies, crawlers."""

    is_public = True
    is_metered = False

    @property
    def domain_options(self) -> DomainOptions:
        """Those of the domain that the request names; a host that is none of ours has none."""
        return self.services.hosts.options(self.request.host.encode("latin-1")) or PLAIN_OPTIONS


class HealthHandler(PublicHandler):
    """Does this process work?"""

    is_traced = False  # as with the next: asked every few seconds, by whom no trace interests

    @operation({200: Answer(HealthReport)})
    async def get(self) -> None:
        """Show how this process is.

        200 while it works, with the state of each part.
        """
        self.answer(await self.services.health.report())


class ReadyHandler(PublicHandler):
    """Shall traffic come here?"""

    is_traced = False

    @operation(
        {200: Answer(Readiness), 503: Answer(Readiness, says="No; `reason` says why.")},
        query=ReadyQuery,
    )
    async def get(self) -> None:
        """Ask whether traffic shall come here.

        200 when MongoDB and Redis answer and the process does not end.
        """
        degraded_ok = self.query(ReadyQuery).degraded is not None
        is_ready, body = await self.services.health.ready(degraded_ok=degraded_ok)
        self.answer(body, HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE)


class RootHandler(PublicHandler):
    """The public address itself."""

    @operation(
        {
            200: Answer(media=("text/html",)),
            302: Answer(says="The domain has a `root_target`.", headers=("Location",)),
        }
    )
    async def get(self) -> None:
        """Say what runs here, or lead where the domain's `root_target` says."""
        if self.domain_options.root_target:
            self.clear_header("Content-Type")
            self.set_header("Location", self.domain_options.root_target)
            self.set_status(HTTPStatus.FOUND)
            return
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.write(_PAGE)


class RobotsHandler(PublicHandler):
    """What crawlers may fetch: all links, which are only as public as their targets, unless the domain says none."""

    @operation({200: Answer(media=("text/plain",))})
    async def get(self) -> None:
        """Tell crawlers what they may fetch: the domain's `robots`."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        closed = "/api/" if self.domain_options.robots == "allow" else "/"
        self.write(f"User-agent: *\nDisallow: {closed}\n")


class NotFoundHandler(PublicHandler):
    """Every path that no other route names."""

    async def prepare(self) -> None:
        """404, whatever the method."""
        raise Problem(HTTPStatus.NOT_FOUND, "There is nothing here.")
