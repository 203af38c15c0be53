"""What handlers work with. May import: accounts, feed, limits, links, observe, redirect,
settings, stores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.accounts import AuditLog, KeyRing, SecondFactors, Sessions, SignOn, Tries, UserBook
from app.feed import Hub
from app.limits import Limiter, Quota
from app.links import Catalog, DomainWatch, LinkStore, PasswordHasher
from app.observe import Health
from app.redirect import Hosts
from app.settings import Settings
from app.stores import Database

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
    now_s: Callable[[], float]
    token: Callable[[int], str]
