"""What benches change of the process that tries them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture
def own_cpus() -> Iterator[None]:
    """The load is kept on one CPU; whatever is tested after it is not."""
    before = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, before)
