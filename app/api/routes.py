"""The whole HTTP surface beside redirects, on one screen. What stands in braces: `app.api.parameters.PATH_PARAMETERS`.

What a route takes and answers is declared beside its handler's methods (`app.api.operation`). May import: the handlers,
accounts.
"""

from __future__ import annotations

from app.accounts import CALLBACK, Scope
from app.api.audit import AuditHandler, HistoryHandler
from app.api.batch import BatchDeleteHandler, BatchHandler
from app.api.dashboard import DashboardFileHandler, DashboardHandler
from app.api.deliveries import DeliveriesHandler, DeliveryHandler, WebhookTestHandler
from app.api.domains import DomainHandler, DomainsHandler
from app.api.handler import Handler
from app.api.jobs import JobRetryHandler, JobsHandler
from app.api.keys import KeyHandler, KeysHandler
from app.api.links import LinkHandler, LinksHandler, RestoreHandler
from app.api.live import LiveHandler
from app.api.oidc import OidcCallbackHandler, OidcHandler
from app.api.qr import QrHandler
from app.api.reference import DocsHandler, OpenApiHandler
from app.api.session import SessionHandler, SessionPasswordHandler
from app.api.stats import LinkStatsHandler, StatsHandler
from app.api.system import HealthHandler, ReadyHandler, RobotsHandler, RootHandler
from app.api.tags import TagHandler, TagsHandler
from app.api.totp import SessionTotpConfirmHandler, SessionTotpDeleteHandler, SessionTotpHandler
from app.api.users import UserHandler, UserSessionsHandler, UsersHandler, UserTotpHandler
from app.api.webhooks import WebhookHandler, WebhookSecretHandler, WebhooksHandler

__all__ = ["NEEDS", "ROUTES"]

READ, WRITE, STATS, ADMIN = Scope.LINKS_READ, Scope.LINKS_WRITE, Scope.STATS_READ, Scope.ADMIN

#: Path, handler, and which right each method needs; none at all where everyone is served.
_TABLE: list[tuple[str, type[Handler], dict[str, Scope]]] = [
    ("/", RootHandler, {}),
    ("/health", HealthHandler, {}),
    ("/ready", ReadyHandler, {}),
    ("/robots.txt", RobotsHandler, {}),
    ("/docs", DocsHandler, {}),
    ("/dashboard", DashboardHandler, {}),
    ("/dashboard/{digest}/{file}", DashboardFileHandler, {}),
    ("/api/v1/openapi.json", OpenApiHandler, {}),
    ("/api/v1/links", LinksHandler, {"GET": READ, "POST": WRITE}),
    ("/api/v1/links/batch", BatchHandler, {"POST": WRITE, "PATCH": WRITE}),
    ("/api/v1/links/batch/delete", BatchDeleteHandler, {"POST": WRITE}),
    ("/api/v1/links/{slug}", LinkHandler, {"GET": READ, "PATCH": WRITE, "DELETE": WRITE}),
    ("/api/v1/links/{slug}/restore", RestoreHandler, {"POST": WRITE}),
    ("/api/v1/links/{slug}/qr", QrHandler, {"GET": READ}),
    ("/api/v1/links/{slug}/stats", LinkStatsHandler, {"GET": STATS, "DELETE": ADMIN}),
    ("/api/v1/links/{slug}/history", HistoryHandler, {"GET": READ}),
    ("/api/v1/stats", StatsHandler, {"GET": STATS}),
    ("/api/v1/live", LiveHandler, {"GET": STATS}),
    ("/api/v1/domains", DomainsHandler, {"GET": READ, "POST": ADMIN}),
    ("/api/v1/domains/{domain}", DomainHandler, {"GET": READ, "PATCH": ADMIN, "DELETE": ADMIN}),
    ("/api/v1/tags", TagsHandler, {"GET": READ}),
    ("/api/v1/tags/{tag}", TagHandler, {"PATCH": ADMIN, "DELETE": ADMIN}),
    ("/api/v1/keys", KeysHandler, {"GET": ADMIN, "POST": ADMIN}),
    ("/api/v1/keys/{key_id}", KeyHandler, {"DELETE": ADMIN}),
    ("/api/v1/users", UsersHandler, {"GET": ADMIN, "POST": ADMIN}),
    ("/api/v1/users/{user_id}", UserHandler, {"GET": ADMIN, "PATCH": ADMIN, "DELETE": ADMIN}),
    ("/api/v1/users/{user_id}/sessions", UserSessionsHandler, {"DELETE": ADMIN}),
    ("/api/v1/users/{user_id}/totp", UserTotpHandler, {"DELETE": ADMIN}),
    ("/api/v1/session", SessionHandler, {}),
    ("/api/v1/session/oidc", OidcHandler, {}),
    (CALLBACK, OidcCallbackHandler, {}),
    ("/api/v1/session/password", SessionPasswordHandler, {}),
    ("/api/v1/session/totp", SessionTotpHandler, {}),
    ("/api/v1/session/totp/confirm", SessionTotpConfirmHandler, {}),
    ("/api/v1/session/totp/delete", SessionTotpDeleteHandler, {}),
    ("/api/v1/webhooks", WebhooksHandler, {"GET": READ, "POST": WRITE}),
    ("/api/v1/webhooks/{webhook_id}", WebhookHandler, {"GET": READ, "PATCH": WRITE, "DELETE": WRITE}),
    ("/api/v1/webhooks/{webhook_id}/secret", WebhookSecretHandler, {"POST": WRITE}),
    ("/api/v1/webhooks/{webhook_id}/test", WebhookTestHandler, {"POST": WRITE}),
    ("/api/v1/webhooks/{webhook_id}/deliveries", DeliveriesHandler, {"GET": READ}),
    ("/api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}", DeliveryHandler, {"GET": READ, "POST": WRITE}),
    ("/api/v1/jobs", JobsHandler, {"GET": ADMIN}),
    ("/api/v1/jobs/{job_id}/retry", JobRetryHandler, {"POST": ADMIN}),
    ("/api/v1/audit", AuditHandler, {"GET": ADMIN}),
]

ROUTES = [(path, handler) for path, handler, _ in _TABLE]
NEEDS = {path: needs for path, _, needs in _TABLE}
