"""Reads how a page begins: no more of it than is asked for, from whatever public address a URL leads to.

In: a URL that a caller of the API named. Out: its status, type and first bytes, or `FetchError`.

    http, https   both; nothing secret goes there. Certificates as in `app.outbound.fetch`
    redirects     at most REDIRECTS_MAX, each to a URL that is judged as the first was
    addresses     those of a `Guard`; the connection is made to one that was judged
    an end        when enough is there, after `bytes_max`, or after `answer_s` in all; who sends so much, and little in
                  it but heads of status 1xx or ends of chunks, has not answered

`Fetcher` waits for whole answers and refuses those that are too large; pages are large, and their title stands first.
May import: observe, turns, h11.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import zip_longest
from typing import NamedTuple
from urllib.parse import SplitResult, quote, urljoin, urlsplit

import h11

from app.observe import fetching
from app.outbound.fetch import (
    AGENT,
    CONNECT_S,
    HEAD_BYTES_MAX,
    EndlessUrlError,
    FetchError,
    RefusedUrlError,
    UnaskedError,
    is_askable,
)
from app.outbound.guard import Address, Guard, NotPublicError, UnaskedNameError
from app.turns import Turn

__all__ = ["Page", "PageReader"]

#: Told all that was read, and how much of it is new.
IsEnough = Callable[[bytearray, int], bool]
REDIRECTS = (301, 302, 303, 307, 308)
REDIRECTS_MAX = 5
ADDRESSES_MAX = 3  # of a host that are tried
READ_BYTES = 64 * 1024
FRAMING_BYTES_MAX = 2 * READ_BYTES  # beside a page: 3 MB of chunks of one byte kept h11 busy for 4 s
#: Many a server sends the path of a Location as bare UTF-8; browsers take it for percent-encoded.
VISIBLE = "".join(map(chr, range(0x21, 0x7F)))
PORTS = {"http": 80, "https": 443}
HTML = "text/html, application/xhtml+xml"
#: What this machine lacks: a way there, such as IPv6, descriptors, memory.
_OWN_FAULTS = (
    *(errno.ENETUNREACH, errno.ENETDOWN, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL),
    *(errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM),
)


class Page(NamedTuple):
    """How an answer begins; `type` is its Content-Type."""

    status: int
    type: str
    start: bytes


class PageReader:
    """Reads pages for one program.

    Args:
        answer_s: for one page, redirects and all.
        bytes_max: of what is read of a body; 0: the head is all that is waited for.
        accept: what kinds of answers are asked for (RFC 9110 12.5.1).
    """

    def __init__(self, guard: Guard, *, answer_s: float, bytes_max: int, accept: str = HTML) -> None:
        self._guard = guard
        self._answer_s = answer_s
        self._bytes_max = bytes_max
        self._accept = accept
        self._tls = ssl.create_default_context()

    async def read(self, url: str, is_enough: IsEnough) -> Page:
        """Reads until `is_enough`, or the end; raises FetchError."""
        try:
            async with asyncio.timeout(self._answer_s):
                for _ in range(REDIRECTS_MAX + 1):
                    parts = self._check(url.partition("#")[0])
                    page, location = await self._ask(parts, is_enough)
                    if location is None:
                        return page
                    url = urljoin(parts.geturl(), quote(location, safe=VISIBLE, encoding="latin-1"))
        except TimeoutError as error:
            raise FetchError(url, f"did not answer within {self._answer_s:.0f} s") from error
        except NotPublicError as error:
            raise RefusedUrlError(url, str(error)) from error
        except (OSError, ValueError, h11.ProtocolError) as error:
            is_ours = isinstance(error, UnaskedNameError) or getattr(error, "errno", None) in _OWN_FAULTS
            raise (UnaskedError if is_ours else FetchError)(url, str(error) or type(error).__name__) from error
        raise EndlessUrlError(url, f"leads on more than {REDIRECTS_MAX} times")

    def _check(self, url: str) -> SplitResult:
        if not is_askable(url):
            raise RefusedUrlError(url, "is no URL that can be asked")
        parts = urlsplit(url)
        if parts.scheme not in PORTS:
            raise RefusedUrlError(url, "is no web page")
        if not self._guard.allows_host(parts.hostname or ""):
            raise RefusedUrlError(url, "must lead to a public address")
        return parts

    async def _ask(self, parts: SplitResult, is_enough: IsEnough) -> tuple[Page, str | None]:
        """What one URL answers, and where it leads on to."""
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = [
            ("Host", parts.netloc),
            ("User-Agent", AGENT),
            ("Accept", self._accept),
            ("Accept-Encoding", "identity"),
            ("Connection", "close"),
        ]
        with fetching("GET") as span:
            async with self._connected(parts) as (reader, writer):
                answer = _Answer(reader, self._bytes_max + FRAMING_BYTES_MAX)
                writer.write(answer.ask(h11.Request(method="GET", target=path, headers=headers)))
                head = await answer.head()
                span.set("http.response.status_code", head.status_code)
                fields = {name: value.decode("latin-1") for name, value in head.headers}
                location = fields.get(b"location") if head.status_code in REDIRECTS else None
                start = b"" if location is not None else await self._start(answer, is_enough)
        return Page(head.status_code, fields.get(b"content-type", ""), start), location

    async def _start(self, answer: _Answer, is_enough: IsEnough) -> bytes:
        start = bytearray()
        while len(start) < self._bytes_max and (data := await answer.data()):
            start += data
            if is_enough(start, len(data)):
                break
        return bytes(start[: self._bytes_max])

    @asynccontextmanager
    async def _connected(self, parts: SplitResult) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection to the first address that takes one; raises OSError."""
        host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
        tls = self._tls if parts.scheme == "https" else None
        name = host if tls else None
        failure: OSError | None = None  # the first one: an address of a kind that this machine has no way to comes last
        for family, address in in_turns(await self._guard.resolve(host, port))[:ADDRESSES_MAX]:
            try:
                async with asyncio.timeout(CONNECT_S):
                    reader, writer = await asyncio.open_connection(
                        address[0], port, family=family, ssl=tls, server_hostname=name
                    )
                break
            except TimeoutError:
                failure = failure or OSError("cannot be reached")
            except OSError as error:
                failure = failure or error
        else:
            raise failure or OSError("has no address")
        try:
            yield reader, writer
        finally:
            writer.transport.abort()  # the rest of a large page is not waited for
            with suppress(OSError):
                await writer.wait_closed()


