"""Who watches hears of what the aggregator has applied, once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pymongo.errors import AutoReconnect

from app.analytics import INDEXES, Ledger
from app.feed import ALL_LINKS, Seen, Tap
from app.stores import Shape, make_schema
from tests.conftest import Stores
from tests.workers.node import FOLDING, Node, drain


def test_who_watches_hears_of_each_visit_once_when_it_is_applied(
    tmp_path: Path, with_stores: Callable[..., None]
) -> None:
    async def scenario(stores: Stores) -> None:
        await make_schema(stores.database, Shape(INDEXES))
        node = Node(stores.database, tmp_path / "journal", 1)
        told: list[Seen] = []
        lost = ["commit"]

        def trace(name: str) -> None:
            if [name] == lost:
                assert told == []
                lost.clear()
                raise AutoReconnect("the connection is gone")

        tap = Tap(FOLDING.describe, monotonic=lambda: 1.0)
        ledger = Ledger(stores.database, "00000001-0", trace=trace)
        aggregator = node.new_aggregator(ledger, tap=tap, on_applied=lambda batch: told.extend(batch.glimpse.seen))
        node.append(20)
        await aggregator.loop(flush=True)
        await aggregator.loop(flush=True)  # hears that nobody knows
        await drain(aggregator)
        assert told == []  # nobody watched
        tap.want([ALL_LINKS])
        lost.append("commit")
        before = node.expected.total()
        node.append(20)
        await drain(aggregator)
        assert len(told) == node.expected.total() - before
        assert {seen.browser for seen in told} == {"Firefox"}
        assert len({(seen.time_ms, seen.link) for seen in told}) > 1
        await aggregator.close()
        await node.close()

    with_stores(scenario)
