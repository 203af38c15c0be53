"""The whole HTTP surface beside redirects, on one screen. What stands in braces: `app.api.parameters.PATH_PARAMETERS`.

What a route takes and answers is declared beside its handler's methods (`app.api.operation`). May import: the handlers.
"""

from __future__ import annotations

from app.api.audit import AuditHandler, HistoryHandler
from app.api.batch import BatchDeleteHandler, BatchHandler
from app.api.domains import DomainHandler, DomainsHandler
from app.api.handler import Handler
from app.api.keys import KeyHandler, KeysHandler
from app.api.links import LinkHandler, LinksHandler, RestoreHandler
from app.api.live import LiveHandler
from app.api.reference import DocsHandler, OpenApiHandler
from app.api.stats import LinkStatsHandler, StatsHandler
from app.api.system import HealthHandler, ReadyHandler, RobotsHandler, RootHandler

__all__ = ["ROUTES"]

ROUTES: list[tuple[str, type[Handler]]] = [
    ("/", RootHandler),
    ("/health", HealthHandler),
    ("/ready", ReadyHandler),
    ("/robots.txt", RobotsHandler),
    ("/docs", DocsHandler),
    ("/api/v1/openapi.json", OpenApiHandler),
    ("/api/v1/links", LinksHandler),
    ("/api/v1/links/batch", BatchHandler),
    ("/api/v1/links/batch/delete", BatchDeleteHandler),
    ("/api/v1/links/{slug}", LinkHandler),
    ("/api/v1/links/{slug}/restore", RestoreHandler),
    ("/api/v1/links/{slug}/stats", LinkStatsHandler),
    ("/api/v1/links/{slug}/history", HistoryHandler),
    ("/api/v1/stats", StatsHandler),
    ("/api/v1/live", LiveHandler),
    ("/api/v1/domains", DomainsHandler),
    ("/api/v1/domains/{domain}", DomainHandler),
    ("/api/v1/keys", KeysHandler),
    ("/api/v1/keys/{key}", KeyHandler),
    ("/api/v1/audit", AuditHandler),
]
