"""Who asks: read from a request's head, only as far as a link wants to know, and each thing once.

In: a head, the peer's address, and readers of traits and countries. Out: `Visitor`, for rules and variants.
Only links that need a decision come here. What is costly is remembered: a head's traits, the address that a peer's
forwarding headers tell. May import: agents.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from app.agents import NOBODY, Network, Networks, Traits, TraitsReader, address_text, client_address

__all__ = ["Visitor", "Visitors"]

V = TypeVar("V")

ADDRESSES_MAX = 10_000  # remembered, 2 MB; forgotten all at once
FORWARDED_BYTES_MAX = 256  # a longer list of hops is read anew each time
HEAD_BYTES_MAX = 2_048  # of a longer head only the fields below are kept, so that the reader's memory stays small
FIELD_BYTES_MAX = 512
_FORWARDED = re.compile(rb"\r\n(x-forwarded-for|forwarded):[ \t]*([^\r\n]*)", re.IGNORECASE)
_TELLING = re.compile(rb"\r\n(?:user-agent|accept-language|purpose|sec-purpose|x-moz):[^\r\n]*", re.IGNORECASE)
_AGENT = re.compile(rb"\r\nuser-agent:[ \t]*([^\r\n]*)", re.IGNORECASE)


class Visitors:
    """What visitors of one process are read with.

    Args:
        trusted: networks of proxies whose forwarding headers are believed.
        country: the two letters of an address and of what a CDN claims, or "".
        country_header: the name of the CDN's header, which is believed from trusted proxies.
        make_reader: makes the reader of traits when it is first needed: 60 ms and 28 MB that many processes never need.
    """

    def __init__(
        self,
        *,
        trusted: Sequence[Network] = (),
        country: Callable[[str, bytes], str] = lambda address, claimed: "",
        country_header: str | None = None,
        make_reader: Callable[[], TraitsReader] = TraitsReader,
    ) -> None:
        self._country = country
        self._claim = re.compile(
            rb"\r\n%s:[ \t]*([^\r\n]*)" % re.escape((country_header or "").encode()), re.IGNORECASE
        )
        self._has_claims = country_header is not None
        self._proxies = Networks(trusted)
        self._make_reader = make_reader
        self._reader: TraitsReader | None = None
        self._lock = threading.Lock()
        self._peers: dict[bytes, str | None] = {}
        self._forwarded: dict[bytes, str] = {}

    @property
    def can_read(self) -> bool:
        """Whether `traits` answers without first making its reader."""
        return self._reader is not None

    def load(self) -> TraitsReader:
        """Makes the reader of traits, once, whoever calls."""
        with self._lock:
            if self._reader is None:
                self._reader = self._make_reader()
            return self._reader

    def traits(self, head: bytes) -> Traits:
        """Device, system, browser, language, person or bot."""
        reader = self._reader or self.load()
        if len(head) > HEAD_BYTES_MAX:
            head = b"".join(field[:FIELD_BYTES_MAX] for field in _TELLING.findall(head)) + b"\r\n\r\n"
        return reader.read(head)

    def address(self, head: bytes, peer: bytes) -> str:
        """The client's address; "" when it cannot be known."""
        known = self._known_stranger(peer)
        if known is not None:
            return known
        headers = _FORWARDED.findall(head)
        key = b"\n".join([peer, *(part for pair in headers for part in pair)])
        found = self._forwarded.get(key)
        if found is None:
            found = client_address(peer, headers, self._proxies)[0]
            if len(key) <= FORWARDED_BYTES_MAX:
                _remember(self._forwarded, key, found)
        return found

    def country(self, head: bytes, peer: bytes, address: str) -> str:
        """The country of a client, two letters, or ""."""
        claim = self._claim.search(head) if self._has_claims and self._known_stranger(peer) is None else None
        return self._country(address, b"" if claim is None else claim[1].strip())

    def _known_stranger(self, peer: bytes) -> str | None:
        try:
            return self._peers[peer]
        except KeyError:
            return _remember(self._peers, peer, self._stranger(peer))

    def _stranger(self, peer: bytes) -> str | None:
        """The address of a peer that is no trusted proxy, so that no header can change it; else None.

        A unix socket's peer is this node's own proxy.
        """
        return None if peer == NOBODY or peer in self._proxies else address_text(peer)


class Visitor:
    """One visitor; each property is read when it is first asked for."""

    __slots__ = ("_address", "_country", "_head", "_peer", "_traits", "_visitors")

    def __init__(self, visitors: Visitors, head: bytes, peer: bytes) -> None:
        self._visitors = visitors
        self._head = head
        self._peer = peer
        self._traits: Traits | None = None
        self._address: str | None = None
        self._country: str | None = None

    @property
    def can_tell(self) -> bool:
        """Whether `traits` can be read at once; if not, `Visitors.load` must run first, for it takes long."""
        return self._visitors.can_read

    @property
    def traits(self) -> Traits:
        """Device, system, browser, language, person or bot."""
        if self._traits is None:
            self._traits = self._visitors.traits(self._head)
        return self._traits

    @property
    def address(self) -> str:
        """The client's address; "" when it cannot be known."""
        if self._address is None:
            self._address = self._visitors.address(self._head, self._peer)
        return self._address

    @property
    def country(self) -> str:
        """The country of the address, two letters, or ""."""
        if self._country is None:
            self._country = self._visitors.country(self._head, self._peer, self.address)
        return self._country

    @property
    def agent(self) -> bytes:
        """The User-Agent as sent."""
        head = self._head
        start = head.find(b"\r\nUser-Agent: ") + 14
        if start > 13:  # as every browser writes it; five times as fast
            return head[start : head.find(b"\r", start)].strip(b" \t")
        match = _AGENT.search(head)
        return b"" if match is None else match[1]


def _remember(memory: dict[bytes, V], key: bytes, value: V) -> V:
    if len(memory) >= ADDRESSES_MAX:
        memory.clear()
    memory[key] = value
    return value
