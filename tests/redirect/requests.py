"""Requests and links for the tests of decisions."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from app.links import CachedLink
from app.redirect import Request, Visitor, Visitors

__all__ = ["CHROME", "GOOGLEBOT", "IPHONE", "NOW_S", "PROXY", "link", "pack", "request", "visitor", "visitors"]

NOW_S = 1_700_000_000.0  # 2023-11-14, a Tuesday, 22:13:20 UTC
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
)
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.5 Mobile/15E148 Safari/604.1"
)
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
PROXY = "10.0.0.1"

#: Addresses below 203.0.113.128 are German, those above Swiss.
visitors = Visitors(
    trusted=[ip_network("10.0.0.0/8")],
    country=lambda text, claimed: (
        claimed.decode()
        or ("" if not text.startswith("203.") else "DE" if int(text.rpartition(".")[2]) < 128 else "CH")
    ),
    country_header="CF-IPCountry",
)


visitors.load()


def pack(text: str) -> bytes:
    """An address as a connection keeps it."""
    address = ip_address(text)
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


def visitor(
    agent: str = CHROME, *, language: str = "", address: str = "203.0.113.7", peer: bytes | None = None, more: str = ""
) -> Visitor:
    """Who asks, as a head would tell."""
    head = f"GET /abc HTTP/1.1\r\nHost: h\r\nUser-Agent: {agent}\r\n"
    head += f"Accept-Language: {language}\r\n" if language else ""
    return Visitor(visitors, f"{head}{more}\r\n".encode("latin-1"), pack(address) if peer is None else peer)


def request(query: bytes = b"", **fields: Any) -> Request:
    """A request by a person on a desktop, unless `visitor` says otherwise."""
    return Request(**{"key": b"abc", "query": query, "visitor": visitor(), **fields})


def link(**fields: Any) -> CachedLink:
    """An active link with a query and a fragment in its target."""
    return CachedLink(**{"link": 7, "state": "active", "target": "https://a/?x=1#f", **fields})
