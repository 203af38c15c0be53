"""Who asks for slugs that nobody has, again and again, may look up no more for a while: guessing slugs is slow.

In: client addresses, when a look-up in the stores is wanted and when it found nothing. Out: whether it may be made.
Only what memory does not know comes here, before any store is asked, so a redirect that it knows costs nothing and is
never refused. One process counts for itself: no store is asked for this either, and all processes of a node together
let through as many times the rate. At most NETWORKS_MAX networks; the one that was seen first is forgotten.

An IPv4 address is one client, as is the /64 that one line of IPv6 has. This machine (loopback, unix sockets) is not
limited: a proxy on it that is not in BOLTLINK_TRUSTED_PROXIES would be everybody. May import: the standard library.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

__all__ = ["Scans"]

BURST_S = 10  # of the rate, at once
NETWORKS_MAX = 20_000  # 4 MB
_IPV6_NETWORK_BYTES = 8


class Scans:
    """The networks of one process.

    Args:
        rate: unknown slugs a second that one network may ask for; None: any number.
        monotonic: a clock in seconds.
    """

    def __init__(self, rate: int | None, monotonic: Callable[[], float], limit: int = NETWORKS_MAX) -> None:
        self._every_s = 0.0 if rate is None else 1 / rate
        self._monotonic = monotonic
        self._limit = limit
        self._full_at_s: dict[bytes, float] = {}  # when a network has all of its tokens again

    def __len__(self) -> int:
        return len(self._full_at_s)

    def is_over(self, address: str) -> bool:
        """Whether this client must wait, about a second, before something is looked up for it."""
        full_at_s = self._full_at_s.get(_network(address)) if self._full_at_s else None
        return full_at_s is not None and full_at_s - self._monotonic() > BURST_S - self._every_s

    def on_unknown(self, address: str) -> None:
        """Nobody has the slug that this client asked for."""
        network = _network(address)
        if not self._every_s or not network:
            return
        now_s = self._monotonic()
        full_at_s = max(self._full_at_s.pop(network, 0.0), now_s) + self._every_s
        self._full_at_s[network] = min(full_at_s, now_s + BURST_S)
        if len(self._full_at_s) > self._limit:
            del self._full_at_s[next(iter(self._full_at_s))]


def _network(address: str) -> bytes:
    """What counts as one client; b"" for this machine."""
    if ":" in address:
        packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
        return b"" if address == "::1" else packed[:_IPV6_NETWORK_BYTES]
    return b"" if not address or address.startswith("127.") else address.encode()
