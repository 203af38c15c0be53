"""The bytes that a slug is answered with.

In: what the table knows of a link, and the second of the day. Out: whole HTTP/1.1 answers.
An answer to a hit is joined from three parts: PREFIX + location + suffix; the suffix ends with the Date and is made
once a second, so that a request costs two concatenations. Everything else is rare and built when asked.
Nothing of a request enters an answer here; a location was checked when its link entered the table.
May import: the standard library.
"""

from __future__ import annotations

import json
from email.utils import formatdate
from http import HTTPStatus

__all__ = ["PAGE_STYLE", "PREFIX", "REDIRECT_CODES", "AnswerBook"]

#: RFC 9110 15.4: what a link may answer with; 302 is the default, because a 301 is cached for ever by browsers.
REDIRECT_CODES = (301, 302, 307, 308)
PREFIX = b"HTTP/1.1 302 Found\r\nLocation: "
_PREFIXES = {
    code: b"HTTP/1.1 %d %s\r\nLocation: " % (code, HTTPStatus(code).phrase.encode())
    for code in (*REDIRECT_CODES, HTTPStatus.SEE_OTHER)
}

#: How every page that visitors see looks, in the colours that they chose.
PAGE_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:24rem;margin:15vh auto;padding:0 1rem}"
)
_CACHE = b"\r\nCache-Control: private, no-store\r\nContent-Length: 0\r\n"
_TEXTS = {
    HTTPStatus.BAD_REQUEST: "This request could not be understood.",
    HTTPStatus.METHOD_NOT_ALLOWED: "A short link can be asked for by GET and HEAD only.",
    HTTPStatus.NOT_FOUND: "There is no such short link.",
    HTTPStatus.REQUEST_TIMEOUT: "The request did not arrive in time.",
    HTTPStatus.GONE: "This short link no longer leads anywhere.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The request's body is too large.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "The request's head is too large.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many short links that do not exist were asked for from this address.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Something failed here; it was logged.",
    HTTPStatus.SERVICE_UNAVAILABLE: "This short link cannot be looked up right now. Please try again shortly.",
}
#: A store's breaker probes again within a second, and one more for the answer; tokens for look-ups come every second.
RETRY_AFTER_S = {HTTPStatus.SERVICE_UNAVAILABLE: 2, HTTPStatus.TOO_MANY_REQUESTS: 1}


class AnswerBook:
    """Answers of one process; `refresh` once a second keeps their Date true (RFC 9110 6.6.1)."""

    def __init__(self, now_s: float) -> None:
        self.date = b""
        self.suffix = b""
        self.suffix_close = b""
        self._failures: dict[tuple[int, bytes, bool, bool], bytes] = {}
        self.refresh(now_s)

    def refresh(self, now_s: float) -> None:
        """Sets the Date of all answers from now on."""
        self.date = b"Date: " + formatdate(now_s, usegmt=True).encode("ascii") + b"\r\n"
        self.suffix = _CACHE + self.date + b"\r\n"
        self.suffix_close = _CACHE + self.date + b"Connection: close\r\n\r\n"
        self._failures.clear()

    def redirect(self, location: bytes, code: int, *, close: bool) -> bytes:
        """A redirect with any of REDIRECT_CODES, or 303; `location` is visible ASCII."""
        suffix = self.suffix_close if close else self.suffix
        return _PREFIXES[code] + location + suffix

    def failure(self, status: int, head: bytes, *, is_head: bool, close: bool) -> bytes:
        """An answer without a target, with a short body of the kind that the request's head asks for."""
        key = (status, _kind(head), is_head, close)
        answer = self._failures.get(key)
        if answer is None:  # at most statuses x kinds x 4 a second
            answer = self._failures[key] = _failure(HTTPStatus(status), key[1], self.date, is_head, close)
        return answer

    def refusal(self, status: int, head: bytes, request_id: str, *, is_head: bool) -> bytes:
        """The answer to a request that is not taken, which ends its connection; told to the API's clients as JSON."""
        kind = _JSON if b" /api/" in head[:20] else _kind(head)
        return _failure(HTTPStatus(status), kind, self.date, is_head, True, request_id)


_JSON, _HTML, _TEXT = b"application/problem+json", b"text/html; charset=utf-8", b"text/plain; charset=utf-8"


def _kind(head: bytes) -> bytes:
    """The Content-Type that suits a head's Accept: JSON for clients that name it, a page for browsers, else text."""
    low = head.lower()
    at = low.find(b"\naccept:")
    accept = low[at + 8 : low.find(b"\n", at + 8)] if at >= 0 else b""
    if b"json" in accept:
        return _JSON
    return _HTML if b"text/html" in accept else _TEXT


def _failure(
    status: HTTPStatus, kind: bytes, date: bytes, is_head: bool, close: bool, request_id: str | None = None
) -> bytes:
    body = _body(status, kind, request_id)
    lines = [
        b"HTTP/1.1 %d %s" % (status, status.phrase.encode()),
        b"Content-Type: " + kind,
        b"Content-Length: %d" % len(body),
        b"Cache-Control: private, no-store",
        b"X-Content-Type-Options: nosniff",
    ]
    if status in RETRY_AFTER_S:
        lines.append(b"Retry-After: %d" % RETRY_AFTER_S[status])
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append(b"Allow: GET, HEAD")
    if request_id is not None:
        lines.append(b"X-Request-Id: " + request_id.encode())
    if close:
        lines.append(b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n" + date + b"\r\n" + (b"" if is_head else body)


def _body(status: HTTPStatus, kind: bytes, request_id: str | None) -> bytes:
    text = _TEXTS.get(status, status.phrase)
    if kind == _JSON:
        problem = {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": text}
        return json.dumps(problem | ({} if request_id is None else {"request_id": request_id})).encode()
    if kind == _HTML:
        return (
            '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="robots" content="noindex">'
            f'<meta name="viewport" content="width=device-width"><style>{PAGE_STYLE}</style>'
            f"<title>{status.phrase}</title><h1>{status.phrase}</h1><p>{text}</p></html>\n"
        ).encode()
    return f"{int(status)} {status.phrase}: {text}\n".encode()
