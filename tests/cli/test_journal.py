"""`boltlink journal inspect`: positions, what waits and since when, damage; with MongoDB and without."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.analytics import Ledger
from app.journal import REDIRECT_GET, Journal, create_source
from app.stores import mongodb_url
from tests.cli.command import boltlink
from tests.conftest import Engines, Stores

RECORD_BYTES = 64
HEADER_BYTES = 16


async def inspect(state: Path, url: str) -> list[dict[str, Any]]:
    environ = {"BOLTLINK_STATE_DIR": str(state), "BOLTLINK_MONGODB_URL": url, "COLUMNS": "80"}
    said = await boltlink("journal", "inspect", "--json", environ=environ)
    assert said.status == 0, said.err
    rows: list[dict[str, Any]] = json.loads(said.out)
    table = await boltlink("journal", "inspect", environ=environ)
    assert all(row["source"] in table.out for row in rows)
    return rows


def test_each_source_is_shown_with_what_waits_and_what_is_damaged(
    tmp_path: Path, engines: Engines, with_stores: Callable[..., None]
) -> None:
    async def scenario(stores: Stores) -> None:
        url = mongodb_url(engines.settings).replace("/?", f"/{stores.database.name}?")
        source, lock = create_source(tmp_path / "journal", "web_0", bytes(8))
        journal = Journal(source)
        now_ms = time.time_ns() // 1_000_000
        for age_ms in (60_000, 50_000, 40_000, 30_000):
            assert journal.append(b"0123456789", now_ms - age_ms, bytes(8), 0, REDIRECT_GET, bytes(16))
        second, end = HEADER_BYTES + RECORD_BYTES, HEADER_BYTES + 4 * RECORD_BYTES
        assert journal.position == end
        await Ledger(stores.database, "n-0").apply(source.name, 0, second, {})
        (row,) = await inspect(tmp_path, url)
        assert 50 <= row.pop("lag_s") < 60
        assert row == {
            "source": source.name,
            "writer": "alive",
            "segments": 2,
            "end": end,
            "applied": second,
            "waiting": 3,
            "damaged": 0,
            "given_up": False,
        }
        with source.segment_path(0).open("r+b") as file:
            file.seek(HEADER_BYTES + 2 * RECORD_BYTES + 20)
            file.write(b"\xff")
        (row,) = await inspect(tmp_path, url)
        assert (row["waiting"], row["damaged"], row["end"]) == (2, 1, end)
        os.close(lock)
        await Ledger(stores.database, "n-0").apply(source.name, second, end, {})
        (row,) = await inspect(tmp_path, url)
        assert (row["writer"], row["waiting"], row["lag_s"]) == ("gone", 0, 0)
        journal.close()

    with_stores(scenario)


def test_without_mongodb_everything_on_disk_waits(tmp_path: Path) -> None:
    source, lock = create_source(tmp_path / "journal", "web_0", bytes(8))
    journal = Journal(source, lock)
    assert journal.append(b"h", 1_000, bytes(8), 0, REDIRECT_GET, bytes(16))
    (row,) = asyncio.run(inspect(tmp_path, "mongodb://127.0.0.1:9/?replicaSet=none"))
    assert (row["applied"], row["waiting"]) == (None, 1)
    journal.close()
