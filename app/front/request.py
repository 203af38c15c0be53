"""What a request that h11 has parsed asks for, or why it is refused. Pure.

In: h11's `Request`. Out: an `Asked`; `RefusedError` with the status to answer. h11 judges the syntax and how the
stream is framed; here are the rules of RFC 9110 and 9112 that it leaves to servers:

    version   a later 1.x is answered as 1.1 (RFC 9110 2.5); another major version is 505
    framing   Transfer-Encoding beside Content-Length, or in HTTP/1.0, is how requests are smuggled: 400, where
              RFC 9112 6.1 asks at least for the end of the connection
    target    one of the four forms (RFC 9112 3.2), without a fragment; an absolute one without user and with a host
    host      one is h11's rule; its value is checked also where an absolute target overrides it (RFC 9112 3.2.2)

May import: head, h11.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

import h11

from app.front.head import is_crowded

__all__ = ["Asked", "RefusedError", "decode_slug", "offered_id", "read_request", "refuse_crowd"]

# RFC 3986 3.2.2 without sub-delimiters, which no name in DNS has; a comma would be two hosts to a lax proxy.
_NAME = rb"(?:(?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{2})+|\[[0-9A-Fa-f:.]+\])"
_AUTHORITY = re.compile(_NAME + rb"(?::[0-9]{0,5})?", re.ASCII).fullmatch
_WITH_PORT = re.compile(_NAME + rb":[0-9]{1,5}", re.ASCII).fullmatch
_HEAD_END = re.compile(rb"\n\r?\n").search  # as h11 finds it
_REQUEST_ID = re.compile(rb"\r\nX-Request-Id:[ \t]*([!-~]+)[ \t]*\r\n", re.IGNORECASE).search
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?]*)([^?]*)(\?.*)?", re.ASCII).fullmatch


class RefusedError(Exception):
    """A request that cannot be answered: `status` is what is answered instead, before the connection ends."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status)
        self.status = status


class Asked(NamedTuple):
    """What is asked for.

    Attributes:
        target: path and query (origin-form), or `*`, or the authority of a CONNECT.
        host: as the target or else the Host header says; b"" only in HTTP/1.0.
        body_bytes: what Content-Length declares; None when the length is not known before.
    """

    target: bytes
    host: bytes
    body_bytes: int | None


def refuse_crowd(head: bytes, seen: int) -> None:
    """Refuses a head of too many fields, which ends behind its first `seen` bytes: h11 would take long to read it."""
    end = _HEAD_END(head, max(0, seen - 2))
    # What begins otherwise h11 refuses at its first byte, however it is cut.
    if end is not None and head[0] > 32 and is_crowded(head[: end.end()]):
        raise RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)


def read_request(request: h11.Request) -> Asked:
    """Applies the rules above. Raises RefusedError."""
    if not request.http_version.startswith(b"1."):
        raise RefusedError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    is_old = request.http_version == b"1.0"
    fields = dict(request.headers)  # of those looked at, h11 leaves one each
    length = fields.get(b"content-length")
    is_chunked = b"transfer-encoding" in fields
    if is_chunked and (is_old or length is not None):
        raise RefusedError(HTTPStatus.BAD_REQUEST)
    target, host = _read_target(request.method, request.target, fields.get(b"host", b""))
    if not host and not is_old:
        raise RefusedError(HTTPStatus.BAD_REQUEST)
    return Asked(target, host, None if is_chunked else int(length or 0))


def _read_target(method: bytes, target: bytes, host: bytes) -> tuple[bytes, bytes]:
    """(origin-form, asterisk or authority; host)."""
    if (host and not _AUTHORITY(host)) or b"#" in target:
        raise RefusedError(HTTPStatus.BAD_REQUEST)
    if method == b"CONNECT":
        if not _WITH_PORT(target):
            raise RefusedError(HTTPStatus.BAD_REQUEST)  # authority-form, with a port (RFC 9112 3.2.3)
        return target, host
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return target, host
    absolute = _ABSOLUTE(target)
    if absolute is None or not _AUTHORITY(absolute[1]):
        raise RefusedError(HTTPStatus.BAD_REQUEST)
    return (absolute[2] or b"/") + (absolute[3] or b""), absolute[1]


def offered_id(head: bytes) -> str | None:
    """The id that a client gave its request, from a head that may be no head."""
    match = _REQUEST_ID(head)
    return match[1].decode("ascii") if match else None


def decode_slug(path: bytes) -> bytes:
    """A raw path whose first segment is decoded; what is behind it stays raw, for links that forward it."""
    segment, slash, rest = path[1:].partition(b"/")
    slug = unquote_to_bytes(segment)
    return path if b"/" in slug else b"/" + slug + slash + rest
