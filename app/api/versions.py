"""Versions of what is changed, as `ETag` shows and `If-Match` asks for them. Pure. May import: problems."""

from __future__ import annotations

import re
from http import HTTPStatus

from app.api.problems import Problem

__all__ = ["INT64_MAX", "wanted_version"]

INT64_MAX = 2**63 - 1  # MongoDB's widest whole number
_ETAG = re.compile(r'(?:W/)?"(\d{1,19})"')


def wanted_version(if_match: str | None) -> int | None:
    """The version that a change is for; None: any. Raises Problem."""
    text = "*" if if_match is None else if_match.strip()
    if text == "*":
        return None
    match = _ETAG.fullmatch(text)
    if match is None or int(match[1]) > INT64_MAX:
        raise Problem(HTTPStatus.BAD_REQUEST, 'If-Match must be "*" or one ETag such as "1700000000000".')
    return int(match[1])
