"""One request that is not plain, and its answer: h11 frames it, Tornado's Application answers it.

In: bytes from the connection. Out: calls of Tornado's documented interface (`start_request`, `HTTPMessageDelegate`,
and this `HTTPConnection`), the answer's bytes through h11, and at the end the bytes that came behind the request.
A GET of a slug that was merely spelled oddly is not given to the application: the connection answers it as ever.

Bodies are limited before they are read: 1 MiB unless the handler's `prepare` asked for more by
`set_max_body_size`, which Tornado awaits before the first byte. A streamed answer obeys the client's pace: the future
of a write is done only when the transport takes more.
The only file of the front that knows Tornado.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import h11
from tornado import httputil

from app.front.gate import Gate, Owner
from app.front.head import HEAD_BYTES_MAX, Careful

__all__ = ["BODY_BYTES_MAX", "TornadoExchange"]

BODY_BYTES_MAX = 1024 * 1024
_HOST = re.compile(rb"(?:[A-Za-z0-9._~%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?", re.ASCII)


class RequestContext:
    """What Tornado asks of a connection's context."""

    def __init__(self, remote_ip: str, protocol: str, address: Any) -> None:
        self.remote_ip = remote_ip
        self.protocol = protocol
        self.address = address


class TornadoExchange(httputil.HTTPConnection):
    """One request and its answer between h11 and a Tornado delegate.

    Args:
        owner: the connection, told by `exchange_done` or `answer_slug` when this is over.
        application: starts requests.
        remote: (address, protocol) of the client as the head's forwarding headers and the peer tell.
    """

    def __init__(
        self,
        owner: Owner,
        gate: Gate,
        application: httputil.HTTPServerConnectionDelegate,
        remote: Callable[[bytes, list[tuple[bytes, bytes]]], tuple[str, str]],
    ) -> None:
        self.is_receiving = True
        self.context = RequestContext("", "http", None)
        self._owner = owner
        self._gate = gate
        self._application = application
        self._remote = remote
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._delegate: httputil.HTTPMessageDelegate | None = None
        self._slug: tuple[bytes, Careful] | None = None
        self._body_bytes = 0
        self._body_bytes_max = BODY_BYTES_MAX
        self._declared_bytes = 0
        self._is_head = False
        self._is_admitted = False
        self._is_waiting = False
        self._is_over = False
        self._close_callback: Callable[[], None] | None = None
        self._unsent: list[asyncio.Future[None]] = []

    # What the connection calls.

    def feed(self, data: bytes) -> None:
        """More bytes of the request, or of what comes behind it."""
        self._h11.receive_data(data)
        self._pump()

    def on_end(self) -> None:
        """The client will send no more."""
        self._h11.receive_data(b"")
        self._pump()

    def on_writable(self) -> None:
        """The client has read what waited for it."""
        unsent, self._unsent = self._unsent, []
        for future in unsent:
            if not future.done():
                future.set_result(None)

    def on_lost(self) -> None:
        """The client is gone; the handler is told, and nobody waits for its writes any more."""
        if self._is_over:
            return
        self._is_over = True
        self.on_writable()
        if self._close_callback is not None:
            callback, self._close_callback = self._close_callback, None
            callback()
        if self._delegate is not None and self.is_receiving:
            self._delegate.on_connection_close()

    # tornado.httputil.HTTPConnection, and the two methods of HTTP1Connection that handlers may call.

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Tornado: called when the client goes away before the answer is complete."""
        self._close_callback = callback

    def set_max_body_size(self, size: int) -> None:
        """Tornado: a handler's `prepare` allows this request a larger body, in bytes."""
        self._body_bytes_max = size

    def write_headers(
        self,
        start_line: httputil.RequestStartLine | httputil.ResponseStartLine,
        headers: httputil.HTTPHeaders,
        chunk: bytes | None = None,
    ) -> asyncio.Future[None]:
        """Tornado: the answer's head, perhaps with the first part of its body."""
        assert isinstance(start_line, httputil.ResponseStartLine)
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.get_all()]
        if (self.is_receiving or self._gate.draining) and "Connection" not in headers:
            fields.append((b"Connection", b"close"))
        reason = start_line.reason.encode("latin-1")
        answer = self._send(h11.Response(status_code=start_line.code, reason=reason, headers=fields))
        if chunk:
            answer += self._send(h11.Data(data=chunk))
        return self._write(answer)

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        """Tornado: a further part of the answer's body."""
        return self._write(self._send(h11.Data(data=chunk)))

    def finish(self) -> None:
        """Tornado: the answer is complete."""
        if self._is_over:
            return
        try:
            self._write(self._send(h11.EndOfMessage()))
        except h11.LocalProtocolError:
            self._is_over = True
            self._owner.transport.abort()  # the handler wrote less than it declared: the client must not believe it
            raise
        self._is_over = True
        self._close_callback = None
        reusable = self._is_reusable()
        rest = bytes(self._h11.trailing_data[0]) if reusable else b""
        self._owner.exchange_done(rest, not reusable)

    # From h11's events to the delegate's methods.

    def _pump(self) -> None:
        try:
            while not self._is_over and not self._is_waiting and self.is_receiving:
                event = self._h11.next_event()
                if event is h11.NEED_DATA:
                    if self._h11.they_are_waiting_for_100_continue and self._slug is None:
                        self._write(self._send(h11.InformationalResponse(status_code=100, headers=[])))
                    return
                if not self._take(event):
                    return
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint)
        except httputil.HTTPInputError:  # what Tornado finds wrong with a request that h11 passed
            self._refuse(HTTPStatus.BAD_REQUEST)

    def _take(self, event: Any) -> bool:
        """One event; False when no more shall be asked for now."""
        if isinstance(event, h11.Request):
            return self._on_request(event)
        if isinstance(event, h11.Data):
            self._body_bytes += len(event.data)
            if self._body_bytes > self._body_bytes_max:
                self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
                return False
            if self._delegate is not None:
                self._await(self._delegate.data_received(bytes(event.data)))
            return True
        if isinstance(event, h11.EndOfMessage):
            self._on_complete()
        elif isinstance(event, h11.ConnectionClosed):
            self._is_over = True
            self._owner.exchange_done(b"", True)
        return False

    def _on_request(self, event: h11.Request) -> bool:
        self._is_head = event.method == b"HEAD"
        if event.http_version not in (b"1.0", b"1.1"):
            self._refuse(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
            return False
        fields = list(event.headers.raw_items())
        target, host = _origin_form(event.target, next((v for n, v in event.headers if n == b"host"), b""))
        if not _HOST.fullmatch(host) or (not host and event.http_version == b"1.1"):
            self._refuse(HTTPStatus.BAD_REQUEST)
            return False
        self._declared_bytes = next((int(v) for n, v in event.headers if n == b"content-length" and len(v) < 19), 0)
        path, _, query = target.partition(b"?")
        if event.method in (b"GET", b"HEAD") and self._is_slug(path):
            decoded = unquote_to_bytes(path)
            head = b"%s %s HTTP/%s\r\n" % (event.method, target, event.http_version)
            head += b"".join(name + b": " + value + b"\r\n" for name, value in fields) + b"\r\n"
            found = Careful(
                is_head=event.method == b"HEAD",
                path=decoded,
                query=b"?" + query if query else b"",
                host=host,
                close=False,
            )
            self._slug = (head, found)
            return True
        return self._start(event, target, host, fields)

    def _is_slug(self, path: bytes) -> bool:
        return path.startswith(b"/") and path != b"/" and not self._gate.is_reserved(unquote_to_bytes(path))

    def _start(self, event: h11.Request, target: bytes, host: bytes, fields: list[tuple[bytes, bytes]]) -> bool:
        headers = httputil.HTTPHeaders()
        for name, value in fields:
            headers.add(name.decode("latin-1"), value.decode("latin-1"))
        if host:
            headers["Host"] = host.decode("latin-1")
        address, protocol = self._remote(self._owner.peer, fields)
        self.context = RequestContext(address, protocol, (address, 0))
        line = httputil.RequestStartLine(
            event.method.decode("latin-1"),
            target.decode("latin-1"),
            "HTTP/" + event.http_version.decode("latin-1"),
        )
        self._delegate = self._application.start_request(self, self)
        self._await(self._delegate.headers_received(line, headers))
        if not self._is_waiting:
            self._admit_body()
        return not self._is_over

    def _await(self, result: Any) -> None:
        """Holds the request back until the delegate is ready for more of it."""
        if result is None:
            return
        future = asyncio.ensure_future(result)
        if future.done():
            return
        self._is_waiting = True
        future.add_done_callback(self._on_ready)

    def _on_ready(self, _: Any) -> None:
        self._is_waiting = False
        if not self._is_over:
            self._admit_body()
            self._pump()

    def _admit_body(self) -> None:
        """Refuses a declared body over the limit, once the handler had its chance to raise it."""
        if not self._is_admitted:
            self._is_admitted = True
            if self._declared_bytes > self._body_bytes_max:
                self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    def _on_complete(self) -> None:
        self.is_receiving = False
        if self._slug is None:
            assert self._delegate is not None
            self._delegate.finish()
            return
        head, found = self._slug
        self._is_over = True
        # h11 says whether the connection may go on, also after an upgrade that was offered and declined.
        self._send(h11.Response(status_code=HTTPStatus.FOUND, headers=[(b"Content-Length", b"0")]))
        self._send(h11.EndOfMessage())
        found.close = not self._is_reusable()
        rest = b"" if found.close else bytes(self._h11.trailing_data[0])
        self._owner.answer_slug(head, found, rest)

    def _refuse(self, status: int) -> None:
        """Answers a request that cannot be accepted, if no answer has begun, and ends the connection."""
        if self._is_over:
            return
        self._is_over = True
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            book = self._gate.book
            self._owner.transport.write(
                book.failure(status, b"\nAccept: application/json\n", is_head=self._is_head, close=True)
            )
        if self._delegate is not None:
            self._delegate.on_connection_close()
        self._owner.exchange_done(b"", True)

    def _is_reusable(self) -> bool:
        return self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE

    def _send(self, event: Any) -> bytes:
        return self._h11.send(event) or b""

    def _write(self, data: bytes) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if data and not self._is_over:
            self._owner.transport.write(data)
        if self._owner.stalled and not self._is_over:
            self._unsent.append(future)
        else:
            future.set_result(None)
        return future


def _origin_form(target: bytes, host: bytes) -> tuple[bytes, bytes]:
    """(target, Host) of a request: an absolute-form target carries the host itself (RFC 9112 3.2.2)."""
    if not target[:8].lower().startswith((b"http://", b"https://")):
        return target, host
    try:
        parts = urlsplit(target)
    except ValueError:
        return target, b" "  # no valid host: refused
    path = parts.path or b"/"
    return path + (b"?" + parts.query if parts.query else b""), parts.netloc
