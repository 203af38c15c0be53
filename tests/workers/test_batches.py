"""When a batch begins and ends, and what is said to be counted meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from app.analytics import Ledger
from app.journal import list_sources
from tests.conftest import Stores
from tests.workers.node import DAY_MS, Node, drain
from workers.applying import Aggregator


def test_lag_is_that_of_the_oldest_click_that_is_not_applied_read_or_not(with_node: Callable[..., None]) -> None:
    async def scenario(node: Node, stores: Stores) -> None:
        intake = node.aggregator.intake
        assert intake.lag_s == 0
        node.append(1)
        first_ms = node._time_ms
        node._time_ms += 5_000
        assert intake.lag_s == pytest.approx(5)  # nothing was opened yet
        node.append(1)
        node._time_ms = first_ms + 60_000
        assert intake.lag_s == pytest.approx(60)
        await drain(node.aggregator)
        assert intake.lag_s == 0

    with_node(scenario)


def test_lag_does_not_count_what_was_applied_before_the_store_went_away(with_node: Callable[..., None]) -> None:
    async def scenario(node: Node, stores: Stores) -> None:
        intake = node.aggregator.intake
        node.append(3)
        await drain(node.aggregator)
        node._time_ms += 3_600_000
        intake.reset()
        intake.reset()  # it is tried again and again
        assert intake.lag_s == 0
        node.append(1)
        node._time_ms += 5_000
        assert intake.lag_s == pytest.approx(5)
        await drain(node.aggregator)
        assert intake.lag_s == 0

    with_node(scenario)


def test_as_of_says_that_all_before_is_counted_also_while_more_comes(with_node: Callable[..., None]) -> None:
    async def scenario(node: Node, stores: Stores) -> None:
        node.aggregator = Aggregator(
            intake=node.aggregator.intake,
            ledger=Ledger(stores.database, "00000001-0"),
            buckets_max=2,
            coalesce_s=0,
        )
        node.append(40)
        await node.aggregator.loop()
        await node.aggregator.loop()
        row = await stores.database["checkpoints"].find_one({"_id": "aggregator/00000001-0"})
        assert row is not None
        counted = await node.counted()
        before = row["as_of"]
        assert before < datetime.fromtimestamp(node._time_ms / 1000, UTC)
        for (link, day), clicks in node.expected.items():
            if datetime.fromtimestamp((day + 1) * DAY_MS / 1000, UTC) <= before:
                assert counted[link, day] == clicks

    with_node(scenario)


def test_a_batch_waits_until_it_is_time_but_the_first_click_does_not(with_node: Callable[..., None]) -> None:
    async def scenario(node: Node, stores: Stores) -> None:
        now_s = [100.0]
        aggregator = Aggregator(
            intake=node.aggregator.intake,
            ledger=Ledger(stores.database, "00000001-0"),
            monotonic=lambda: now_s[0],
            coalesce_s=0.5,
        )
        node.append(1)
        assert await aggregator.loop()
        await aggregator.loop()
        assert aggregator.counts.batches == 1
        node.append(3)
        now_s[0] += 0.4
        assert not await aggregator.loop()
        node.append(3)
        now_s[0] += 0.2
        assert await aggregator.loop()
        await aggregator.loop()
        assert (aggregator.counts.batches, aggregator.is_idle) == (2, True)

    with_node(scenario)


def test_a_batch_ends_although_clicks_come_all_the_time(with_node: Callable[..., None]) -> None:
    async def scenario(node: Node, stores: Stores) -> None:
        def click() -> None:
            node._append("web_0", node._first_link, is_click=True)
            node.expected[node._first_link, node._time_ms // DAY_MS] += 1

        async def click_for_ever() -> None:
            while True:
                click()
                await asyncio.sleep(0)

        node.append(1)
        click()
        await drain(node.aggregator)  # its source is open, its day's salt is known: nothing is waited for
        click()
        visitors = asyncio.create_task(click_for_ever())
        gathered = await node.aggregator.intake.gather(2_000)
        visitors.cancel()
        assert gathered is not None
        assert (gathered.is_full, gathered.batch.records) == (False, 1)

    with_node(scenario)


def test_a_dead_source_goes_although_clicks_come_all_the_time(with_node: Callable[..., None]) -> None:
    async def scenario(node: Node, stores: Stores) -> None:
        node.append(1)
        (dead,) = list_sources(node._folder)
        node.kill_writer()
        for _ in range(10):
            node.append(1)
            await node.aggregator.loop()
        (living,) = list_sources(node._folder)
        assert living.name != dead.name

    with_node(scenario)
