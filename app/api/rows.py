"""Many rows in one body, read and answered in turns: a body of 8 MB would hold up redirects for 50 ms.

In: a body `{"links": [...]}`. Out: its rows, each as JSON decodes; and `{"results": [...]}` of what became of each.
May import: problems, turns.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from app.api.problems import FieldError, decode_object, wrong_fields
from app.turns import Turn

__all__ = ["ROWS_MAX", "read_rows", "write_results"]

ROWS_MAX = 1_000
ROW_BYTES_MAX = 1024 * 1024  # as a body of one link; what can be used is below 0.1 MB

_encode = msgspec.json.Encoder().encode


class _Body(msgspec.Struct):
    """A body whose rows are only told apart: a tenth of what reading them takes."""

    links: list[msgspec.Raw]


_tell_apart = msgspec.json.Decoder(_Body).decode
_decode = msgspec.json.Decoder().decode


async def read_rows(body: bytes) -> list[Any]:
    """The rows of a body; raises Problem."""
    parts = _parts(body)
    rows: list[Any] = []
    turn = Turn()
    for n, part in enumerate(parts):
        if len(memoryview(part)) > ROW_BYTES_MAX:
            raise wrong_fields([FieldError(f"links[{n}]", f"must not be longer than {ROW_BYTES_MAX} bytes")])
        try:
            rows.append(_decode(part))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            decode_object(body)  # says where in the body
            raise
        if turn.is_over:
            await turn.end()
    return rows


def _parts(body: bytes) -> list[msgspec.Raw]:
    try:
        parts = _tell_apart(body).links
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        decode_object(body)
        parts = []
    if not 0 < len(parts) <= ROWS_MAX:
        raise wrong_fields([FieldError("links", f"must be an array of 1 to {ROWS_MAX} links")])
    return parts


async def write_results(results: Iterable[msgspec.Struct]) -> bytes:
    """The body of an answer."""
    parts: list[bytes] = []
    turn = Turn()
    for result in results:
        parts.append(_encode(result))
        if turn.is_over:
            await turn.end()
    return b'{"results":[' + b",".join(parts) + b"]}\n"
