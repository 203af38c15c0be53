"""Header fields of requests and answers: what each means. Names that an `Answer` declares stand here.

Pure. May import: nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["COOKIE", "HEADERS", "IDEMPOTENCY_KEY", "IF_MATCH", "IF_NONE_MATCH", "REQUEST_ID", "header", "header_ref"]

Json = dict[str, Any]
COOKIE = "boltlink"  # the name of the cookie of a session


@dataclass(frozen=True, slots=True)
class HeaderField:
    """What readers are told of a field."""

    says: str
    schema: Json
    example: Any


_TEXT = {"type": "string"}
_SECONDS = {"type": "integer", "minimum": 0}

HEADERS = {
    "Content-Disposition": HeaderField("The name of the file.", _TEXT, 'attachment; filename="http-series.csv"'),
    "ETag": HeaderField("The version of what is shown: for `If-None-Match` and `If-Match`.", _TEXT, '"1764111600000"'),
    "Location": HeaderField(
        "Where the new thing is; of a redirect, where it leads.",
        {**_TEXT, "format": "uri-reference"},
        "/api/v1/links/http",
    ),
    "RateLimit": HeaderField(
        "What is left of each (`r`), and when it is all back (`t`, seconds).",
        _TEXT,
        '"write";r=24999;t=1, "key";r=49999;t=1',
    ),
    "RateLimit-Policy": HeaderField(
        "How much a key may do of a class and at all, or an address without one (`q`), in how many seconds (`w`).",
        _TEXT,
        '"write";q=25000;w=10, "key";q=50000;w=10',
    ),
    "Retry-After": HeaderField("When to come again, in seconds.", _SECONDS, 2),
    "Set-Cookie": HeaderField("The session, for this API alone.", _TEXT, "boltlink=…; HttpOnly; Path=/api/v1"),
    "WWW-Authenticate": HeaderField("How to say who is calling (RFC 6750).", _TEXT, 'Bearer realm="boltlink"'),
    "X-Request-Id": HeaderField(
        "The id of this request in the log; yours, if you sent one of at most 128 of `A-Za-z0-9._:+/=-`.",
        {**_TEXT, "pattern": "^[A-Za-z0-9._:+/=-]{1,128}$"},
        "5f2c9a0b7d31e846",
    ),
}


def header(name: str) -> Json:
    """A field of answers, as the document describes it."""
    told = HEADERS[name]
    return {"description": told.says, "schema": told.schema, "example": told.example}


def header_ref(name: str) -> Json:
    """The description of a field of answers, by reference."""
    return {"$ref": f"#/components/headers/{name}"}


def _header_parameter(name: str, says: str, example: str, **schema: Any) -> Json:
    found = {"name": name, "in": "header", "required": False, "description": says}
    return found | {"schema": {"type": "string", **schema}, "example": example}


IF_MATCH = _header_parameter(
    "If-Match",
    "Only if it is at this version: an `ETag`, or `*`.",
    "*",
    pattern='^(?:[*]|(?:W/)?"[0-9]{1,18}")$',
)
IF_NONE_MATCH = _header_parameter("If-None-Match", "304 if it is still this: an `ETag`.", '"1764111600000"')
IDEMPOTENCY_KEY = _header_parameter(
    "Idempotency-Key",
    "The same when a request is sent again within a day: it is done once, and its answer given again.",
    "order-4711",
    pattern="^[!-~]{1,255}$",
)
REQUEST_ID = _header_parameter(
    "X-Request-Id", "Your own id for this request, which answer and log then carry; see there.", "order-4711"
)
