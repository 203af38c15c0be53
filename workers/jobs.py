"""Does background jobs, and turns changes of links into deliveries to webhooks: `python -m workers.jobs`.

In: documents of `jobs` (`app.jobs`). Out: what each kind does. Any number of these programs work side by side, on any
nodes; what one of them must do alone goes by lease. Redis only wakes them.

SIGTERM: nothing more is claimed, what runs has 8 seconds, the rest is given back for others to do.
kill -9 anywhere: claims run out within 15 seconds, and others go on. May import: everything below it.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import sys
import time
from collections.abc import Sequence

from pymongo.errors import PyMongoError

from app.accounts import AuditLog
from app.checks import Checker, Rounds
from app.checks import make_page_reader as make_check_reader
from app.jobs import Bell, JobQueue, JobState, Kind, Runner, ring
from app.links import Catalog, LinkCache, LinkStore, LinkWalk
from app.observe import Metrics, get_logger, reason_of
from app.process import calm_collector, node_id, refuse_second, run_program, wait_for_data, work_by_lease
from app.settings import Settings
from app.stores import Database, Lease, RedisClient, mongodb_url, open_mongodb, open_redis, redis_url, run_dir
from app.titles import TitleReader, make_page_reader
from app.webhooks import Deliverer, FanOut, WebhookStore, make_fetcher

__all__ = ["make_catalog", "make_kinds", "publish"]

PUBLISH_S = 1.0
PAUSE_S = 0.5  # between two looks for the first webhook
STEP_S = 5.0  # between two looks for links whose pages are due
COUNT_S = 5.0  # between two looks at what waits and what is dead


async def main(settings: Settings, name: str, stop: asyncio.Event) -> None:
    """Works until stopped."""
    refuse_second(settings.state_dir, name)
    metrics = Metrics(name, run_dir(settings) / "metrics")
    database = open_mongodb(mongodb_url(settings))
    client = open_redis(redis_url(settings))
    bell = Bell(client)
    queue = JobQueue(database, kept_s=settings.jobs_kept)
    audit = AuditLog(database, now_s=time.time, token_bytes=secrets.token_bytes)
    store = WebhookStore(database, audit, owner_max=settings.webhooks_max)
    delivering = Deliverer(database, store, queue, make_fetcher(settings), public_url=settings.public_url)
    catalog = make_catalog(settings, database, client, audit)
    kinds = make_kinds(settings, catalog, audit, delivering)
    runner = Runner(queue, kinds, bell, run=secrets.token_hex(8), chance=random.random)
    calm_collector()
    get_logger().info("started", kinds=[kind.name for kind in kinds])
    holder = f"{node_id(settings.state_dir)}/{name}"

    def lease_of(work: str) -> Lease:
        return Lease(database, work, holder=holder, monotonic=time.monotonic)

    async def on_jobs() -> None:
        bell.ring()
        await ring(client)

    telling, checking = lease_of("webhooks"), lease_of("checks")
    fanout = FanOut(database, telling, store, queue, on_jobs=on_jobs)
    rounds = Rounds(LinkWalk(database), checking, queue, every_s=settings.checks_every, on_jobs=on_jobs)
    beside = [asyncio.create_task(work) for work in (publish(runner, queue, kinds, metrics), bell.listen())]
    try:
        await wait_for_data(database, stop)
        work = [runner.work(stop), work_by_lease(telling, fanout, stop, pause_s=PAUSE_S)]
        if settings.checks == "on":
            work.append(work_by_lease(checking, rounds, stop, pause_s=STEP_S))
        await asyncio.gather(*work)
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await client.aclose()
        await database.client.close()


def make_kinds(settings: Settings, catalog: Catalog, audit: AuditLog, delivering: Deliverer) -> list[Kind]:
    """All that are done here; the API lists the same."""
    titles = TitleReader(catalog, audit, make_page_reader(settings), is_on=settings.titles == "on")
    checks = Checker(catalog, audit, make_check_reader(settings), is_on=settings.checks == "on")
    return [titles.kind(), checks.kind(), delivering.kind()]


def make_catalog(settings: Settings, database: Database, client: RedisClient, audit: AuditLog) -> Catalog:
    """Through which links are changed by what was found of their pages."""
    return Catalog(
        store=LinkStore(database, kept_s=settings.deleted_kept, write_notes=audit.write),
        cache=LinkCache(client),
        now_ms=lambda: int(time.time() * 1000),
        randbits=secrets.randbits,
        randbelow=secrets.randbelow,
        ours=(),  # no target is changed here
        on_unannounced=lambda error: get_logger().warning("change not announced", reason=reason_of(error)),
    )


async def publish(runner: Runner, queue: JobQueue, kinds: Sequence[Kind], metrics: Metrics) -> None:
    """Says in metrics what was done and what waits, until cancelled."""
    names = [kind.name for kind in kinds]
    urgent = [kind.name for kind in kinds if not kind.may_wait]
    counted_s = float("-inf")
    loop = asyncio.get_running_loop()
    while True:
        for (kind, result), count in runner.results.items():
            metrics.count_to("jobs", count, kind, result)
        metrics.set("jobs_running", runner.running)
        metrics.count_told()
        if loop.time() - counted_s >= COUNT_S:
            counted_s = loop.time()
            try:
                metrics.set("jobs_due", await queue.count(JobState.READY, names))
                metrics.set("jobs_oldest", await queue.oldest_s(urgent))
                metrics.set("jobs_dead", await queue.count(JobState.DEAD, names))
            except PyMongoError:
                counted_s -= COUNT_S / 2  # the runner says that MongoDB does not answer
        await asyncio.sleep(PUBLISH_S)


if __name__ == "__main__":
    sys.exit(run_program("jobs_0", main))
