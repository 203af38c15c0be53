"""Sessions where Redis does not answer; what else ends them: tests/api/test_session.py."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from app.accounts import Sessions
from app.stores import open_redis
from tests.api.service import With, make_services
from tests.conftest import Stores


def test_a_redis_that_hangs_is_away_within_seconds(with_stores: With, tmp_path: Path) -> None:
    async def scenario(stores: Stores) -> None:
        users = make_services(stores).users
        with socket.socket(socket.AF_UNIX) as silent:  # takes connections, as a stopped Redis does, and says nothing
            silent.bind(str(tmp_path / "s"))
            silent.listen()
            client = open_redis(f"unix://{tmp_path / 's'}")
            sessions = Sessions(client, users, idle_s=9, life_s=9, now_s=lambda: 0.0, token=lambda size: "t")
            async with asyncio.timeout(6):
                for call in (sessions.find, sessions.end):
                    with pytest.raises(RedisError):
                        await call("t")
            await client.aclose()

    with_stores(scenario)