def in_turns(addresses: Sequence[Address]) -> list[Address]:
    """One of each family after the other (RFC 8305, 4): a way by IPv6 that leads nowhere is not all that is tried."""
    first = [one for one in addresses if one[0] == addresses[0][0]]
    others = [one for one in addresses if one[0] != addresses[0][0]]
    return [one for both in zip_longest(first, others) for one in both if one is not None]


class _Answer:
    """An answer as it comes in; raises h11.RemoteProtocolError, OSError."""

    def __init__(self, reader: asyncio.StreamReader, bytes_max: int) -> None:
        self._left_bytes = bytes_max
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._reader = reader
        self._turn = Turn()

    def ask(self, request: h11.Request) -> bytes:
        """The bytes of a request without a body."""
        return (self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b"")

    async def head(self) -> h11.Response:
        """Its head."""
        while not isinstance(event := await self._event(), h11.Response):
            pass  # of status 1xx
        return event

    async def data(self) -> bytes:
        """Some of its body; b"" at the end."""
        event = await self._event()
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    async def _event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._left_bytes <= 0:
                raise OSError("sends more around its page than a page")
            data = await self._reader.read(READ_BYTES)
            if not data and self._http.their_state is h11.SEND_RESPONSE:
                raise ConnectionResetError("ended before its answer")
            self._left_bytes -= len(data)
            self._http.receive_data(data)
        if self._turn.is_over:  # a small read may hold thousands of them
            await self._turn.end()
        return event
