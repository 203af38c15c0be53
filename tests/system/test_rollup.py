"""Rollup in the real tree, killed again and again: each click is in one day and one month, and no query wavers."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import Any

import pytest

from app.analytics import CLICKS_NODE
from app.stores import mongodb_url, open_mongodb
from tests import fetch
from tests.analytics.clicks import add_clicks, minute_of
from tests.conftest import wait_for
from tests.system.conftest import Tree
from tests.system.test_coherence import TARGET, settings_of

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

DAYS = 40
NODES = 20
KILLS = 6
CLICKS = DAYS * NODES
RANGE = {"from": "2026-03-01", "to": "2026-04-10"}


async def fill(tree: Tree, slug: str) -> None:
    """A click on each of DAYS days at each of NODES nodes, of a link and beside it of some that nobody made."""
    database = open_mongodb(mongodb_url(settings_of(tree)))
    row = await database["links"].find_one({"_id": f"/{slug}"})
    assert row is not None
    first = minute_of("2026-03-01T12:00Z")
    minutes = [first + day * 1_440 for day in range(DAYS)]
    for node in range(NODES):
        links = (int(row["link"]), *range(1, 6))
        await add_clicks(database, [(link, minute) for link in links for minute in minutes], node=f"n-{node}")
    await database.client.close()


async def left(tree: Tree) -> int:
    database = open_mongodb(mongodb_url(settings_of(tree)))
    count = await database[CLICKS_NODE].count_documents({"day": {"$lt": 20260501}})
    await database.client.close()
    return count


def ask(tree: Tree, slug: str, **query: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {tree.key}"}
    answer = fetch.get(f"{tree.url}/api/v1/links/{slug}/stats", params={**RANGE, **query}, headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_days_are_moved_once_whenever_rollup_dies(running: Tree) -> None:
    slug = running.shorten(TARGET)
    pid = running.pids()["rollup"]
    os.kill(pid, signal.SIGSTOP)
    asyncio.run(fill(running, slug))
    os.kill(pid, signal.SIGKILL)  # the next one has much to do
    kills = 0

    def is_moved() -> bool:
        nonlocal pid, kills
        assert ask(running, slug)["clicks"] == CLICKS  # wherever each click is just now
        found = running.pids()["rollup"]
        if found != pid and found and kills < KILLS:
            pid, kills = found, kills + 1
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return kills == KILLS and asyncio.run(left(running)) == 0

    wait_for(is_moved, limit_s=120)
    assert [point["clicks"] for point in ask(running, slug)["series"]] == [NODES] * DAYS
    months = ask(running, slug, **{"from": "2026-03-01", "to": "2026-05-01", "unit": "month"})
    assert [point["clicks"] for point in months["series"]] == [31 * NODES, 9 * NODES]
    headers = {"Authorization": f"Bearer {running.key}"}
    assert fetch.get(f"{running.url}/api/v1/links/{slug}", headers=headers).json()["clicks"] == CLICKS
    assert "days moved" in running.command("logs", "rollup").stdout
    wait_for(lambda: "boltlink_rollup_active 1.0" in fetch.get(running.metrics_url).text)
