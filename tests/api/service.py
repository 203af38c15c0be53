"""The API alone, behind a plain Tornado server on a free port, with real stores and a client that has a key."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from app.accounts import INDEXES as ACCOUNT_INDEXES
from app.accounts import AuditLog, KeyRing, SecondFactors, Sessions, Tries, UserBook, make_sign_on
from app.api import Services, make_application
from app.dashboard import Assets
from app.feed import Hub
from app.jobs import INDEXES as JOB_INDEXES
from app.jobs import JobQueue, ring
from app.limits import Buckets, Limiter, Quota
from app.links import INDEXES, LINKS, Catalog, DomainStore, DomainWatch, LinkCache, LinkStore, PasswordHasher
from app.observe import Health
from app.redirect import Hosts
from app.settings import Settings
from app.stores import Breaker, Database, Shape, make_schema
from app.titles import Asking
from app.webhooks import INDEXES as WEBHOOK_INDEXES
from app.webhooks import WebhookStore, make_fetcher
from tests import fetch
from tests.conftest import Stores

__all__ = ["ADMIN_KEY", "PUBLIC_URL", "Service", "With", "make_services", "serve"]

ADMIN_KEY = "blk_admin-key-of-the-tests"
PUBLIC_URL = "https://sho.rt"
With = Callable[[Callable[[Stores], Awaitable[None]]], None]


@dataclass
class Service:
    """A running API. `requests` is what was counted: (route, status)."""

    client: httpx.AsyncClient
    services: Services
    stores: Stores
    requests: list[tuple[str, int]]

    async def make(self, slug: str, target: str = "https://example.com/") -> None:
        """A link."""
        answer = await self.client.post("/api/v1/links", json={"target": target, "slug": slug})
        assert answer.status_code == 201, answer.text


def make_services(
    stores: Stores, database: Database | None = None, hasher: PasswordHasher | None = None, /, **settings: str
) -> Services:
    """What handlers work with, over real stores, or over another database."""
    limiter = Limiter(stores.redis, Breaker("limits", time.monotonic), Buckets(time.monotonic))
    database = database if database is not None else stores.database
    read = Settings.from_environ({"BOLTLINK_BASE_URL": PUBLIC_URL, **settings})
    audit = AuditLog(database, now_s=time.time, token_bytes=secrets.token_bytes)
    jobs = JobQueue(database, kept_s=read.jobs_kept)
    write_notes = Asking(jobs, audit.write).write if read.titles == "on" else audit.write
    links = LinkStore(database, kept_s=read.deleted_kept, write_notes=write_notes)
    health = Health(lambda: {"program": "web_0"})
    health.is_serving = True
    health.add("redis", stores.redis.ping)
    health.add("mongodb", lambda: database.command("ping"))
    hasher = hasher or PasswordHasher(cost=4)
    users = UserBook(
        database,
        audit,
        hasher,
        cost=4,
        monotonic=time.monotonic,
        now_s=time.time,
        token_hex=secrets.token_hex,
    )
    sessions = Sessions(
        stores.redis,
        users,
        idle_s=read.session_idle,
        life_s=read.session_life,
        now_s=time.time,
        token=secrets.token_urlsafe,
    )
    unannounced: list[Exception] = []
    hosts = Hosts("sho.rt")
    domains = DomainWatch(DomainStore(database, stores.redis, links, audit.write), hosts.set_domains, known_s=0.0)
    return Services(
        settings=read,
        database=database,
        catalog=Catalog(
            store=links,
            cache=LinkCache(stores.redis),
            now_ms=lambda: int(time.time() * 1000),
            randbits=secrets.randbits,
            randbelow=secrets.randbelow,
            ours={("sho.rt", 443)},
            on_unannounced=unannounced.append,
            options_of=domains.options_of,
        ),
        links=links,
        domains=domains,
        hosts=hosts,
        hub=Hub(stores.redis),
        hasher=hasher,
        users=users,
        factors=SecondFactors(database, audit, now_s=time.time, token_bytes=secrets.token_bytes),
        sessions=sessions,
        sign_on=make_sign_on(read, stores.redis, users),
        tries=Tries(limiter, stores.redis),
        audit=audit,
        keys=KeyRing(database, audit, monotonic=time.monotonic, now_s=lambda: int(time.time())),
        limiter=limiter,
        quota=Quota(limiter, time.monotonic),
        health=health,
        dashboard=Assets(has_sign_on=read.oidc_issuer is not None),
        jobs=jobs,
        ring=lambda: ring(stores.redis),
        webhooks=WebhookStore(database, audit, owner_max=read.webhooks_max),
        receivers=make_fetcher(read),
        now_s=time.time,
        token_bytes=secrets.token_bytes,
        token=secrets.token_urlsafe,
    )


@asynccontextmanager
async def serve(stores: Stores, services: Services | None = None, **settings: str) -> AsyncIterator[Service]:
    """An API with its indexes and the admin key; the client sends the key by default."""
    await make_schema(stores.database, Shape({LINKS: INDEXES, **ACCOUNT_INDEXES, **JOB_INDEXES, **WEBHOOK_INDEXES}))
    if services is None:
        services = make_services(stores, None, **settings)
        await services.keys.add(ADMIN_KEY, "admin")
    requests: list[tuple[str, int]] = []
    application = make_application(services, lambda route, status, _: requests.append((route, status)))
    server = HTTPServer(application)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    try:
        async with fetch.AsyncClient(base_url=url, headers=headers, trust_env=False) as client:
            yield Service(client, services, stores, requests)
    finally:
        server.stop()
        await server.close_all_connections()
        services.hasher.close()
