"""httpx with one TLS context for all: else each client reads the certificates of the world, 17 ms, to ask 127.0.0.1."""

from __future__ import annotations

import ssl
from functools import partial

import httpx

__all__ = ["AsyncClient", "Client", "HTTPTransport", "get", "patch", "post"]

_TLS = ssl.create_default_context()
AsyncClient = partial(httpx.AsyncClient, verify=_TLS)
Client = partial(httpx.Client, verify=_TLS)
HTTPTransport = partial(httpx.HTTPTransport, verify=_TLS)
get = partial(httpx.get, verify=_TLS)
patch = partial(httpx.patch, verify=_TLS)
post = partial(httpx.post, verify=_TLS)
