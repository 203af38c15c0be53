"""The whole HTTP surface beside redirects, on one screen.

May import: the handlers.
"""

from __future__ import annotations

from app.api.batch import BatchHandler
from app.api.domains import DomainHandler, DomainsHandler
from app.api.handler import Handler
from app.api.keys import KeyHandler, KeysHandler
from app.api.links import LinkHandler, LinksHandler
from app.api.live import LiveHandler
from app.api.stats import LinkStatsHandler, StatsHandler
from app.api.system import HealthHandler, ReadyHandler, RobotsHandler, RootHandler

__all__ = ["ROUTES"]

_SLUG = r"([A-Za-z0-9_-]{1,64})"

ROUTES: list[tuple[str, type[Handler]]] = [
    (r"/", RootHandler),
    (r"/health", HealthHandler),
    (r"/ready", ReadyHandler),
    (r"/robots\.txt", RobotsHandler),
    (r"/api/v1/links", LinksHandler),
    (r"/api/v1/links/batch", BatchHandler),
    (rf"/api/v1/links/{_SLUG}", LinkHandler),
    (rf"/api/v1/links/{_SLUG}/stats", LinkStatsHandler),
    (r"/api/v1/stats", StatsHandler),
    (r"/api/v1/live", LiveHandler),
    (r"/api/v1/domains", DomainsHandler),
    (r"/api/v1/domains/([A-Za-z0-9.-]{1,253})", DomainHandler),
    (r"/api/v1/keys", KeysHandler),
    (r"/api/v1/keys/([0-9a-f]{64})", KeyHandler),
]
