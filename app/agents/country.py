"""The country of an address: from a local MMDB file, or from what a CDN says.

In: an address, and the value of a CDN's header where a trusted proxy wrote it. Out: two capital letters, or "" when
nobody knows. The CDN wins: it saw the visitor's own connection.

The file (MaxMind, DB-IP, IPinfo …) is read where it lies, through a map, and opened again when another takes its place;
replace it by renaming, as updaters do, never by writing into it. A file that is missing or damaged costs a warning and
countries, nothing else: redirects and counts must not depend on a file that somebody downloads every week.
May import: maxminddb.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import maxminddb

from app.agents.memory import Memory

__all__ = ["CountryFinder"]

KNOWN_MAX = 32_768  # addresses in each generation: together 10 MB at most
_CODE = re.compile(rb"[A-Za-z]{2}")
_NOBODY = frozenset({b"XX", b"ZZ"})  # what CDNs write when they do not know


class CountryFinder:
    """Finds countries, and remembers what it found.

    Args:
        path: the MMDB file; None: only what a CDN says is known.
        warn: called with one line when the file cannot be used.
    """

    def __init__(self, path: Path | None, warn: Callable[[str], None]) -> None:
        self._path = path
        self._warn = warn
        self._reader: maxminddb.Reader | None = None
        self._opened: tuple[int, int, int] | None = None
        self._known: Memory[str, str] = Memory(KNOWN_MAX)
        self.refresh()

    @property
    def is_known(self) -> bool:
        """Whether there is a file to look into."""
        return self._reader is not None

    def find(self, address: str, claimed: bytes = b"") -> str:
        """The country of an address.

        Args:
            address: as text; anything else than an address has no country.
            claimed: the value of the CDN's header, only if the peer is a trusted proxy.
        """
        if claimed and _CODE.fullmatch(claimed) and (code := claimed.upper()) not in _NOBODY:
            return code.decode("ascii")
        if self._reader is None:
            return ""
        known = self._known.get(address)
        if known is None:
            known = _look_up(self._reader, address)
            self._known.put(address, known)
        return known

    def refresh(self) -> None:
        """Opens the file again if it is another one than before; keeps the old one while the new one is damaged."""
        if self._path is None:
            return
        try:
            status = self._path.stat()
            found = (status.st_dev, status.st_ino, status.st_mtime_ns)
            if found == self._opened:
                return
            self._opened = found  # a damaged file is warned of once
            reader = maxminddb.open_database(self._path)
            reader.get("::1" if reader.metadata().ip_version == 6 else "127.0.0.1")  # a cut file fails here
        except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
            if self._reader is None or not isinstance(error, FileNotFoundError):
                self._warn(f"no countries from BOLTLINK_GEOIP_DB {self._path}: {error}")
            return
        self._reader = reader  # the one before is closed when the last look-up lets go of it
        self._known.clear()


def _look_up(reader: maxminddb.Reader, address: str) -> str:
    try:
        row = reader.get(address)
    except (ValueError, maxminddb.InvalidDatabaseError):
        return ""  # no address, IPv6 in a file of IPv4, or a damaged row
    return _code_in(row) if isinstance(row, Mapping) else ""


def _code_in(row: Mapping[str, object]) -> str:
    """MaxMind and DB-IP: country.iso_code; IPinfo: country_code or country. Where nobody lives: the registrant's."""
    for name in ("country", "country_code", "registered_country"):
        value = row.get(name)
        code = value.get("iso_code") if isinstance(value, Mapping) else value
        if isinstance(code, str) and _CODE.fullmatch(code.encode("utf-8")):
            return code.upper()
    return ""
