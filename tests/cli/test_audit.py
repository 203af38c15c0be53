"""`boltlink audit`: what is lost or doubled, of which link, and when it cannot be said."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bson.int64 import Int64

from app.cli.audit import Found, compare, read_expected
from app.links import join_key
from tests.api.service import ADMIN_KEY, Service, With, serve
from tests.cli.command import Result, boltlink
from tests.conftest import Stores

NOW = datetime.now(UTC)


async def count(api: Service, slug: str, **tallies: int) -> None:
    """Statistics of a new link, as an aggregator would leave them."""
    answer = await api.client.post("/api/v1/links", json={"target": "https://example.com/", "slug": slug})
    assert answer.status_code == 201
    row = await api.services.links.get(join_key("", slug))
    assert row is not None
    day = int(NOW.strftime("%Y%m%d"))
    minutes = {"minutes": bytes([1, tallies["clicks"]])} if "clicks" in tallies else {}
    document = {
        "_id": f"{row.link:016x}-{day}-n-0",
        "link": Int64(row.link),
        "day": day,
        "rev": 1,
        **tallies,
        **minutes,
    }
    await api.stores.database["clicks_node"].insert_one(document)


async def reach(api: Service, moment: datetime) -> None:
    """Statistics reach `moment`."""
    rows = api.stores.database["checkpoints"]
    await rows.update_one({"_id": "aggregator/n-0"}, {"$set": {"as_of": moment}}, upsert=True)


async def audit(api: Service, folder: Path, *rows: dict[str, object], limit: str = "30") -> Result:
    path = folder / "expected"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    environ = {"BOLTLINK_URL": str(api.client.base_url).rstrip("/"), "BOLTLINK_API_KEY": ADMIN_KEY}
    return await boltlink("audit", "--expect", str(path), "--json", "--limit", limit, environ=environ)


def test_what_is_lost_and_doubled_is_said_of_each_link(with_stores: With, tmp_path: Path) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await reach(api, NOW)
            await count(api, "right", clicks=5, bots=2, previews=1, prefetches=1, heads=7)
            await count(api, "less", clicks=5)
            await count(api, "more", clicks=9)
            said = {"slug": "right", "received": 9}, {"slug": "less", "received": 6}, {"slug": "more", "received": 6}
            done = await audit(api, tmp_path, *said, {"slug": "more", "received": 0, "unanswered": 2})
            assert (done.status, done.err) == (1, "boltlink: 1 lost, 1 doubled\n")
            result = json.loads(done.out)
            assert {row["slug"] for row in result.pop("differing")} == {"less", "more"}
            assert result == {"links": 3, "received": 21, "unanswered": 2, "counted": 23, "lost": 1, "doubled": 1}

    with_stores(scenario)


def test_what_was_not_answered_may_be_counted_or_not(with_stores: With, tmp_path: Path) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await reach(api, NOW)
            await count(api, "a", clicks=5)
            await count(api, "b", clicks=6)
            rows = ({"slug": slug, "received": 5, "unanswered": 1} for slug in "ab")
            done = await audit(api, tmp_path, *rows)
            assert (done.status, done.err) == (0, "")

    with_stores(scenario)


def test_statistics_that_do_not_reach_the_file_are_no_answer(with_stores: With, tmp_path: Path) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await reach(api, NOW)
            await count(api, "a", clicks=1)
            at = (NOW + timedelta(seconds=1)).isoformat()
            done = await audit(api, tmp_path, {"slug": "a", "at": at}, limit="0.1")
            assert done.status == 1
            assert "statistics reach" in done.err
            await reach(api, NOW + timedelta(seconds=2))
            assert (await audit(api, tmp_path, {"slug": "a", "at": at})).status == 0

    with_stores(scenario)


def test_a_link_that_is_not_there_is_one_clear_line(with_stores: With, tmp_path: Path) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            done = await audit(api, tmp_path, {"slug": "never"})
            assert (done.status, done.err) == (1, "boltlink: never: There is no such link.\n")

    with_stores(scenario)


def test_lines_of_a_link_add_up_and_the_last_time_counts() -> None:
    lines = [
        '{"slug": "a", "at": "2026-11-24T10:00:00Z"}',
        "",
        '{"slug": "a", "received": 3, "unanswered": 2, "at": "2026-11-24T12:30:00+02:00"}',
        '{"slug": "a", "domain": "x.example"}',
        '{"slug": "b", "at": 1795514400.25}',
    ]
    found = read_expected(lines)
    assert set(found) == {("", "a"), ("x.example", "a"), ("", "b")}
    assert (found["", "a"].received, found["", "a"].unanswered) == (4, 2)
    assert found["", "a"].at == datetime(2026, 11, 24, 10, 30, tzinfo=UTC)
    assert found["", "b"].at == datetime(2026, 11, 24, 10, 0, 0, 250_000, tzinfo=UTC)


@pytest.mark.parametrize(
    "line",
    [
        "x",
        "[]",
        '{"received": 1}',
        '{"slug": "a", "recieved": 1}',
        '{"slug": "a", "received": -1}',
        '{"slug": "a", "at": "2026-11-24T10:00:00"}',
        '{"slug": "a", "at": "yesterday"}',
        '{"slug": "a", "at": 1e30}',
    ],
)
def test_a_line_that_cannot_be_read_is_named(line: str) -> None:
    with pytest.raises(ValueError, match="line 2: "):
        read_expected(['{"slug": "a"}', line])


def test_a_link_too_few_is_not_made_up_for_by_another_too_many() -> None:
    result = compare([Found("a", "", 5, 0, 4), Found("b", "", 5, 0, 6), Found("c", "", 5, 0, 5)])
    assert (result.lost, result.doubled, result.received, result.counted) == (1, 1, 15, 15)
    assert [row.slug for row in result.differing] == ["a", "b"]
