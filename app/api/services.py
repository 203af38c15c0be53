"""What handlers work with. May import: every room that `app.main` makes one of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from app.accounts import AuditLog, KeyRing, SecondFactors, Sessions, SignOn, Tries, UserBook
from app.dashboard import Assets
from app.feed import Hub
from app.jobs import JobQueue
from app.limits import Limiter, Quota
from app.links import Catalog, DomainWatch, LinkStore, PasswordHasher
from app.observe import Health
from app.outbound import Fetcher
from app.redirect import Hosts
from app.settings import Settings
from app.stores import Database
from app.webhooks import WebhookStore

__all__ = ["Services"]


@dataclass(frozen=True)
class Services:
    """What handlers work with; made once by `app.main`."""

    settings: Settings
    database: Database
    catalog: Catalog
    links: LinkStore
    domains: DomainWatch
    hosts: Hosts
    hub: Hub
    hasher: PasswordHasher
    keys: KeyRing
    users: UserBook
    factors: SecondFactors
    sessions: Sessions
    sign_on: SignOn | None
    tries: Tries
    audit: AuditLog
    limiter: Limiter
    quota: Quota
    health: Health
    dashboard: Assets
    jobs: JobQueue
    ring: Callable[[], Awaitable[None]]
    webhooks: WebhookStore
    receivers: Fetcher
    now_s: Callable[[], float]
    token_bytes: Callable[[int], bytes]
    token: Callable[[int], str]
    drawing: asyncio.Lock = field(default_factory=asyncio.Lock)  # of QR codes: one at a time
