"""Whether it may be this machine that fails, and not the pages: then nothing is held against them. Pure.

    a host that fails    is remembered
    a host that answers  none is remembered any more: there is a way out, and this one is what fails
    behind HOSTS_MAX     failures are UNKNOWN until a host answers

So a firewall that lets nothing out, an uplink that is down while names are still known, or a proxy that answers for
all, breaks no link however long it takes. Apart for http and https: the one may be let out without the other, and a
clock that is wrong, or a machine that knows no authority, fails by https alone. Where links lead to fewer hosts than
that, an outage cannot be told from them. kill -9 leaves nothing: HOSTS_MAX more failures are counted.
May import: judging.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from app.checks.judging import Finding, Verdict

__all__ = ["HOSTS_MAX", "Outlook"]

HOSTS_MAX = 10  # where half of all looks fail, so many in a row do by chance once in a thousand


class Outlook:
    """What one program has seen of late."""

    def __init__(self) -> None:
        self._failing: dict[str, set[str | None]] = {}

    def weigh(self, url: str, finding: Finding) -> Finding:
        """What a look at `url` says, with regard to those before."""
        parts = urlsplit(url)
        failing = self._failing.setdefault(parts.scheme, set())
        if finding.verdict in (Verdict.FINE, Verdict.GONE):
            failing.clear()
        if finding.verdict is not Verdict.FAILS:
            return finding
        if len(failing) <= HOSTS_MAX:
            failing.add(parts.hostname)
        return replace(finding, verdict=Verdict.UNKNOWN) if len(failing) > HOSTS_MAX else finding
