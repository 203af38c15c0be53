"""A node with an aggregator, for scenarios that must count every click once in the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.analytics import INDEXES
from app.stores import Shape, make_schema
from tests.conftest import Stores
from tests.workers.node import Node

Scenario = Callable[[Node, Stores], Any]


@pytest.fixture
def with_node(tmp_path: Path, with_stores: Callable[..., None]) -> Callable[[Scenario], None]:
    """Runs a scenario with a node, which must have counted every click once in the end."""

    def run(scenario: Scenario) -> None:
        async def whole(stores: Stores) -> None:
            await make_schema(stores.database, Shape(INDEXES))
            node = Node(stores.database, tmp_path / "journal", 1)
            await scenario(node, stores)
            await node.settle()
            assert await node.counted() == +node.expected
            await node.close()

        with_stores(whole)

    return run
