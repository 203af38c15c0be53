"""How receivers are asked, whose URLs are anybody's: strictly (`app.outbound`).

May import: jobs, outbound, settings.
"""

from __future__ import annotations

from app.jobs import AT_ONCE
from app.outbound import Fetcher, Guard
from app.settings import Settings

__all__ = ["ANSWER_S", "make_fetcher"]

ANSWER_S = 10.0  # from the look-up of the name to the last byte
ANSWER_BYTES_MAX = 64 * 1024  # of a body; whoever sends more has failed


def make_fetcher(settings: Settings) -> Fetcher:
    """What asks them, and judges their URLs."""
    return Fetcher(
        allows_http=settings.webhook_http == "on",
        answer_s=ANSWER_S,
        guard=Guard(settings.webhook_networks),
        at_once_max=AT_ONCE,
        body_bytes_max=ANSWER_BYTES_MAX,
    )
