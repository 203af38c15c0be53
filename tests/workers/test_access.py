"""The access log holds each redirect of an applied batch once, also when the batch had to be read again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from pymongo.errors import AutoReconnect

from app.analytics import INDEXES, AccessLog, Ledger
from app.observe import RotatedLog
from app.stores import Shape, make_schema
from tests.conftest import Stores
from tests.workers.node import FOLDING, Node, drain


def test_each_redirect_is_written_once_when_it_is_applied(tmp_path: Path, with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        await make_schema(stores.database, Shape(INDEXES))
        path = tmp_path / "access.log"
        node = Node(stores.database, tmp_path / "journal", 1)
        lost = ["commit"]

        def trace(name: str) -> None:
            if [name] == lost:
                assert not path.exists()
                lost.clear()
                raise AutoReconnect("the connection is gone")

        access = AccessLog(
            RotatedLog(path), FOLDING.describe_with_address, share=1.0, has_addresses=False, program="aggregator"
        )
        ledger = Ledger(stores.database, "00000001-0", trace=trace)
        aggregator = node.new_aggregator(ledger, access=access, on_applied=lambda batch: access.write(batch.access))
        node.append(40)
        await aggregator.loop(flush=True)
        await aggregator.loop(flush=True)  # hears that nobody knows
        await drain(aggregator)
        assert lost == []
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert len(lines) == node.expected.total()
        await aggregator.close()
        await node.close()

    with_stores(scenario)
