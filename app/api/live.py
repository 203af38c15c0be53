"""`/api/v1/live`: visits as they are counted, as an event stream (WHATWG HTML, 9.2).

In: a slug, or none for all links. Out: what `app.feed.hub` says, at the client's pace, for as long as the client, its
key and this process last. A comment every BEAT_S tells proxies and clients that the stream lives.
May import: feed, links.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

import msgspec
from msgspec import Meta
from pymongo.errors import PyMongoError
from redis.exceptions import RedisError
from tornado.iostream import StreamClosedError

from app.api.handler import Handler
from app.api.operation import Answer, operation
from app.api.parameters import DomainName
from app.api.problems import FieldError, Problem, wrong_fields
from app.feed import ALL_LINKS, FullError, Stream

__all__ = ["BEAT_S", "LiveHandler"]

BEAT_S = 15.0
CHECK_S = 1.0  # between two looks at the key, before something is told
RETRY_AFTER_S = 10
_FIRST = b"retry: 1000\n: visits as they are counted\n\n"  # a browser comes again after a second
_BEAT = b": beat\n\n"


class LiveQuery(msgspec.Struct):
    """Whose visits."""

    slug: Annotated[str, Meta(description="Of this link alone; left out: of all links.", examples=["http"])] = ""
    domain: DomainName = ""


class LiveHandler(Handler):
    """A stream of visits."""

    stream: Stream | None = None

    @operation(
        {
            200: Answer(
                media=("text/event-stream",), says="Events `visit`, `sampled` and `lost`, until somebody ends it."
            )
        },
        query=LiveQuery,
        refuses={404: "There is no such link.", 503: "A store does not answer, or too many streams are open."},
    )
    async def get(self) -> None:
        """Watch visits as they are counted."""
        link = await self._link()
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("X-Accel-Buffering", "no")  # nginx would hold it back
        if self.request.method == "HEAD":
            await self.flush()
            return
        try:
            stream = self.stream = self.services.hub.open(link)
        except FullError as error:
            self.set_header("Content-Type", "application/json")
            headers = {"Retry-After": str(RETRY_AFTER_S)}
            detail = "This process serves no more streams: come again, another one may."
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=headers) from error
        try:
            await self._follow(stream)
        except StreamClosedError:
            pass  # the client is gone
        finally:
            self.services.hub.close(stream)

    def on_connection_close(self) -> None:
        """The client is gone, or does not read any more."""
        if self.stream is not None:
            self.stream.end()

    async def _link(self) -> int:
        query = self.query(LiveQuery)
        if not query.slug:
            if query.domain:
                raise wrong_fields([FieldError("domain", "needs a slug")])
            if not self.caller.bounds.is_wide:
                raise Problem(HTTPStatus.FORBIDDEN, "This key may watch single links of its own: name one by slug.")
            return ALL_LINKS
        return (await self.find_link(self.key_of(query.slug, query.domain))).link

    async def _follow(self, stream: Stream) -> None:
        self.write(_FIRST)
        await self.flush()
        checked_s = self.services.now_s()
        while not stream.is_ended:
            data = await stream.next(BEAT_S)
            if abs(self.services.now_s() - checked_s) > CHECK_S:
                if not await self._is_welcome():
                    return
                checked_s = self.services.now_s()
            self.write(data or _BEAT)
            await self.flush()

    async def _is_welcome(self) -> bool:
        """Whether the caller may still see this, as far as the stores say so: without them, nothing is told."""
        try:
            await self.identify()
            if not self.caller.bounds.is_wide:
                await self._link()
        except Problem:
            return False
        except (PyMongoError, RedisError):
            pass
        return True
