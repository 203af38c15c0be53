"""Asks another machine over HTTP, within limits of time and size.

In: a URL. Out: a status and a body, or `FetchError`.

    https      with the system's certificates (OpenSSL's `SSL_CERT_FILE` names others); nothing else by default
    http       only where a setting says so, as what is sent may be a secret; without a guard to this machine alone
    redirects  are not followed: an answer speaks for the URL that was asked
    proxies    are not asked

Who named the URL decides how strict this is. The operator, or what they named names: private networks may be reached,
as a company's identity provider often has no public address. A caller of the API: with a `Guard`, which lets nobody
reach what only this machine can; then nothing of our own traces is told either.
May import: observe, Tornado.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, urlencode, urlsplit

from tornado.httpclient import HTTPError
from tornado.iostream import UnsatisfiableReadError
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from app.observe import fetching
from app.outbound.guard import Guard

__all__ = [
    "AGENT",
    "CONNECT_S",
    "HEAD_BYTES_MAX",
    "EndlessUrlError",
    "FetchError",
    "Fetched",
    "Fetcher",
    "RefusedUrlError",
    "UnaskedError",
    "is_askable",
]

CONNECT_S = 3.0  # TCP and TLS
ANSWER_S = 6.0  # all of it; a browser waits meanwhile
BODY_BYTES_MAX = 256 * 1024  # a hundred keys are 40 KB, a token with many groups 30
HEAD_BYTES_MAX = 32 * 1024
AT_ONCE_MAX = 10  # further ones wait, within the same time
AGENT = "BoltLink"


class FetchError(Exception):
    """There is no answer: `url` without its query, and why."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url.partition('?')[0]}: {reason}")
        self.url = url
        self.reason = reason


class RefusedUrlError(FetchError):
    """The URL is none that may be asked, now or later."""


class EndlessUrlError(FetchError):
    """The URL leads on and on: perhaps to who brings cookies along."""


class UnaskedError(FetchError):
    """The URL could not be asked, for what lies on this side of it: that says nothing of whoever should answer."""


class Fetched(NamedTuple):
    """An answer, of whatever status."""

    status: int
    body: bytes


class Fetcher:
    """Asks for one program.

    Args:
        allows_http: see above.
        answer_s: for a whole answer.
        guard: for URLs that the operator did not name.
    """

    def __init__(
        self,
        *,
        allows_http: bool,
        answer_s: float = ANSWER_S,
        guard: Guard | None = None,
        at_once_max: int = AT_ONCE_MAX,
        body_bytes_max: int = BODY_BYTES_MAX,
    ) -> None:
        self._allows_http = allows_http
        self._answer_s = answer_s
        self._guard = guard
        self._client = SimpleAsyncHTTPClient(
            force_instance=True,
            max_clients=at_once_max,
            max_body_size=body_bytes_max,
            max_header_size=HEAD_BYTES_MAX,
            resolver=guard,
        )

    def check(self, url: str) -> str:
        """The URL, if it may be asked; raises FetchError."""
        if not is_askable(url):
            raise RefusedUrlError(url, "is no URL that can be asked")
        parts = urlsplit(url)
        if not self._is_safe(parts):
            raise RefusedUrlError(url, "must be https")
        if self._guard is not None and not self._guard.allows_host(parts.hostname or ""):
            raise RefusedUrlError(url, "must lead to a public address")
        return url

    async def fetch(
        self, url: str, *, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Fetched:
        """GETs a URL, or POSTs a form to it; raises FetchError."""
        method = "GET" if form is None else "POST"
        body = None if form is None else urlencode(form).encode()
        return await self._ask(method, url, body, {"Accept": "application/json", **(headers or {})})

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Fetched:
        """POSTs a body; raises FetchError."""
        return await self._ask("POST", url, body, headers)

    async def _ask(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Fetched:
        try:
            with fetching(method) as span:
                told = span.fields if self._guard is None else {}
                answer = await self._client.fetch(
                    self.check(url),
                    raise_error=False,
                    method=method,
                    headers={**told, **headers},
                    body=body,
                    connect_timeout=CONNECT_S,
                    request_timeout=self._answer_s,
                    follow_redirects=False,
                    decompress_response=False,
                    user_agent=AGENT,
                )
                span.set("http.response.status_code", answer.code)
        except (HTTPError, UnsatisfiableReadError, OSError, ValueError) as error:
            raise FetchError(url, str(error) or type(error).__name__) from error
        return Fetched(answer.code, answer.body or b"")

    def _is_safe(self, parts: SplitResult) -> bool:
        is_plain = parts.scheme == "http" and self._allows_http
        return parts.scheme == "https" or (is_plain and (self._guard is not None or _is_here(parts)))


def is_askable(url: str) -> bool:
    """Whether a URL is whole and names no user, and can be sent as it stands."""
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname) and not parts.fragment and parts.username is None
        _ = parts.port
    except ValueError:
        return False
    return is_whole and url.isascii() and url.isprintable() and " " not in url


def _is_here(parts: SplitResult) -> bool:
    """Whether a URL leads to this machine."""
    host = parts.hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
