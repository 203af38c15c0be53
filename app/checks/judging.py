"""Which links are looked at, what a look says of a page, and what comes of it. Pure.

    a look                                          says      comes of it
    2xx, 3xx without a way on                       FINE      a broken link is mended
    404, 410                                        GONE      broken after GONE_LOOKS of them
    425, 429, 503 (shops' word for machines, too)   CLOSED    the link stays as it is
    other 4xx, 999 (LinkedIn's)                     FINE      as 2xx: who asks is refused, and the page is there
    other 5xx, no such name, a certificate that     FAILS     broken after FAIL_LOOKS that failed, about a day
    fails, no connection, no answer
    redirects without an end, which may wait for    CLOSED    as 429
    cookies; an issuer of a certificate that is not
    sent along, which browsers look for elsewhere;
    HTTP that is not proper, which they forgive;
    not to be asked: no public address, no page
    not asked: no name server answered, this        UNKNOWN   looked at again; it counts as nothing
    machine has no way there, or no room

A look counts when it came to an end; one whose program was killed does not. So no link is broken after one look alone.
What fails for many hosts in a row is UNKNOWN, too (`outage`).
A link that is broken is mended by one look, and stays broken without being looked at again before the next round.
May import: links, outbound.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from urllib.parse import urlsplit

import h11

from app.links import Link, LinkState
from app.outbound import EndlessUrlError, FetchError, RefusedUrlError, UnaskedError, UnknownNameError

__all__ = [
    "FAIL_LOOKS",
    "GONE_LOOKS",
    "Finding",
    "Outcome",
    "Verdict",
    "host_of",
    "is_looked_at",
    "judge",
    "outcome_of",
]

GONE_LOOKS = 3  # within 20 to 40 minutes: a page that is being published again answers 404 for moments
FAIL_LOOKS = 8  # within 15 to 31 hours: a server that is mended overnight was never away
REASON_CHARACTERS_MAX = 200
_GONE = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
_NOT_NOW = (HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_NO_ISSUER = (20, 21)  # X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY and _VERIFY_LEAF_SIGNATURE of OpenSSL


class Verdict(StrEnum):
    """See above."""

    FINE = "fine"
    GONE = "gone"
    FAILS = "fails"
    UNKNOWN = "unknown"
    CLOSED = "closed"


class Outcome(StrEnum):
    """What is done with the link: nothing, another look later, or it is called so."""

    LEAVE = "leave"
    AGAIN = "again"
    BREAK = "break"
    MEND = "mend"


_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (UnknownNameError, "its name is not known"),
    (ssl.SSLError, "speaks no TLS that is understood"),
    (ConnectionRefusedError, "refuses connections"),
    (ConnectionError, "breaks connections off"),
    (h11.ProtocolError, "answers no HTTP that is understood"),
    (ValueError, "leads on to what is no URL"),  # behind those of TLS, some of which are such, too
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look says, and in words."""

    verdict: Verdict
    reason: str

    @property
    def is_failure(self) -> bool:
        """Whether it counts against the page."""
        return self.verdict in (Verdict.GONE, Verdict.FAILS)


def is_looked_at(link: Link, now_s: float) -> bool:
    """Whether visitors are led to a page, now, by http or https."""
    is_open = link.state is LinkState.ACTIVE and (link.starts is None or link.starts <= now_s)
    is_spent = link.max_visits is not None and link.visits >= link.max_visits
    is_over = is_spent or (link.expires is not None and link.expires <= now_s)
    return is_open and not is_over and host_of(link.target) is not None


def host_of(target: str) -> str | None:
    """The host of a page; None where the target is none."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return None
    return parts.hostname if parts.scheme in ("http", "https") else None


def judge(found: int | FetchError) -> Finding:
    """What a status, or why there is none, says."""
    if isinstance(found, FetchError):
        return Finding(_verdict_of(found), _reason_of(found)[:REASON_CHARACTERS_MAX])
    reason = f"it answers {found}"
    if found in _GONE:
        return Finding(Verdict.GONE, reason)
    if found in _NOT_NOW:
        return Finding(Verdict.CLOSED, reason)
    return Finding(Verdict.FAILS if found // 100 == 5 else Verdict.FINE, reason)


def outcome_of(finding: Finding, *, gone: int, failures: int, is_broken: bool) -> Outcome:
    """What comes of a look; `failures` counts those of this round, with this one, and `gone` those that said GONE."""
    if finding.verdict is Verdict.FINE:
        return Outcome.MEND if is_broken else Outcome.LEAVE
    if finding.verdict is Verdict.UNKNOWN:
        return Outcome.AGAIN
    if is_broken or not finding.is_failure:
        return Outcome.LEAVE
    return Outcome.BREAK if gone >= GONE_LOOKS or failures >= FAIL_LOOKS else Outcome.AGAIN


def _verdict_of(error: FetchError) -> Verdict:
    cause = error.__cause__
    has_no_issuer = isinstance(cause, ssl.SSLCertVerificationError) and cause.verify_code in _NO_ISSUER
    is_forgiven = has_no_issuer or isinstance(cause, h11.ProtocolError)
    if is_forgiven or isinstance(error, RefusedUrlError | EndlessUrlError):
        return Verdict.CLOSED
    return Verdict.UNKNOWN if isinstance(error, UnaskedError) else Verdict.FAILS


def _reason_of(error: FetchError) -> str:
    """Short, and the same for the same, without addresses of ours or bytes of who answered: owners of links read it."""
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate fails: {cause.verify_message.partition(',')[0]}"  # behind it: the host that was led to
    for kind, words in _WORDS:
        if isinstance(cause, kind):
            return words
    if isinstance(cause, OSError) and cause.errno is not None:
        return f"cannot be reached: {os.strerror(cause.errno)}"
    return error.reason
