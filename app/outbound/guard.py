"""Which addresses may be asked where somebody else than the operator named the URL: public ones alone.

In: a host name, looked up once for all who ask at the same time. Out: its addresses, without those of private networks,
this machine, and whatever else is no machine of the public internet; the connection is made to one of the very
addresses that were judged, so a name that says something else a moment later leads nowhere else.

    IPv4 in IPv6     mapped (::ffff:0:0/96), NAT64 (64:ff9b::/96) and 6to4 (2002::/16): judged by the IPv4 address
    IPv6             2000::/3 alone, without its parts for documentation, Teredo, benchmarks and identifiers
    further ones     networks that the operator names, for an instance within a company

Sources: IANA's special-purpose registries of IPv4 and IPv6 addresses (RFC 6890, RFC 8190); of clouds whose metadata has
a public address, Azure ("What is IP address 168.63.129.16?"). May import: Tornado.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tornado.netutil import Resolver

__all__ = ["Address", "Guard", "Lookup", "NotPublicError", "UnaskedNameError", "UnknownNameError", "look_up"]

Address = tuple[int, Any]
Lookup = Callable[[str, int], Awaitable[Sequence[Address]]]
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
LOOK_UP_S = 2.5  # within what a connection may take
LOOKUPS_MAX = 128  # threads that wait for names; a name server that is silent holds one for half a minute
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16/32",  # a machine in Azure alone reaches it, and is told certificates and settings there
        *("2001::/23", "2001:db8::/32", "3fff::/20"),
    )
)
_PUBLIC_IPV6 = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class NotPublicError(OSError):
    """A name that has addresses, none of which may be asked."""


class UnknownNameError(OSError):
    """A name that there is not; the message has it, as somebody may have led to it."""


class UnaskedNameError(OSError):
    """Nobody could say whether a name has addresses: it may have some."""


#: Of `getaddrinfo`, what says nothing of the name: no name server answered, or this machine has no room.
_UNASKED = (socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_MEMORY, socket.EAI_SYSTEM)


class Guard(Resolver):
    """Resolves names for connections.

    Args:
        allowed: networks that may be asked though they are not public.
        lookup: as `look_up`.
        names_max: that are looked up at once for whoever asks through this guard.
    """

    def initialize(
        self, allowed: Sequence[_Network] = (), lookup: Lookup | None = None, names_max: int = LOOKUPS_MAX
    ) -> None:
        """Tornado's constructor."""
        self._allowed = tuple(allowed)
        self._names_max = names_max
        self._lookup = look_up if lookup is None else lookup
        self._asking: dict[tuple[str, int], asyncio.Future[Sequence[Address]]] = {}

    async def resolve(self, host: str, port: int, family: int = socket.AF_UNSPEC) -> list[Address]:
        """The addresses of a host that may be asked; raises OSError when there is none."""
        found = [one for one in await self._ask(host, port) if family in (socket.AF_UNSPEC, one[0])]
        open_ = [one for one in found if self.allows(one[1][0])]
        if not open_:
            raise NotPublicError("its address is not public") if found else OSError("has no address")
        return open_

    async def _ask(self, host: str, port: int) -> Sequence[Address]:
        """Asks for a name once for all who want it at the same time.

        Whoever asks gives up long before a silent name server is given up: who tried again and again took a thread
        each time, and 32 webhooks of four owners all that there are.
        """
        asking = self._asking.get((host, port))
        if asking is None:
            if len(self._asking) >= self._names_max:
                raise UnaskedNameError("too many names are being looked up")
            asking = self._asking[host, port] = asyncio.ensure_future(self._lookup(host, port))
            asking.add_done_callback(lambda done: self._on_found(host, port, done))
        try:
            async with asyncio.timeout(LOOK_UP_S):
                return await asyncio.shield(asking)
        except TimeoutError as error:
            raise UnaskedNameError("its name was not looked up in time") from error

    def _on_found(self, host: str, port: int, done: asyncio.Future[Sequence[Address]]) -> None:
        del self._asking[host, port]
        if not done.cancelled():
            done.exception()  # perhaps nobody waits for it any more

    def allows(self, address: str) -> bool:
        """Whether an address may be asked; what is none may not."""
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if any(ip in network for network in self._allowed if network.version == ip.version):
            return True
        if isinstance(ip, ipaddress.IPv6Address):
            inner = ip.ipv4_mapped or ip.sixtofour or (_in_nat64(ip) if ip in _NAT64 else None)
            if inner is not None:
                return self.allows(str(inner))
            if ip not in _PUBLIC_IPV6:
                return False
        return not any(ip in network for network in _NOT_PUBLIC if network.version == ip.version)

    def allows_host(self, host: str) -> bool:
        """Whether a URL's host might be asked, without looking it up: False for an address that may not."""
        try:
            address = str(ipaddress.ip_address(host))
        except ValueError:
            name = host.lower().rstrip(".")
            return bool(self._allowed) or (name != "localhost" and not name.endswith(".localhost"))
        return self.allows(address)


_waiting = threading.BoundedSemaphore(LOOKUPS_MAX)


async def look_up(host: str, port: int) -> Sequence[Address]:
    """Asks the system for a name, in a thread of its own; raises OSError.

    The loop's threads are few: name servers that are silent would hold up whoever else needs one.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[Sequence[Address]] = loop.create_future()
    if not _waiting.acquire(blocking=False):
        raise UnaskedNameError("too many names are being looked up")

    def settle(result: Sequence[Address], error: OSError | None) -> None:
        if found.done():
            return
        if error is None:
            found.set_result(result)
        else:
            found.set_exception(error)

    def ask() -> None:
        result: list[Address] = []
        error: OSError | None = None
        try:
            rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            result = [(int(row[0]), row[4]) for row in rows]
        except (OSError, UnicodeError) as caught:  # UnicodeError: a label of more than 63 characters
            kind = UnaskedNameError if isinstance(caught, OSError) and caught.errno in _UNASKED else UnknownNameError
            error = kind(f"{host}: {caught.strerror if isinstance(caught, OSError) else caught}")
        finally:
            _waiting.release()
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    try:
        threading.Thread(target=ask, name="look-up", daemon=True).start()
    except RuntimeError as error:  # no thread is to be had
        _waiting.release()
        raise UnaskedNameError(str(error)) from error
    return await found


def _in_nat64(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
