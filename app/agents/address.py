"""The client's address behind proxies: the right-most one that no trusted proxy vouches for.

In: the peer and the forwarding headers. Out: an address, and the protocol it came by. Headers count only as far as
trusted proxies wrote them: from the right, each hop must itself be trusted. A unix socket's peer (all zeros) is this
node's own proxy. `X-Forwarded-For` wins over `Forwarded` (RFC 7239), as proxies that write both write the former.
May import: the standard library.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence

__all__ = ["client_address"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

HOPS_MAX = 32
_FOR = re.compile(r'(?:^|[;,])\s*for="?(\[[^\]]*\]|[^";,\s]*)', re.IGNORECASE)


def client_address(peer: bytes, headers: Iterable[tuple[bytes, bytes]], trusted: Sequence[Network]) -> tuple[str, str]:
    """(address, protocol) of the client.

    Args:
        peer: 16 bytes, IPv4 as ::ffff:a.b.c.d, zeros for a unix socket.
        headers: raw names and values.
        trusted: networks of proxies.
    """
    address: Address | None = _plain(ipaddress.IPv6Address(peer)) if any(peer) else None
    if address is not None and not _is_trusted(address, trusted):
        return str(address), "http"
    forwarded, forwarded_for, protocol = [], [], "http"
    for name, value in headers:
        low = name.lower()
        text = value.decode("latin-1")
        if low == b"x-forwarded-for":
            forwarded_for += text.split(",")
        elif low == b"forwarded":
            forwarded += _FOR.findall(text)
        elif low == b"x-forwarded-proto" and text.strip().lower() == "https":
            protocol = "https"
    for hop in reversed((forwarded_for or forwarded)[-HOPS_MAX:]):
        found = _parse(hop)
        if found is None:
            break  # unknown or obfuscated: nothing further left can be believed
        address = found
        if not _is_trusted(found, trusted):
            break
    return ("" if address is None else str(address)), protocol


def _is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)


def _plain(address: Address) -> Address:
    """An IPv4 address that was mapped into IPv6, as itself."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _parse(hop: str) -> Address | None:
    """An address as proxies write it: bare, or with a port, IPv6 perhaps in brackets."""
    text = hop.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return _plain(ipaddress.ip_address(text))
    except ValueError:
        return None
