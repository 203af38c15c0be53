"""Sets of real Redis servers, for the tests of one module."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores.servers import RedisCluster, SentinelSet, cluster_ports
from tests.system.conftest import free_ports


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="bl-sets-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def sentinels(folder: Path) -> Iterator[SentinelSet]:
    servers = SentinelSet(folder / "s", free_ports(6))
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[RedisCluster]:
    servers = RedisCluster(folder / "c", cluster_ports(RedisCluster.NODES))
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()
