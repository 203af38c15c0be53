"""Applies the journals of this node to statistics: `python -m workers.aggregator`.

In: `<state>/journal/*`, as web processes append to it. Out: `clicks_node` and checkpoints, exactly once
(`app.analytics.ledger`); then the applied segments are given back.

How a batch is made and applied: `workers.applying`; this is the program around it.

Who watches visits live hears of them when they are applied (`app.feed`); nothing here waits for Redis.

A source belongs to one aggregator for life, by a hash of its name; a lock on the aggregator's slot keeps a second one
of the same slot out.

kill -9 anywhere: the transaction happened or not, the checkpoint says which, and the next run goes on there.
May import: everything below it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import sys
import time
from datetime import UTC, datetime

import redis.asyncio
from pymongo.errors import PyMongoError

from app.agents import CountryFinder, TraitsReader
from app.analytics import (
    AccessLog,
    BucketKey,
    Folding,
    Gathered,
    HotLinks,
    Intake,
    Ledger,
    Salts,
)
from app.feed import Publisher, Tap
from app.observe import Metrics, RotatedLog, get_logger, reason_of
from app.process import calm_collector, node_id, refuse_second, run_program
from app.settings import Settings
from app.stores import (
    Database,
    check_data,
    mongodb_url,
    open_mongodb,
    open_redis,
    redis_url,
    run_dir,
)
from workers.applying import Aggregator

__all__ = ["COLLECT_OBJECTS"]

COLLECT_OBJECTS = 50_000  # folding makes no cycles: looking for them as Python does took a fifth of its time
PAUSE_S = 0.1  # between looks at journals that had nothing new
BACK_OFF_S = (0.2, 0.5, 1.0, 2.0)  # after failures in a row
DRAIN_S = 5.0  # when told to end: what is on disk then waits for the next run
NOTE_S = 1.0  # between two words of an idle aggregator on how far statistics reach
PUBLISH_S = 1.0  # between two publications of counts
REFRESH_S = 60.0  # between two looks at the file of countries


def make_aggregator(
    settings: Settings, database: Database, client: redis.asyncio.Redis, name: str, slot: int
) -> tuple[Aggregator, CountryFinder, Publisher]:
    """The aggregator of a slot, what finds countries for it, and what tells of it."""
    log = get_logger()
    countries = CountryFinder(settings.geoip_db, log.warning)
    folding = Folding(
        traits=TraitsReader(),
        countries=countries,
        trusted=settings.trusted_proxies,
        excluded=settings.excluded_networks,
        country_header=settings.country_header or "",
    )

    def on_refused(key: BucketKey, reason: str) -> None:
        aggregator.counts.set_aside += 1
        log.error("bucket refused by MongoDB, set aside", link=f"{key[0]:016x}", day=key[1], reason=reason)

    tap = Tap(folding.describe, monotonic=time.monotonic)
    publisher = Publisher(client, database, tap)
    access = open_access_log(settings, name, folding)

    def on_applied(gathered: Gathered) -> None:
        publisher.offer(gathered.glimpse)
        if access is not None:
            access.write(gathered.access)

    intake = Intake(
        journal=settings.state_dir / "journal",
        folding=folding,
        salts=Salts(database, random=secrets.token_bytes, now=lambda: datetime.now(UTC)),
        slot=slot,
        slots=settings.aggregators,
        wall=time.time,
        monotonic=time.monotonic,
        tap=tap,
        access=access,
    )
    ledger = Ledger(database, f"{node_id(settings.state_dir)}-{slot}", on_refused=on_refused)
    hot = HotLinks(run_dir(settings) / "hot" / f"{name}.json", monotonic=time.monotonic)
    aggregator = Aggregator(intake=intake, ledger=ledger, on_applied=on_applied, hot=hot)
    return aggregator, countries, publisher


def open_access_log(settings: Settings, name: str, folding: Folding) -> AccessLog | None:
    """The access log of an aggregator; None when there shall be none."""
    if not settings.access_log_sample:
        return None
    return AccessLog(
        RotatedLog(settings.state_dir / "log" / f"{name.replace('aggregator', 'access')}.log"),
        folding.describe_with_address,
        share=settings.access_log_sample,
        has_addresses=settings.audit_addresses == "on",
        program=name,
    )


async def main(settings: Settings, name: str, stop: asyncio.Event) -> None:
    """Opens, loops until stopped, applies what waits for up to DRAIN_S more."""
    slot = int(name.rpartition("_")[2]) if "_" in name else 0
    refuse_second(settings.state_dir, f"aggregator-{slot}")
    metrics = Metrics(name, run_dir(settings) / "metrics")
    database = open_mongodb(mongodb_url(settings))
    client = open_redis(redis_url(settings))
    aggregator, countries, publisher = make_aggregator(settings, database, client, name, slot)
    calm_collector(COLLECT_OBJECTS)
    get_logger().info("started", slot=slot)
    publishing = asyncio.create_task(publisher.run())
    publishing.add_done_callback(_on_published)
    try:
        await _drive(aggregator, countries, publisher, metrics, stop, database)
    finally:
        publishing.cancel()
        await aggregator.close()
        await client.aclose()
        await database.client.close()


def _on_published(publishing: asyncio.Task[None]) -> None:
    """Those who watch live hear nothing more; clicks are counted all the same."""
    if not publishing.cancelled() and (error := publishing.exception()) is not None:
        get_logger().error("live feed failed", exc_info=error)


async def _drive(
    aggregator: Aggregator,
    countries: CountryFinder,
    publisher: Publisher,
    metrics: Metrics,
    stop: asyncio.Event,
    database: Database,
) -> None:
    failures = 0
    is_checked = False
    published_s = noted_s = refreshed_s = 0.0
    ends_s = math.inf
    while True:
        stopping = stop.is_set()
        ends_s = min(ends_s, time.monotonic() + DRAIN_S) if stopping else ends_s
        began_s = time.time()
        try:
            if not is_checked:
                await check_data(database)
                is_checked = True
            is_more = await aggregator.loop(flush=stopping)
            if aggregator.is_idle and (began_s - noted_s >= NOTE_S or stopping):
                await aggregator.note_progress(began_s)
                noted_s = began_s
            failures = 0
        except PyMongoError as error:
            is_more = False
            failures += 1
            get_logger().warning("MongoDB does not answer", reason=reason_of(error), tries=failures)
        if abs(time.time() - published_s) >= PUBLISH_S or stopping:
            published_s = time.time()
            _publish(aggregator, publisher, metrics)
        if began_s - refreshed_s >= REFRESH_S:
            refreshed_s = began_s
            countries.refresh()
        if stopping and (not is_more or time.monotonic() >= ends_s):
            return
        if not is_more:
            pause_s = BACK_OFF_S[min(failures, len(BACK_OFF_S)) - 1] if failures else PAUSE_S
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause_s)


def _publish(aggregator: Aggregator, publisher: Publisher, metrics: Metrics) -> None:
    counts = aggregator.counts
    metrics.count_to("aggregated", counts.applied)
    metrics.count_to("damaged", aggregator.intake.damaged)
    metrics.count_to("set_aside", counts.set_aside)
    metrics.count_to("given_up", aggregator.intake.given_up)
    metrics.count_to("live_published", publisher.published)
    metrics.count_to("live_dropped", publisher.dropped)
    metrics.count_told()
    metrics.set("lag", aggregator.intake.lag_s)
    if aggregator.hot is not None:
        with contextlib.suppress(OSError):  # a full disk: nobody sees which links are hot
            aggregator.hot.write()


if __name__ == "__main__":
    sys.exit(run_program("aggregator", main))
