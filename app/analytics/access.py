"""The access log: a sample of redirects, one line each.

In: chunks of records that were folded, within the aggregator, so that redirects pay nothing. Out: lines of the form
that every log has, in `<state>/log/access.log`. They are written when their batch is applied: one that is read again is
not told twice, and kill -9 between the two leaves its lines out.

Whether a redirect is taken hangs on its position in its journal alone, whoever reads it and how often. No address is
written but where `has_addresses` says so, and of a path nothing behind its `?`.
May import: journal, agents, feed, observe.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from app.agents import address_text
from app.analytics.fold import slug_in
from app.feed import Seen
from app.journal import NO_LINK, REDIRECT_GET, RawRecord
from app.observe import RotatedLog

__all__ = ["AccessLog", "Taken"]

LINES_MAX = 5_000  # of one batch: 4 MB of them, 60 ms; what is more is counted
_HOST = re.compile(rb"\r\n[Hh][Oo][Ss][Tt]:[ \t]*([!-~]{1,255})")
_WHERE_KNOWN = ("country", "device", "browser", "os", "referrer", "variant")


@dataclass(slots=True)
class Taken:
    """Lines of a batch; `left_out` counts what was too much."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    left_out: int = 0


class AccessLog:
    """The share of redirects that one aggregator writes down.

    Args:
        file: where to.
        describe: what is known of a record and the client's address; None when it is nobody's business.
        share: above 0, at most 1.
        program: the aggregator's name.
    """

    def __init__(
        self,
        file: RotatedLog,
        describe: Callable[[RawRecord], tuple[Seen, bytes] | None],
        *,
        share: float,
        has_addresses: bool,
        program: str,
    ) -> None:
        self._file = file
        self._describe = describe
        self._below = round(share * 2**32)
        self._has_addresses = has_addresses
        self._program = program

    def take(self, records: Sequence[RawRecord], end: int, into: Taken) -> None:
        """Adds the lines of the first `end` records."""
        for record in islice(records, end):
            if record[4] != REDIRECT_GET or record[2] == NO_LINK or draw(record[0]) >= self._below:
                continue
            if len(into.lines) >= LINES_MAX:
                into.left_out += 1
            elif (found := self._describe(record)) is not None:
                into.lines.append(self._line(record, *found))

    def write(self, taken: Taken) -> None:
        """Writes what was taken of a batch that is applied now."""
        if taken.left_out:
            self._file.note_dropped(taken.left_out)
        self._file.write(taken.lines)

    def _line(self, record: RawRecord, seen: Seen, address: bytes) -> dict[str, Any]:
        at = datetime.fromtimestamp(record[1] / 1000, UTC).isoformat(timespec="milliseconds")
        host = _HOST.search(record[6])
        line: dict[str, Any] = {
            "time": at.replace("+00:00", "Z"),
            "level": "info",
            "program": self._program,
            "event": "redirect",
            "link": f"{seen.link:016x}",
            "host": host[1].decode("ascii") if host else "",
            "slug": slug_in(record[6]),
            "kind": seen.kind,
        }
        line |= {name: value for name in _WHERE_KNOWN if (value := getattr(seen, name))}
        if self._has_addresses:
            line["address"] = address_text(address)
        return line


def draw(position: int) -> int:
    """A number below 2**32, the same for the same position of a journal and spread evenly over many."""
    return zlib.crc32(position.to_bytes(8, "little"))
