"""Which domain a Host header names.

In: the Host as a request sent it. Out: the domain's options, and the prefix of its keys: b"" for the default domain,
`domain/` for another, None for a host that is answered with 404, or with 503 while not all domains are known.
May import: links.
"""

from __future__ import annotations

from collections.abc import Mapping

from app.links import PLAIN_OPTIONS, DomainOptions

__all__ = ["Hosts"]

#: Raw Host values remembered, then all are judged anew: a client that invents hosts costs others one judgement each.
SPELLINGS_MAX = 1_000


class Hosts:
    """The domains of this instance.

    Args:
        default: the default domain's name, without port.
        domains: further domains, by name; "" are the options of the default one.
        is_strict: hosts that are none of ours get None instead of the default domain.
        is_complete: all domains are known. Until then a host that might be one is not answered for.
    """

    def __init__(
        self,
        default: str,
        domains: Mapping[str, DomainOptions] | None = None,
        *,
        is_strict: bool = False,
        is_complete: bool = True,
    ) -> None:
        self.prefixes: dict[bytes, bytes] = {}
        self._default = default.lower().encode("ascii")
        self._is_strict = is_strict
        self.set_domains(domains or {})
        self.is_complete = is_complete

    def set_domains(self, domains: Mapping[str, DomainOptions]) -> None:
        """From now on these are all further domains; every spelling is judged anew."""
        self._others = {name.encode("ascii") for name in domains if name}
        self._options = {
            name.encode("ascii") + (b"/" if name else b""): options
            for name, options in domains.items()
            if options != PLAIN_OPTIONS
        }
        self._folded = {prefix for prefix, options in self._options.items() if options.case_insensitive}
        self.is_complete = True
        self.prefixes.clear()

    def prefix(self, host: bytes) -> bytes | None:
        """The prefix of `host`'s keys; remembers raw spellings, so that the hot path needs one look-up."""
        known = self.prefixes.get(host)
        if known is not None:
            return known
        prefix = self._judge(host)
        if prefix is not None:
            if len(self.prefixes) >= SPELLINGS_MAX:
                self.prefixes.clear()  # in place: the hot path holds this dictionary
            self.prefixes[host] = prefix
        return prefix

    def options(self, host: bytes) -> DomainOptions | None:
        """The options of the domain that `host` names; None when it is none of ours."""
        prefix = self.prefix(host)
        return None if prefix is None else self._options.get(prefix, PLAIN_OPTIONS)

    def fold(self, key: bytes) -> bytes:
        """The key in lower case, where its domain is case-insensitive and it has capitals; else b""."""
        prefix, slash, _ = key.rpartition(b"/")
        if not self._folded or prefix + slash not in self._folded:
            return b""
        low = key.lower()
        return b"" if low == key else low

    def _judge(self, host: bytes) -> bytes | None:
        name = host.lower()
        name = name[1:].partition(b"]")[0] if name.startswith(b"[") else name.partition(b":")[0]
        name = name.rstrip(b".")
        if name in self._others:
            return name + b"/"
        if name == self._default or not name:
            return b""
        return b"" if self.is_complete and not self._is_strict else None
