"""Which pages of other origins may call the API, and how a browser is told (CORS).

In: the `Origin` of a request and the allowed ones. Out: the fields of an answer. An API key is asked for in
`Authorization`, never in a cookie, so credentials in the sense of CORS are never allowed, with `*` or without.
Pure. May import: nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

__all__ = ["allowed_origin", "cors_fields", "preflight_fields"]

_EXPOSED = "ETag, Location, Content-Disposition, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id"
_REQUEST_FIELDS = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Request-Id"
_AGE_S = 600


def allowed_origin(origin: str | None, allowed: Collection[str]) -> str | None:
    """What `Access-Control-Allow-Origin` says to a request from `origin`; None when it may not call."""
    if origin is None:
        return None
    if "*" in allowed:
        return "*"
    return origin if origin.lower() in allowed else None


def cors_fields(origin: str | None, allowed: Collection[str]) -> Iterable[tuple[str, str]]:
    """Fields of every answer of the API; without allowed origins, none."""
    if not allowed:
        return
    if "*" not in allowed:
        yield "Vary", "Origin"
    found = allowed_origin(origin, allowed)
    if found is not None:
        yield "Access-Control-Allow-Origin", found
        yield "Access-Control-Expose-Headers", _EXPOSED


def preflight_fields(methods: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Further fields of the answer to a preflight for a resource that has these methods."""
    yield "Access-Control-Allow-Methods", ", ".join(methods)
    yield "Access-Control-Allow-Headers", _REQUEST_FIELDS
    yield "Access-Control-Max-Age", str(_AGE_S)
