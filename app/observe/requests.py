"""Ids of requests: each answer carries one in REQUEST_ID_FIELD, and so does every log line that is written for it.

In: what a client sent in that field. Out: its own id where that is harmless, else a new one. `bind_request` lasts for
the task that calls it and those that it starts. Pure but for that. May import: structlog.
"""

from __future__ import annotations

import re
import secrets

import structlog

__all__ = ["REQUEST_ID_FIELD", "bind_request", "request_id_of"]

REQUEST_ID_FIELD = "X-Request-Id"
#: UUIDs, hex, base64, and what load balancers make (`Root=1-67891233-abcdef`); nothing that ends a field or a line.
_HARMLESS = re.compile(r"[A-Za-z0-9._:+/=-]{1,128}").fullmatch


def request_id_of(offered: str | None) -> str:
    """The id of a request: the client's own, if it is harmless."""
    return offered if offered is not None and _HARMLESS(offered) else secrets.token_hex(8)


def bind_request(request_id: str) -> None:
    """Puts the id into all log lines that are written from here on for this request."""
    structlog.contextvars.bind_contextvars(request_id=request_id)
