"""Links that ask for a password: the form, who may try, and whether a try is right.

In: a GET (the page), or a POST of the form to the same short URL. Out: the page's bytes; a `PasswordWord` for a try.
What a password protects is a redirect and nothing else: there is no session, no cookie, and nothing of a request is in
the page. A right one is answered with 303 and `no-store`.

    tries       TRIES for each link and client address (a /64 of IPv6), SITE_TRIES for each link and /48 of IPv6, which
                anybody may have; through Redis, or by this process without it. A right password gives its try back.
                A try is taken before bcrypt runs, so many at once don't pass
    cross-site  a form that another site made the browser send is refused: it could use visitors to guess
    bcrypt      runs in few threads; when too many wait, 503

May import: links, limits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from urllib.parse import parse_qsl

from app.agents import network_of
from app.limits import Bucket, Limiter, Rate
from app.links import HasherBusyError, PasswordHasher
from app.redirect.answer import PAGE_STYLE
from app.redirect.rules import PasswordWord, Request

__all__ = ["FORM_BYTES_MAX", "PasswordDesk", "is_cross_site", "password_page", "read_password"]

FORM_BYTES_MAX = 4 * 1024
TRIES = Rate(burst=10, every_s=60.0)  # 1,450 a day at most: four digits hold a week on average against one address
SITE_TRIES = Rate(burst=100, every_s=60.0)  # a /48 has 65,536 clients: all passwords of four digits at once
SITE_BITS = 48
FIELD = "password"

_FETCH_SITE = re.compile(rb"\r\nsec-fetch-site:[ \t]*([a-z-]*)", re.IGNORECASE)
_ORIGIN = re.compile(rb"\r\norigin:[ \t]*(?:https?://)?([^\r\n/]*)", re.IGNORECASE)
_HOST = re.compile(rb"\r\nhost:[ \t]*([^\r\n]*)", re.IGNORECASE)

_HEAD = b"HTTP/1.1 %d %s\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n"
# No form-action: browsers hold the redirect behind a form against it (CSP 3, 6.4.1), and that leads to the target.
# Referrer-Policy: with no-referrer a browser would send `Origin: null` with the form.
_FIELDS = (
    b"Cache-Control: private, no-store\r\n"
    b"Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
    b"frame-ancestors 'none'\r\n"
    b"Referrer-Policy: same-origin\r\nX-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n"
    b"X-Robots-Tag: noindex\r\n"
)
_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="robots" content="noindex">'
    '<meta name="viewport" content="width=device-width"><title>Password needed</title>'
    "<style>{style}label,input,button{{display:block;width:100%;box-sizing:border-box;font:inherit}}"
    "input,button{{padding:.5rem;margin:.25rem 0 1rem}}</style>"
    "<h1>Password needed</h1>{note}"
    '<form method="post"><label for="password">This short link asks for a password.</label>'
    '<input id="password" name="password" type="password" required autofocus autocomplete="off" maxlength="72">'
    "<button>Continue</button></form></html>\n"
)
_NOTES = {
    HTTPStatus.OK: "",
    HTTPStatus.BAD_REQUEST: '<p role="alert">Another site sent this form. Please type the password here.</p>',
    HTTPStatus.FORBIDDEN: '<p role="alert">This password is not right.</p>',
    HTTPStatus.TOO_MANY_REQUESTS: '<p role="alert">Those were too many tries. Please try again later.</p>',
}
_BODIES = {status: _PAGE.format(note=note, style=PAGE_STYLE).encode() for status, note in _NOTES.items()}


class PasswordDesk:
    """Judges tries. `limiter` and `hasher` are shared with the rest of the process."""

    def __init__(self, limiter: Limiter, hasher: PasswordHasher) -> None:
        self._limiter = limiter
        self._hasher = hasher

    async def judge(self, link_id: bytes, hashed: bytes, request: Request) -> tuple[PasswordWord, float]:
        """A word on the form of a request, and the seconds to wait when it is LIMITED."""
        password = read_password(request.form or b"")
        buckets = list(_buckets(link_id, request.visitor.address))
        for bucket in buckets:
            grant = await self._limiter.take(bucket)
            if not grant.taken:
                return PasswordWord.LIMITED, grant.wait_s
        try:
            is_right = await self._hasher.is_right(password, hashed)
        except HasherBusyError:
            await self._give_back(buckets)
            return PasswordWord.BUSY, 0.0
        if not is_right:
            return PasswordWord.WRONG, 0.0
        await self._give_back(buckets)
        return PasswordWord.RIGHT, 0.0

    async def _give_back(self, buckets: list[Bucket]) -> None:
        for bucket in buckets:
            await self._limiter.give_back(bucket)


def _buckets(link_id: bytes, address: str) -> Iterator[Bucket]:
    """What a try is taken from."""
    yield Bucket(f"pw:{link_id.hex()}:{network_of(address)}", TRIES)
    if ":" in address:
        yield Bucket(f"pw:{link_id.hex()}:{network_of(address, SITE_BITS)}", SITE_TRIES)


def password_page(status: int, date: bytes, *, wait_s: float, is_head: bool, close: bool) -> bytes:
    """The page with the form, for a status of PAGE_STATUSES; `date` is the whole header line."""
    body = _BODIES[HTTPStatus(status)]
    head = _HEAD % (status, HTTPStatus(status).phrase.encode(), len(body)) + _FIELDS
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        head += b"Retry-After: %d\r\n" % (int(wait_s) + 1)
    if close:
        head += b"Connection: close\r\n"
    return head + date + b"\r\n" + (b"" if is_head else body)


def read_password(form: bytes) -> str:
    """The password of a form; "" when it has none, which is never right."""
    if len(form) > FORM_BYTES_MAX:
        return ""
    try:
        fields = parse_qsl(form.decode("ascii"), keep_blank_values=True, max_num_fields=16, errors="strict")
    except ValueError:
        return ""
    return dict(fields).get(FIELD, "")


def is_cross_site(head: bytes) -> bool:
    """Whether a browser says that another site made it send this."""
    site = _FETCH_SITE.search(head)
    if site is not None:
        return site[1].lower() not in (b"same-origin", b"none")
    origin, host = _ORIGIN.search(head), _HOST.search(head)
    if origin is None or host is None:
        return False  # no browser of the last years
    return _name(origin[1]) != _name(host[1])


def _name(authority: bytes) -> bytes:
    """The host alone: a proxy may have changed the port."""
    name = authority.strip().lower()
    return name[: name.find(b"]") + 1] if name.startswith(b"[") else name.partition(b":")[0]
