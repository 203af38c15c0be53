"""One request that is not plain, and its answer: h11 frames it, Tornado's Application answers it.

In: bytes from the connection. Out: calls of Tornado's documented interface (`start_request`, `HTTPMessageDelegate`,
and this `HTTPConnection`), the answer's bytes through h11, and at the end the bytes that came behind the request.
A GET of a slug that was merely spelled oddly is not given to the application: the connection answers it as ever, and
so it does a POST, which may be the form of a link with a password.

    HEAD     until h11 has a whole head: at most HEAD_BYTES_MAX, however it was cut into packets, FIELDS_MAX and HEAD_S
    BODY     until its end: as long as `bodies` allows, more if the handler's `prepare` asked for it by
             `set_max_body_size`, which Tornado awaits before the first byte; at most BODY_S, not counting that wait
    ANSWER   the handler runs; what the client sends meanwhile is kept, and reading pauses when it is much

A streamed answer obeys the client's pace: a write's future is done only when the transport takes more. Knows Tornado.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote_to_bytes

import h11
from tornado import httputil
from tornado.iostream import StreamClosedError

from app.front import limits
from app.front.bodies import Body
from app.front.gate import Gate, Owner
from app.front.head import HEAD_BYTES_MAX, Careful
from app.front.request import Asked, RefusedError, decode_slug, offered_id, read_request, refuse_crowd
from app.observe import request_id_of
from app.redirect import FORM_BYTES_MAX

__all__ = ["TornadoExchange"]

EVENTS_MAX = 32  # of h11 in one go, about 1 ms; then other connections get their turn


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
        self.since = gate.lane.second
        self.context = _context("", "http", None)
        self._owner = owner
        self._gate = gate
        self._application = application
        self._remote = remote
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX - 1)
        self._unjudged = b""  # what h11 was not given yet
        self._head = b""  # the raw head, as far as it came
        self._asked: Asked | None = None
        self._slug: tuple[bytes, Careful] | None = None  # a head for the front to answer, and what it asks for
        self._delegate: httputil.HTTPMessageDelegate | None = None
        self._body = Body()
        self._has_ended = False
        self._is_waiting = False
        self._is_scheduled = False
        self._is_over = False
        self._close_callback: Callable[[], None] | None = None
        self._unsent: list[asyncio.Future[None]] = []

    # What the connection calls.

    @property
    def held_bytes(self) -> int:
        """Bytes that wait until the handler, or the answer, is ready for them."""
        return len(self._unjudged)

    def feed(self, data: bytes) -> None:
        """More bytes of the request, or of what comes behind it."""
        self._unjudged += data
        self._pump()

    def on_end(self) -> None:
        """The client will send no more."""
        self._has_ended = True
        self._pump()

    def expire(self, second: int) -> None:
        """Ends a request that takes too long to arrive; a running handler has limits of its own."""
        if self._is_over or self._is_waiting or not self.is_receiving:
            return
        aged_s = second - self.since
        if self._asked is None and aged_s > limits.HEAD_S:
            self._gate.expired += 1
            self._end()
            self._owner.transport.close()
        elif self._asked is not None and aged_s > limits.BODY_S:
            self._gate.expired += 1
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    def give_way(self) -> None:
        """Bodies of others need the memory, and this one has been arriving for longest."""
        self._gate.counts.refused_connections += 1
        self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)

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
        delegate = self._end()
        for future in self._unsent:
            _break(future)
        if self._close_callback is not None:
            callback, self._close_callback = self._close_callback, None
            callback()
        if delegate is not None and self.is_receiving:
            delegate.on_connection_close()

    # tornado.httputil.HTTPConnection, and the two methods of HTTP1Connection that handlers may call.

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Tornado: called when the client goes away before the answer is complete."""
        self._close_callback = callback

    def set_max_body_size(self, size: int) -> None:
        """Tornado: a handler's `prepare` allows this request a larger body, in bytes."""
        self._body.bytes_max = size

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
            self._end()
            self._owner.transport.abort()  # the handler wrote less than it declared: the client must not believe it
            raise
        self._end()
        self._close_callback = None
        self._owner.exchange_done(*self._rest())

    # From h11's events to the delegate's methods.

    def _pump(self) -> None:
        try:
            for _ in range(EVENTS_MAX):
                if self._is_over or self._is_waiting or not self.is_receiving:
                    return
                event = self._h11.next_event()
                if event is h11.NEED_DATA:
                    if not self._give():
                        if self._h11.they_are_waiting_for_100_continue:
                            self._write(self._send(h11.InformationalResponse(status_code=100, headers=[])))
                        return
                elif not self._take(event):
                    return
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint)
        except RefusedError as refused:
            self._refuse(refused.status)
        except httputil.HTTPInputError:  # what Tornado finds wrong with a request that h11 passed
            self._refuse(HTTPStatus.BAD_REQUEST)
        else:
            self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._gate.call_soon(self._on_turn)

    def _on_turn(self) -> None:
        self._is_scheduled = False
        self._pump()
        if not self._is_over:
            self._owner.update_reading()

    def _give(self) -> bool:
        """Gives h11 what came, never more than makes its unfinished line or head too long; False when none is left.

        So whether a head is too long does not hang on how it was cut into packets: h11 limits only unfinished ones.
        """
        if self._unjudged:
            room = HEAD_BYTES_MAX - len(self._h11.trailing_data[0])
            part, self._unjudged = self._unjudged[:room], self._unjudged[room:]
            if self._asked is None:
                self._head += part
                refuse_crowd(self._head, len(self._head) - len(part))
            self._body.raw_bytes += len(part)
            self._h11.receive_data(part)
            return True
        if self._has_ended:
            self._h11.receive_data(b"")
        return self._has_ended

    def _take(self, event: Any) -> bool:
        """One event; False when no more shall be asked for now."""
        if isinstance(event, h11.Request):
            return self._on_request(event)
        if isinstance(event, h11.Data):
            self._body.grow(len(event.data))
            if self._delegate is not None:
                for late in self._gate.bodies.hold(self, len(event.data)):
                    late.give_way()
                if self._is_over:
                    return False
                self._await(self._delegate.data_received(bytes(event.data)))
            elif self._slug is not None and self._slug[1].form is not None:
                # Of a body that is too long for a form only so much that this can be seen.
                self._slug[1].form = (self._slug[1].form + bytes(event.data))[: FORM_BYTES_MAX + 1]
            return True
        if isinstance(event, h11.EndOfMessage):
            self._on_complete()
        elif isinstance(event, h11.ConnectionClosed):
            self._end()
            self._owner.exchange_done(b"", True)
        return False

    def _on_request(self, event: h11.Request) -> bool:
        asked = self._asked = read_request(event)
        self.since = self._gate.lane.second
        self._body.declared_bytes = asked.body_bytes or 0
        self._body.raw_bytes = len(self._h11.trailing_data[0])
        fields = list(event.headers.raw_items())
        path, mark, query = asked.target.partition(b"?")
        decoded = unquote_to_bytes(path)
        if not self._gate.is_ours(decoded):
            return self._start(event, asked, fields)
        if event.method == b"CONNECT":  # what follows it may be meant for a tunnel, and is no request
            raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED)
        head = b"%s %s HTTP/%s\r\n" % (event.method, asked.target, event.http_version)
        head += b"".join(name + b": " + value + b"\r\n" for name, value in fields) + b"\r\n"
        self._slug = (
            head,
            Careful(
                is_head=event.method == b"HEAD",
                path=decode_slug(path),
                query=mark + query,
                host=asked.host,
                close=False,
                form=b"" if event.method == b"POST" else None,
            ),
        )
        self._body.admit()
        return True

    def _start(self, event: h11.Request, asked: Asked, fields: list[tuple[bytes, bytes]]) -> bool:
        headers = httputil.HTTPHeaders()
        for name, value in fields:
            headers.add(name.decode("latin-1"), value.decode("latin-1"))
        if asked.host:
            headers["Host"] = asked.host.decode("latin-1")
        address, protocol = self._remote(self._owner.peer, fields)
        self.context = _context(address, protocol, (address, 0))
        line = httputil.RequestStartLine(
            event.method.decode("latin-1"),
            asked.target.decode("latin-1"),
            "HTTP/" + event.http_version.decode("latin-1"),
        )
        self._delegate = self._application.start_request(self, self)
        self._await(self._delegate.headers_received(line, headers))
        if not self._is_waiting:
            self._body.admit()
        return not self._is_over

    def _await(self, result: Any) -> None:
        """Holds the request back until the delegate is ready for more of it."""
        if result is None:
            return
        future = asyncio.ensure_future(result)
        if future.done():
            future.result()
            return
        self._is_waiting = True
        future.add_done_callback(self._on_ready)

    def _on_ready(self, future: asyncio.Future[Any]) -> None:
        self._is_waiting = False
        if self._is_over:
            return
        if future.cancelled() or future.exception() is not None:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR)
            future.result()
        self.since = self._gate.lane.second
        try:
            self._body.admit()
        except RefusedError as refused:
            self._refuse(refused.status)
        self._on_turn()

    def _on_complete(self) -> None:
        self.is_receiving = False
        if self._slug is None:
            assert self._delegate is not None
            self._delegate.finish()
            return
        head, found = self._slug
        self._end()
        # h11 says whether the connection may go on, also after an upgrade that was offered and declined.
        self._send(h11.Response(status_code=HTTPStatus.FOUND, headers=[(b"Content-Length", b"0")]))
        self._send(h11.EndOfMessage())
        rest, close = self._rest()
        if head.startswith((b"GET ", b"HEAD ", b"POST ")):
            found.close = close
            self._owner.answer_slug(head, found, rest)
            return
        close = close or self._gate.draining
        refusal = self._gate.book.failure(HTTPStatus.METHOD_NOT_ALLOWED, head, is_head=False, close=close)
        self._owner.transport.write(refusal)
        self._owner.exchange_done(rest, close)

    def _refuse(self, status: int) -> None:
        """Answers a request that cannot be accepted, if no answer has begun, and ends the connection."""
        if self._is_over:
            return
        delegate = self._end()
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            request_id = request_id_of(offered_id(self._head))
            is_head = self._head.startswith(b"HEAD ")
            self._owner.transport.write(self._gate.book.refusal(status, self._head, request_id, is_head=is_head))
        if delegate is not None:
            delegate.on_connection_close()
        self._owner.exchange_done(b"", True)

    def _rest(self) -> tuple[bytes, bool]:
        """What came behind the request, and whether the connection ends instead."""
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            return bytes(self._h11.trailing_data[0]) + self._unjudged, False
        return b"", True

    def _end(self) -> httputil.HTTPMessageDelegate | None:
        """Lets go of the delegate, which knows this one and holds the body: it would all wait for the collector."""
        self._is_over = True
        self._gate.bodies.drop(self)
        delegate, self._delegate = self._delegate, None
        return delegate

    def _send(self, event: Any) -> bytes:
        return self._h11.send(event) or b""

    def _write(self, data: bytes) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._is_over:
            _break(future)
            return future
        if data:
            self._owner.transport.write(data)
        if self._owner.stalled:
            self._unsent.append(future)
        else:
            future.set_result(None)
        return future


def _context(remote_ip: str, protocol: str, address: Any) -> SimpleNamespace:
    """What Tornado asks of a connection's context."""
    return SimpleNamespace(remote_ip=remote_ip, protocol=protocol, address=address)


def _break(future: asyncio.Future[None]) -> None:
    """Tells whoever waits for a write that nobody will read it, as Tornado's own connection does."""
    if not future.done():
        future.set_exception(StreamClosedError())
        future.exception()  # who does not wait is not warned
