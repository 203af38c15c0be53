"""`boltlink stats` and `erase` against a running API."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from app.analytics import Ledger
from tests.analytics.clicks import add_clicks, minute_of
from tests.api.service import ADMIN_KEY, Service, With, serve
from tests.cli.command import boltlink
from tests.conftest import Stores

SPAN = ("--from", "2026-03-01", "--to", "2026-03-03")


def environ_of(api: Service) -> dict[str, str]:
    return {"BOLTLINK_URL": str(api.client.base_url).rstrip("/"), "BOLTLINK_API_KEY": ADMIN_KEY}


async def fill(api: Service) -> None:
    """Two links with a tag; three clicks, one of them the day before."""
    for slug in ("one", "two"):
        wish = {"target": "https://example.com/", "slug": slug, "tags": ["a"]}
        assert (await api.client.post("/api/v1/links", json=wish)).status_code == 201
    row = await api.stores.database["links"].find_one({"_id": "/one"})
    assert row is not None
    times = ["2026-02-28T10:00Z", "2026-03-01T10:00Z", "2026-03-02T10:00Z", "2026-03-02T10:00Z"]
    await add_clicks(api.stores.database, [(row["link"], minute_of(text)) for text in times])


def test_statistics_are_shown_of_one_of_many_and_of_all(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await fill(api)
            environ = environ_of(api)
            one = await boltlink("stats", "one", *SPAN, "--compare", environ=environ)
            assert (one.status, one.err) == (0, "")
            assert one.out.startswith("one  3 clicks  2 visitors  2 by bots  1 clicks before (+200 %)  as of -\n")
            assert "2026-03-02" in one.out
            assert "browsers   Firefox 3" in one.out
            tag = await boltlink("stats", "--tag", "a", *SPAN, environ=environ)
            assert tag.out.startswith("tag a  3 clicks")
            lately = await boltlink("stats", "one", "--from", "7d", "--to", "1h", environ=environ)
            assert (lately.status, lately.out.partition(" clicks")[0]) == (0, "one  0"), lately.err
            everything = await boltlink("stats", *SPAN, "--json", environ=environ)
            assert json.loads(everything.out)["clicks"] == 3
            other = await boltlink("stats", "two", *SPAN, environ=environ)
            assert other.out.startswith("two  0 clicks")

    with_stores(scenario)


def test_tables_are_printed_for_spreadsheets(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await fill(api)
            series = await boltlink("stats", "one", *SPAN, "--csv", "series", environ=environ_of(api))
            assert series.out.splitlines() == [
                "t,clicks",
                "2026-03-01T00:00:00+00:00,1",
                "2026-03-02T00:00:00+00:00,2",
            ]
            wrong = await boltlink("stats", "one", "--csv", "secrets", environ=environ_of(api))
            assert (wrong.status, wrong.out) == (1, "")
            assert wrong.err.startswith("boltlink: of must be one of series, referrers")

    with_stores(scenario)


def test_statistics_are_erased_when_it_is_confirmed(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await fill(api)
            environ = environ_of(api)
            refused = await boltlink("erase", "one", environ=environ)
            assert refused.status == 1
            assert (await boltlink("stats", "one", *SPAN, "--json", environ=environ)).out.startswith('{"clicks": 3')
            await Ledger(stores.database, "n-0").note_progress(datetime.now(UTC) + timedelta(minutes=1))
            erased = await boltlink("erase", "one", "--yes", environ=environ)
            assert (erased.status, erased.out) == (0, "statistics of one erased\n")
            assert (await boltlink("stats", "one", *SPAN, "--json", environ=environ)).out.startswith('{"clicks": 0')

    with_stores(scenario)
