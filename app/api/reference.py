"""`/api/v1/openapi.json` and `/docs`: the API's description, for programs and for people.

In: the routing table. Out: bytes, made with the first request and kept: 90 KB and 50 ms, in a thread, so that
redirects do not wait. May import: openapi, page.
"""

from __future__ import annotations

import asyncio
import hashlib
from functools import cached_property

import msgspec

from app.api.handler import Handler
from app.api.openapi import make_document
from app.api.operation import Answer, operation
from app.api.page import POLICY, make_page
from app.api.schemas import Routes

__all__ = ["DocsHandler", "OpenApiHandler", "Reference"]

CACHE = "public, max-age=300"  # after an update, the old description is shown for so long


class Reference:
    """The description of some routes, as bytes and their ETags."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    @cached_property
    def document(self) -> tuple[bytes, str]:
        """The OpenAPI document."""
        return _tagged(msgspec.json.encode(make_document(self._routes)) + b"\n")

    @cached_property
    def page(self) -> tuple[bytes, str]:
        """The page."""
        return _tagged(make_page(make_document(self._routes)).encode())


class ReferenceHandler(Handler):
    """For everyone."""

    is_public = True

    async def show(self, name: str, media: str) -> None:
        """Answers with one of the two forms."""
        reference: Reference = self.application.settings["reference"]
        body, etag = await asyncio.to_thread(getattr, reference, name)
        self.set_header("Content-Type", media)
        self.set_header("Cache-Control", CACHE)
        self.set_header("ETag", etag)
        self.write(body)
        self.spare_known()


class OpenApiHandler(ReferenceHandler):
    """For programs."""

    @operation({200: Answer(dict)})
    async def get(self) -> None:
        """Describe the API to programs.

        This document, in OpenAPI 3.1.
        """
        await self.show("document", "application/json")


class DocsHandler(ReferenceHandler):
    """For people."""

    @operation({200: Answer(media=("text/html",))})
    async def get(self) -> None:
        """Describe the API to people.

        The same as a page.
        """
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("Referrer-Policy", "no-referrer")
        await self.show("page", "text/html; charset=utf-8")


def _tagged(body: bytes) -> tuple[bytes, str]:
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'
