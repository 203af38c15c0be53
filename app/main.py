"""Builds one web process from settings: the only place that knows all the rooms. `python -m app.main`.

In: settings and a name such as web_0. Out: redirects and the API on the shared port (SO_REUSEPORT) and on
`<run>/web_0.sock`, where this process can be told from its siblings, and for a proxy at the same name in a folder that
is set; `/metrics` on another shared port.

Order of start: lock, journal, sockets, then stores in the background: redirects that a cache knows need no store.
Order of end, on SIGTERM: the listeners close, what was asked is answered with `Connection: close`, the journal is
synced, exit 0. May import: everything.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tornado import httpserver, netutil, web

from app.accounts import AuditLog, KeyRing, SecondFactors, Sessions, Tries, UserBook, make_sign_on
from app.agents import CountryFinder, Networks, client_address
from app.api import Services, make_application
from app.cpu_grant import web_processes
from app.dashboard import Assets
from app.feed import Hub
from app.front import Gate, Listener, TornadoExchange
from app.gauges import Gauges
from app.jobs import JobQueue, ring
from app.journaling import JournalKeeper
from app.limits import Buckets, Limiter, Quota, Scans
from app.links import (
    Catalog,
    Chance,
    DomainOptions,
    DomainStore,
    DomainWatch,
    LinkCache,
    LinkStore,
    PasswordHasher,
    authority_of,
)
from app.observe import Health, Metrics, get_logger, reason_of
from app.process import calm_collector, node_id, refuse_second, run_program
from app.redirect import (
    AnswerBook,
    Channel,
    Hosts,
    PasswordDesk,
    Resolver,
    Specials,
    Table,
    Visitors,
    Visits,
)
from app.schema import bring_up
from app.settings import Settings
from app.sockets import listen, listen_for_group, listen_privately, raise_descriptors
from app.stores import (
    Breaker,
    BreakerState,
    mongodb_url,
    open_mongodb,
    open_redis,
    redis_url,
    run_dir,
)
from app.titles import Asking
from app.webhooks import WebhookStore, make_fetcher

__all__ = ["WebProcess", "main"]

DRAIN_S = 30.0
SPARE_DESCRIPTORS = 128  # files, stores, segments
PROBE_S = 2.0
HEARTBEAT_S = 2.0  # who calls the API waits 4 to 6 s for a MongoDB that hangs, and is told to come again
#: Counting visits and limiting tries write: what ails them shall not stop the reading that redirects need.
BREAKERS = ("redis", "mongodb", "visits", "limits")


class WebProcess:
    """One web process; `start`, then `finish`."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings = settings
        self.name = name
        self._log = get_logger()
        self.metrics = Metrics(name, run_dir(settings) / "metrics")
        self.database = open_mongodb(mongodb_url(settings), heartbeat_s=HEARTBEAT_S)
        self.redis = open_redis(redis_url(settings))
        self.health = Health(self._facts)
        self._keeper = JournalKeeper(settings.state_dir, run_dir(settings), name)
        self.journal = self._keeper.journal
        self.table = Table(settings.hot_links)
        self.book = AnswerBook(time.time())
        self.audit = AuditLog(self.database, now_s=time.time, token_bytes=secrets.token_bytes)
        self.jobs = JobQueue(self.database, kept_s=settings.jobs_kept)
        write_notes = Asking(self.jobs, self.audit.write).write if settings.titles == "on" else self.audit.write
        links = LinkStore(self.database, kept_s=settings.deleted_kept, write_notes=write_notes)
        cache = LinkCache(self.redis)
        self.breakers = {store: Breaker(store, time.monotonic) for store in BREAKERS}
        self.resolver = Resolver(
            table=self.table,
            cache=cache,
            links=links,
            redis_breaker=self.breakers["redis"],
            mongodb_breaker=self.breakers["mongodb"],
            stale_max_s=settings.stale_max,
            wall=time.time,
        )
        self.channel = Channel(
            client=self.redis,
            table=self.table,
            resolver=self.resolver,
            monotonic=time.monotonic,
            wall=time.time,
        )
        self.hasher = PasswordHasher()
        domains = DomainStore(self.database, self.redis, links, self.audit.write)
        self.domains = DomainWatch(domains, self._on_domains)
        self.hosts = Hosts(
            authority_of(settings.public_url)[0], is_strict=settings.unknown_hosts == "404", is_complete=False
        )
        self._ours = own_authorities(settings)
        self.countries = CountryFinder(settings.geoip_db, self._log.warning)
        self.limiter = Limiter(self.redis, self.breakers["limits"], Buckets(time.monotonic))
        self.specials = Specials(
            table=self.table,
            visitors=Visitors(
                trusted=settings.trusted_proxies,
                country=self.countries.find,
                country_header=settings.country_header,
            ),
            visits=Visits(links, self.breakers["visits"]),
            passwords=PasswordDesk(self.limiter, self.hasher),
        )
        self.hub = Hub(self.redis)
        self.keys = KeyRing(self.database, self.audit, monotonic=time.monotonic, now_s=lambda: int(time.time()))
        self.gate = self._make_gate(self._make_application(links, cache))
        self.gauges = Gauges(
            metrics=self.metrics,
            gate=self.gate,
            hub=self.hub,
            resolver=self.resolver,
            journal=self.journal,
            limiter=self.limiter,
            breakers=self.breakers,
            processes=self.settings.web_processes or web_processes(),
            memory_limit=self.settings.memory_limit,
            monotonic=time.monotonic,
        )
        self._listeners: list[Listener] = []
        self._metrics_server: httpserver.HTTPServer | None = None
        self._tasks: list[asyncio.Task[Any]] = []

    async def start(self) -> None:
        """Opens the sockets; stores are waited for in the background."""
        loop = asyncio.get_running_loop()
        run = run_dir(self.settings)
        self._keeper.start()
        path = run / f"{self.name}.sock"
        for sock in (listen(self.settings.host, self.settings.port), listen_privately(path), *self._for_proxy()):
            self._listeners.append(Listener(sock, self.gate, loop))
        self._serve_metrics()
        works = (self.channel.run(), self.domains.run(), self.hub.run(), self._probe(), self._tick())
        self._tasks += [loop.create_task(work) for work in (self._prepare_stores(), *works)]
        self.health.is_prepared = False
        self.health.is_serving = True
        self._log.info("started", port=self.settings.port, compiled=is_compiled())

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; raises what ended a part that must not end."""
        stopping: asyncio.Task[Any] = asyncio.create_task(stop.wait())
        while not stop.is_set():
            done, _ = await asyncio.wait({stopping, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in done & set(self._tasks):
                self._tasks.remove(task)
                task.result()

    async def finish(self) -> None:
        """Answers what was asked, then ends; at most DRAIN_S."""
        self.health.is_draining = True
        self.gate.drain()
        self.hub.end()
        if self._metrics_server is not None:
            self._metrics_server.stop()
        await asyncio.gather(*(listener.close() for listener in self._listeners))
        deadline = time.monotonic() + DRAIN_S
        while self.gate.connections and time.monotonic() < deadline:  # noqa: ASYNC110  they end by themselves
            await asyncio.sleep(0.01)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.resolver.close()
        await self.specials.close()
        self.hasher.close()
        await self._keeper.end()
        self.gauges.publish()
        self.journal.close()
        await self.redis.aclose()
        await self.database.client.close()

    def _for_proxy(self) -> Iterator[socket.socket]:
        """The socket that a proxy of this machine chooses this process by, if there is to be one."""
        folder = self.settings.proxy_sockets
        if folder is not None:
            try:
                yield listen_for_group(folder / f"{self.name}.sock")
            except OSError as error:
                self._log.error("proxy cannot reach this process", folder=str(folder), reason=str(error))

    def _make_gate(self, application: web.Application) -> Gate:
        settings, trusted = self.settings, Networks(self.settings.trusted_proxies)

        def remote(peer: bytes, headers: list[tuple[bytes, bytes]]) -> tuple[str, str]:
            return client_address(peer, headers, trusted)

        gate = Gate(
            table=self.table,
            book=self.book,
            hosts=self.hosts,
            resolver=self.resolver,
            specials=self.specials,
            scans=Scans(settings.unknown_rate, time.monotonic),
            append=self.journal.append,
            make_exchange=lambda owner: TornadoExchange(owner, gate, application, remote),
            call_soon=asyncio.get_running_loop().call_soon,
            now=time.time,
            connections_max=raise_descriptors() - SPARE_DESCRIPTORS,
        )
        gate.lane.second = int(time.monotonic())
        return gate

    def _make_application(self, links: LinkStore, cache: LinkCache) -> web.Application:
        settings = self.settings
        users = UserBook(
            self.database,
            self.audit,
            self.hasher,
            cost=settings.password_cost,
            monotonic=time.monotonic,
            now_s=time.time,
            token_hex=secrets.token_hex,
        )
        chance = Chance(secrets.token_bytes)
        services = Services(
            settings=settings,
            database=self.database,
            catalog=Catalog(
                store=links,
                cache=cache,
                now_ms=lambda: int(time.time() * 1000),
                randbits=chance.bits,
                randbelow=chance.below,
                ours=self._ours,
                on_unannounced=lambda error: self._log.warning("change not announced", reason=reason_of(error)),
                options_of=self.domains.options_of,
            ),
            links=links,
            domains=self.domains,
            hosts=self.hosts,
            hub=self.hub,
            hasher=self.hasher,
            keys=self.keys,
            users=users,
            factors=SecondFactors(self.database, self.audit, now_s=time.time, token_bytes=secrets.token_bytes),
            sessions=Sessions(
                self.redis,
                users,
                idle_s=settings.session_idle,
                life_s=settings.session_life,
                now_s=time.time,
                token=secrets.token_urlsafe,
            ),
            sign_on=make_sign_on(settings, self.redis, users),
            tries=Tries(self.limiter, self.redis),
            audit=self.audit,
            limiter=self.limiter,
            quota=Quota(self.limiter, time.monotonic),
            health=self.health,
            dashboard=Assets(has_sign_on=settings.oidc_issuer is not None),
            jobs=self.jobs,
            ring=lambda: ring(self.redis),
            webhooks=WebhookStore(self.database, self.audit, owner_max=settings.webhooks_max),
            receivers=make_fetcher(settings),
            now_s=time.time,
            token_bytes=secrets.token_bytes,
            token=secrets.token_urlsafe,
        )
        self.health.add("redis", self.redis.ping)
        self.health.add("mongodb", lambda: self.database.command("ping"))
        return make_application(services, self.metrics.on_request)

    def _on_domains(self, known: Mapping[str, DomainOptions]) -> None:
        self.hosts.set_domains(known)
        self._ours.clear()
        self._ours.update(own_authorities(self.settings, filter(None, known)))

    def _serve_metrics(self) -> None:
        class MetricsHandler(web.RequestHandler):
            def get(handler) -> None:  # noqa: N805  `self` is the process
                handler.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                handler.write(self.metrics.exposition(handler.get_query_argument("program", None)))

        application = web.Application([(r"/metrics", MetricsHandler)], log_function=lambda handler: None)
        server = httpserver.HTTPServer(application)
        sockets = netutil.bind_sockets(
            self.settings.metrics_port, self.settings.metrics_host, reuse_port=True, backlog=64
        )
        server.add_sockets(sockets)
        self._metrics_server = server

    async def _prepare_stores(self) -> None:
        """Schema and admin key; tried until MongoDB is there."""

        async def on_usable() -> None:
            key = self.settings.admin_key or read_admin_key(self.settings.state_dir)
            if key is not None:
                await self.keys.add(key, "admin")
            self.health.is_prepared = True

        await bring_up(self.database, f"{node_id(self.settings.state_dir)}/{self.name}", on_usable)

    async def _probe(self) -> None:
        """Says in metrics whether each store answers, also when nobody asks it; takes a new file of countries."""
        while True:
            for store, state in (await self.health.parts()).items():
                self.metrics.set("store_up", float(state == "ok"), store)
            self.countries.refresh()
            await asyncio.sleep(PROBE_S)

    async def _tick(self) -> None:
        """Once a second: the Date, time-outs, counts; how late it comes is the loop's lag."""
        while True:
            now_s = time.time()
            self.gate.tick(now_s, int(time.monotonic()))
            self.journal.tick(int(now_s * 1000))
            self.gauges.publish()
            before_s = time.monotonic()
            pause_s = 1.0 - now_s % 1.0
            await asyncio.sleep(pause_s)
            self.metrics.set("loop_lag", max(0.0, time.monotonic() - before_s - pause_s))

    def _facts(self) -> dict[str, Any]:
        return {
            "program": self.name,
            "hot_path": "compiled" if is_compiled() else "interpreted",
            "breakers": {store: BreakerState(b.state).name.lower() for store, b in self.breakers.items()},
            "channel": "live" if self.channel.is_live else "deaf",
            "hot_links": len(self.table),
            "journal": {"appended": self.journal.appended, "dropped": self.journal.dropped},
        }


def own_authorities(settings: Settings, domains: Iterable[str] = ()) -> set[tuple[str, int]]:
    """(host, port) of every address of this instance: a link that leads to one would lead in a circle."""
    own = {authority_of(settings.public_url), (settings.host, settings.port), ("localhost", settings.port)}
    return own | {(name, port) for name in domains for port in (80, 443, settings.port)}


def read_admin_key(state: Path) -> str | None:
    """The admin key that `boltlink up` made, if there is one."""
    try:
        return (state / "admin-key").read_text().strip() or None
    except OSError:
        return None


def is_compiled() -> bool:
    """Whether the hot path runs as compiled code."""
    import app.front.connection as hot  # noqa: PLC0415

    return not hot.__file__.endswith(".py")


async def main(settings: Settings, name: str, stop: asyncio.Event) -> None:
    """One web process until it is told to stop."""
    refuse_second(run_dir(settings), name)
    process = WebProcess(settings, name)
    await process.start()
    calm_collector()
    try:
        await process.run(stop)
    finally:
        await process.finish()


if __name__ == "__main__":
    sys.exit(run_program("web_0", main))
