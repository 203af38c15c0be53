"""Asks another machine over HTTP, within limits of time and size.

In: a URL that the operator named, or that what they named names. Out: a status and a body, or `FetchError`.

    https      with the system's certificates (OpenSSL's `SSL_CERT_FILE` names others); nothing else by default
    http       to this machine alone, and only where a setting says so: what is sent may be a secret
    redirects  are not followed: an answer speaks for the URL that was asked
    proxies    are not asked

Private networks may be reached: who is asked is chosen by the operator, never by a caller of the API, and a company's
identity provider often has no public address. What callers name, such as targets, must not be fetched here.
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

__all__ = ["FetchError", "Fetched", "Fetcher"]

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


class Fetched(NamedTuple):
    """An answer, of whatever status."""

    status: int
    body: bytes


class Fetcher:
    """Asks for one program. `allows_http` is for this machine alone; `answer_s` are seconds for a whole answer."""

    def __init__(self, *, allows_http: bool, answer_s: float = ANSWER_S) -> None:
        self._allows_http = allows_http
        self._answer_s = answer_s
        self._client = SimpleAsyncHTTPClient(
            force_instance=True,
            max_clients=AT_ONCE_MAX,
            max_body_size=BODY_BYTES_MAX,
            max_header_size=HEAD_BYTES_MAX,
        )

    def check(self, url: str) -> str:
        """The URL, if it may be asked; raises FetchError."""
        try:
            parts = urlsplit(url)
            is_whole = bool(parts.hostname) and not parts.fragment and parts.username is None and url.isascii()
            _ = parts.port
        except ValueError:
            is_whole = False
        if not is_whole or not url.isprintable() or " " in url:
            raise FetchError(url, "is no URL that can be asked")
        if parts.scheme != "https" and not (self._allows_http and _is_here(parts)):
            raise FetchError(url, "must be https")
        return url

    async def fetch(
        self, url: str, *, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Fetched:
        """GETs a URL, or POSTs a form to it; raises FetchError."""
        method = "GET" if form is None else "POST"
        try:
            with fetching(method) as span:
                answer = await self._client.fetch(
                    self.check(url),
                    raise_error=False,
                    method=method,
                    headers={"Accept": "application/json", **span.fields, **(headers or {})},
                    body=None if form is None else urlencode(form),
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


def _is_here(parts: SplitResult) -> bool:
    """Whether a URL leads to this machine in plain HTTP."""
    host = parts.hostname or ""
    try:
        return parts.scheme == "http" and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return parts.scheme == "http" and host == "localhost"
