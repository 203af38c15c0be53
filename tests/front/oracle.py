"""What a client's stream must be answered with, by h11 and Tornado alone; no code of the front takes part.

`judge(raw)` runs every request through h11, which says where it begins and ends, whether it is valid and whether the
connection goes on. What h11 leaves to a server is stated here once more, in other words than in `app.front.request`,
so that a slip in one is found by the other:

    505  no HTTP/1.x                        RFC 9110 15.6.6
    400  Transfer-Encoding in HTTP/1.0, or beside Content-Length          RFC 9112 6.1
    400  a target of no form, with a fragment, a user or without a host   RFC 9112 3.2, RFC 9110 4.2
    400  a Host that is no host, or an empty one                          RFC 9112 3.2
    413  a body over 1 MiB                  RFC 9110 15.5.14
    405  CONNECT, and the connection ends; another method than GET and HEAD on what is not the application's (a POST
         may be the form of a link's password, so it is looked up first: 404, or 405 where a link has none)

and Tornado's own objects say which requests of the application are refused by it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from itertools import groupby
from urllib.parse import unquote_to_bytes

import h11
from tornado import httputil
from tornado.web import RequestHandler

from app.settings import RESERVED_SEGMENTS

__all__ = ["Answer", "Verdict", "judge"]

HEAD_BYTES_MAX = 16 * 1024
BODY_BYTES_MAX = 1024 * 1024
LINES_MAX = 1 + 256 + 1  # of a head: request line, fields, blank line
KNOWN = b"/abc7"
_NAME = re.compile(rb"(?:[A-Za-z0-9._~-]|%[0-9A-Fa-f][0-9A-Fa-f])+")
_BLANK_LINE = re.compile(rb"\n\r?\n").search
_ADDRESS = re.compile(rb"\[[0-9A-Fa-f:.]+\]")


@dataclass(frozen=True)
class Answer:
    """One answer: `is_head` has no body; `closes` says `Connection: close`."""

    status: int
    is_head: bool
    closes: bool


@dataclass(frozen=True)
class Verdict:
    """All answers, in order; whether more may follow on this connection; how many redirects of GET are clicks."""

    answers: tuple[Answer, ...]
    is_open: bool
    clicks: int

    def __str__(self) -> str:
        words = []
        for status, same in groupby(answer.status for answer in self.answers):
            count = len(list(same))
            words += [f"{status}*{count}"] if count > 3 else [str(status)] * count
        return " ".join([*words, "open" if self.is_open else "closed"])


class _RefusedError(Exception):
    def __init__(self, status: int) -> None:
        self.status = status


def judge(raw: bytes) -> Verdict:
    """The verdict on a whole stream, after which the client waits."""
    answers: list[Answer] = []
    clicks = 0
    server = _Server(raw)
    while True:
        is_head = server.rest.startswith(b"HEAD ")
        try:
            request = server.read_request()
            if request is None:
                return Verdict(tuple(answers), True, clicks)
            status = _status(request)
            if not server.read_body(request):
                return Verdict(tuple(answers), True, clicks)
        except _RefusedError as refused:
            return Verdict((*answers, Answer(refused.status, is_head, True)), False, clicks)
        goes_on = server.answer(status)
        answers.append(Answer(status, request.method == b"HEAD", not goes_on))
        clicks += status == HTTPStatus.FOUND and request.method == b"GET"
        if not goes_on:
            return Verdict(tuple(answers), False, clicks)


class _Server:
    """h11, given the stream so that its limit holds also for what comes in one piece."""

    def __init__(self, raw: bytes) -> None:
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX - 1)
        self._later = raw

    @property
    def rest(self) -> bytes:
        """What is not read yet, as far as it matters for the next head."""
        return bytes(self._h11.trailing_data[0]) + self._later[:8]

    def read_request(self) -> h11.Request | None:
        raw = bytes(self._h11.trailing_data[0]) + self._later
        end = _BLANK_LINE(raw)
        if end is not None and raw[0] > 32 and raw.count(b"\n", 0, end.end()) > LINES_MAX:
            raise _RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        event = self._next()
        assert event is None or isinstance(event, h11.Request)
        return event

    def read_body(self, request: h11.Request) -> bool:
        """Reads the body to its end; False when it is not whole."""
        declared = [int(value) for name, value in request.headers if name == b"content-length"]
        if declared and declared[0] > BODY_BYTES_MAX:
            raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        size = 0
        while True:
            event = self._next()
            if event is None:
                return False
            if not isinstance(event, h11.Data):
                return True
            size += len(event.data)
            if size > BODY_BYTES_MAX:
                raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    def answer(self, status: int) -> bool:
        """Answers; whether another request may follow."""
        self._h11.send(h11.Response(status_code=status, headers=[("Content-Length", "0")]))
        self._h11.send(h11.EndOfMessage())
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        return True

    def _next(self) -> object | None:
        """The next event; None when the stream is at its end."""
        try:
            while (event := self._h11.next_event()) is h11.NEED_DATA:
                held = len(self._h11.trailing_data[0])
                if not self._later:
                    return None
                piece = max(1, HEAD_BYTES_MAX - held)
                self._h11.receive_data(self._later[:piece])
                self._later = self._later[piece:]
        except h11.RemoteProtocolError as error:
            raise _RefusedError(error.error_status_hint) from error
        return event


def _status(request: h11.Request) -> int:
    """What a request is answered with once its body is read. Raises _RefusedError."""
    fields = dict(request.headers)
    is_old = request.http_version == b"1.0"
    if request.http_version[:1] != b"1":
        raise _RefusedError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    if b"transfer-encoding" in fields and (is_old or b"content-length" in fields):
        raise _RefusedError(HTTPStatus.BAD_REQUEST)
    host = fields.get(b"host", b"")
    if not (_is_authority(host) or host == b"") or b"#" in request.target:
        raise _RefusedError(HTTPStatus.BAD_REQUEST)
    target = request.target
    if request.method == b"CONNECT":
        name, _, port = target.rpartition(b":")
        # A host alone: one to which a port may be added.
        is_authority = _is_authority(name) and _is_authority(name + b":1") and port.isdigit() and len(port) < 6
        raise _RefusedError(
            HTTPStatus.METHOD_NOT_ALLOWED if is_authority and (host or is_old) else HTTPStatus.BAD_REQUEST
        )
    scheme, mark, after = target.partition(b"://")
    if mark and scheme.lower() in (b"http", b"https"):
        cut = min([at for at in (after.find(b"/"), after.find(b"?")) if at >= 0], default=len(after))
        host, target = after[:cut], after[cut:]
        if not _is_authority(host):
            raise _RefusedError(HTTPStatus.BAD_REQUEST)
        target = target if target.startswith(b"/") else b"/" + target
    elif not target.startswith(b"/") and (request.method, target) != (b"OPTIONS", b"*"):
        raise _RefusedError(HTTPStatus.BAD_REQUEST)
    if not host and not is_old:
        raise _RefusedError(HTTPStatus.BAD_REQUEST)
    path = unquote_to_bytes(target.split(b"?")[0])
    if path == b"/" or path[1:].split(b"/")[0].lower().decode("latin-1") in RESERVED_SEGMENTS:
        return _status_of_application(request, target, host)
    if request.method not in (b"GET", b"HEAD", b"POST"):
        return HTTPStatus.METHOD_NOT_ALLOWED
    if path != KNOWN:
        return HTTPStatus.NOT_FOUND
    return HTTPStatus.METHOD_NOT_ALLOWED if request.method == b"POST" else HTTPStatus.FOUND


def _is_authority(text: bytes) -> bool:
    """A host, and perhaps a port (RFC 3986 3.2)."""
    match = _ADDRESS.match(text) or _NAME.match(text)
    return match is not None and re.fullmatch(rb"(?::[0-9]{0,5})?", text[match.end() :]) is not None


def _status_of_application(request: h11.Request, target: bytes, host: bytes) -> int:
    """Tornado's objects are built as its server builds them; what they refuse ends the connection."""
    method, uri, version = request.method.decode(), target.decode(), "HTTP/" + request.http_version.decode()
    try:
        headers = httputil.HTTPHeaders()
        for name, value in request.headers:
            headers.add(name.decode("latin-1"), value.decode("latin-1"))
        if host:
            headers["Host"] = host.decode()
        httputil.HTTPServerRequest(headers=headers, start_line=httputil.RequestStartLine(method, uri, version))
    except httputil.HTTPInputError as error:
        raise _RefusedError(HTTPStatus.BAD_REQUEST) from error
    return HTTPStatus.OK if method in RequestHandler.SUPPORTED_METHODS else HTTPStatus.METHOD_NOT_ALLOWED
