"""The client's address behind proxies: the right-most one that no trusted proxy vouches for.

In: the peer and the forwarding headers. Out: an address, and the protocol it came by. Headers count only as far as
trusted proxies wrote them: from the right, each hop must itself be trusted. A unix socket's peer (all zeros) is this
node's own proxy. `X-Forwarded-For` wins over `Forwarded` (RFC 7239), as proxies that write both write the former.

Addresses are packed into 16 bytes, IPv4 as ::ffff:a.b.c.d: 1 µs a hop, where `ipaddress` takes 10.
May import: the standard library.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Iterator
from itertools import islice

__all__ = ["NOBODY", "Network", "Networks", "address_text", "client_address", "forwarded_client", "network_of"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NOBODY = bytes(16)  # the peer of a unix socket, and a client whom nobody names
HOPS_MAX = 32
FORWARDED_BYTES_MAX = 2_048  # of what the nearest proxies wrote
#: One element of `Forwarded` (RFC 7239 4), written backwards: a comma within quotes ends none.
_ELEMENT = re.compile(r'((?:"(?:"\\|[^"])*+"(?!\\)|[^",])*+)(?:,|$)')
_QUOTED = r'"(?:\\.|[^"\\])*+"'
_FOR = re.compile(rf'(?:(?!\s*+for=)(?:{_QUOTED}|[^;"])*+;)*+\s*+for=({_QUOTED}|[^;"]*+)', re.IGNORECASE)
_MAPPED = b"\0\0\0\0\0\0\0\0\0\0\xff\xff"


class Networks:
    """Some networks, to be asked quickly for a packed address."""

    __slots__ = ("_pairs",)

    def __init__(self, networks: Iterable[Network]) -> None:
        self._pairs = [_masked(network) for network in networks]

    def __bool__(self) -> bool:
        return bool(self._pairs)

    def __contains__(self, packed: bytes) -> bool:
        number = int.from_bytes(packed, "big")
        for mask, value in self._pairs:  # noqa: SIM110  `any` over a generator takes three times as long
            if number & mask == value:
                return True
        return False


def client_address(peer: bytes, headers: Iterable[tuple[bytes, bytes]], trusted: Networks) -> tuple[str, str]:
    """(address, protocol) of the client.

    Args:
        peer: 16 bytes, IPv4 as ::ffff:a.b.c.d, zeros for a unix socket.
        headers: raw names and values.
        trusted: networks of proxies.
    """
    if peer != NOBODY and peer not in trusted:
        return address_text(peer), "http"
    forwarded, forwarded_for, protocol = [], [], "http"
    for name, value in headers:
        low = name.lower()
        if low == b"x-forwarded-for":
            forwarded_for.append(value)
        elif low == b"forwarded":
            forwarded.append(value)
        elif low == b"x-forwarded-proto" and value.strip().lower() == b"https":
            protocol = "https"
    return address_text(forwarded_client(peer, b",".join(forwarded_for), b",".join(forwarded), trusted)), protocol


def forwarded_client(peer: bytes, forwarded_for: bytes, forwarded: bytes, trusted: Networks) -> bytes:
    """The client's packed address behind a trusted peer.

    Args:
        peer: packed; NOBODY for a unix socket.
        forwarded_for: values of `X-Forwarded-For`, joined by commas; b"" without one.
        forwarded: the same of `Forwarded`.
        trusted: proxies whose word is believed.
    """
    address = peer
    if forwarded_for:
        hops: Iterable[str] = reversed(forwarded_for[-FORWARDED_BYTES_MAX:].decode("latin-1").split(","))
    elif forwarded:
        hops = _forwarded_hops(forwarded[-FORWARDED_BYTES_MAX:].decode("latin-1"))
    else:
        return address
    for hop in islice(hops, HOPS_MAX):
        found = _parse(hop)
        if found is None:
            break  # unknown or obfuscated: nothing further left can be believed
        address = found
        if found not in trusted:
            break
    return address


def _forwarded_hops(text: str) -> Iterator[str]:
    """Whom each element of `Forwarded` names, from the right; "" where it names nobody.

    Read backwards, so that no quote of a client changes how what proxies wrote behind it is read.
    """
    backwards = text[::-1]
    at = 0
    while at < len(backwards):
        element = _ELEMENT.match(backwards, at)
        if element is None:
            return
        named = _FOR.match(element[1][::-1])
        yield "" if named is None else named[1]
        at = element.end()


def address_text(packed: bytes) -> str:
    """An address as people write it; "" for NOBODY."""
    if packed.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return "" if packed == NOBODY else socket.inet_ntop(socket.AF_INET6, packed)


def _masked(network: Network) -> tuple[int, int]:
    """(mask, value) over 128 bits."""
    mask, value = int(network.netmask), int(network.network_address)
    if network.version == 4:
        mask |= (2**96 - 1) << 32
        value |= 0xFFFF << 32
    return mask, value


def _parse(hop: str) -> bytes | None:
    """An address as proxies write it: bare, or with a port, IPv6 perhaps in brackets."""
    text = hop.strip(' \t"')
    try:
        if ":" not in text:
            return _MAPPED + socket.inet_pton(socket.AF_INET, text)
        if text.startswith("["):
            text = text[1:].partition("]")[0]
        elif text.count(":") == 1:
            return _MAPPED + socket.inet_pton(socket.AF_INET, text.partition(":")[0])
        return socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError, UnicodeEncodeError):
        return None


def network_of(address: str, bits: int = 64) -> str:
    """What counts as one client: an IPv4 address, or the /64 that one line of IPv6 has; `bits` for a wider network."""
    if ":" not in address:
        return address
    return str(ipaddress.IPv6Network((address.partition("%")[0], bits), strict=False))
