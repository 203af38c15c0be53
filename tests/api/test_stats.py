"""`/stats` over real stores: of a link, of many, as JSON and CSV; what is refused and how; and erased."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest

from app.analytics import Ledger, Retention
from app.analytics import erasure as erasure_module
from app.analytics import query as query_module
from app.api.tables import Table
from tests.analytics.clicks import add_clicks, day, delta_of, held_lease
from tests.api.service import Service, With, serve
from tests.conftest import Stores

FIELDS = {
    *("clicks", "visitors", "bots", "heads", "previews", "prefetches", "excluded", "misses", "as_of", "unit", "series"),
    *("breakdown_from", "breakdown_to", "referrers", "countries", "devices", "os", "browsers", "languages"),
    *("bot_names", "variants"),
}
DAY = {"from": "2026-03-01", "to": "2026-03-02"}


def minute(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) // 60


async def link_id(api: Service, slug: str, domain: str = "") -> int:
    row = await api.stores.database["links"].find_one({"_id": f"{domain}/{slug}"})
    assert row is not None
    return int(row["link"])


async def click(api: Service, slug: str, *times: str) -> None:
    """Clicks as an aggregator stores them, in a batch for each."""
    link = await link_id(api, slug)
    for text in times:
        await add_clicks(api.stores.database, [(link, minute(text))])


async def ask(api: Service, path: str, **query: str) -> dict[str, Any]:
    answer = await api.client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_link_is_told_with_every_field(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await api.make("one")
            await click(api, "one", "2026-03-01T10:00Z", "2026-03-01T10:00Z", "2026-03-02T00:00Z")
            stats = await ask(api, "/api/v1/links/one/stats", **DAY, unit="hour", tz="Europe/Berlin")
            assert set(stats) == FIELDS
            assert (stats["clicks"], stats["bots"], stats["unit"]) == (2, 2, "hour")
            assert len(stats["series"]) == 24
            assert {point["t"]: point["clicks"] for point in stats["series"]}["2026-03-01T11:00:00+01:00"] == 2
            assert stats["browsers"] == [{"key": "Firefox", "clicks": 2}]
            assert (stats["breakdown_from"], stats["breakdown_to"]) == ("2026-02-28", "2026-03-01")

    with_stores(scenario)


def test_last_thirty_days_are_shown_by_default(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await api.make("one")
            now = datetime.now(UTC)
            await click(api, "one", now.isoformat(), (now - timedelta(days=29)).isoformat())
            stats = await ask(api, "/api/v1/links/one/stats")
            assert (stats["clicks"], len(stats["series"]), stats["unit"]) == (2, 30, "day")
            assert len((await ask(api, "/api/v1/stats", unit="minute"))["series"]) <= 1440

    with_stores(scenario)


def test_many_links_are_summed_by_tag_domain_user_and_all(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            for slug, tags in (("one", ["a"]), ("two", ["a", "b"]), ("three", [])):
                wish = {"target": "https://example.com/", "slug": slug, "tags": tags}
                assert (await api.client.post("/api/v1/links", json=wish)).status_code == 201
                await click(api, slug, "2026-03-01T10:00Z")
            owner = (await stores.database["links"].find_one({"_id": "/one"}) or {})["owner"]
            wanted = [({}, 3), ({"tag": "a"}, 2), ({"tag": "b"}, 1), ({"tag": "c"}, 0), ({"domain": ""}, 3)]
            wanted += [({"domain": "go.example.com"}, 0), ({"user": owner}, 3), ({"user": "nobody"}, 0)]
            for query, clicks in wanted:
                stats = await ask(api, "/api/v1/stats", **DAY, **query)
                assert stats["clicks"] == clicks, query
                assert set(stats) == FIELDS | ({"orphans"} if not query else set())
                assert sum(share["clicks"] for share in stats["browsers"]) == clicks

    with_stores(scenario)


def test_previous_period_is_told_on_request(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await api.make("one")
            await click(api, "one", "2026-02-28T10:00Z", "2026-02-28T11:00Z", "2026-03-01T10:00Z")
            stats = await ask(api, "/api/v1/links/one/stats", **DAY, compare="previous")
            assert stats["clicks"] == 1
            assert stats["previous"] == {
                "from": "2026-02-28T00:00:00Z",
                "to": "2026-03-01T00:00:00Z",
                "clicks": 2,
                "visitors": 2,
                "bots": 2,
                "series": [{"t": "2026-02-28T00:00:00Z", "clicks": 2}],
            }

    with_stores(scenario)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"tz": "Mars/Base"}, "tz"),
        ({"tz": "../etc/passwd"}, "tz"),
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-03-02", "to": "2026-03-01"}, "to"),
        ({"from": "0001-01-01", "to": "0001-02-01", "tz": "Asia/Tokyo"}, "from"),
        ({"to": "9999-12-31T23:59:59Z", "tz": "Asia/Tokyo"}, "to"),
        ({"unit": "second"}, "unit"),
        ({"unit": "minute", "from": "2026-01-01", "to": "2026-03-01"}, "unit"),
        ({"compare": "next"}, "compare"),
        ({"format": "xml"}, "format"),
        ({"format": "csv", "of": "secrets"}, "of"),
        ({"tag": "a", "user": "b"}, "user"),
        ({"domain": "not a host"}, "domain"),
    ],
)
def test_wrong_parameter_is_named(with_stores: With, query: dict[str, str], field: str) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            answer = await api.client.get("/api/v1/stats", params=query)
            assert answer.status_code == 422, answer.text
            assert [error["field"] for error in answer.json()["errors"]] == [field]

    with_stores(scenario)


def test_unit_finer_than_what_is_kept_is_refused_with_the_oldest_date(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            lease = await held_lease(stores)
            await Retention(
                stores.database, lease, days_kept=400, months_kept=None, today=lambda: day("2026-11-24")
            ).step()
            query = {"from": "2025-10-19", "to": "2025-10-20"}
            answer = await api.client.get("/api/v1/stats", params=query | {"unit": "minute"})
            assert answer.status_code == 422
            assert "2025-10-20" in answer.json()["detail"]
            assert (await ask(api, "/api/v1/stats", **query, unit="hour"))["clicks"] == 0

    with_stores(scenario)


def test_unknown_link_has_no_statistics(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            for method in ("GET", "DELETE"):
                assert (await api.client.request(method, "/api/v1/links/none/stats")).status_code == 404
            assert (await api.client.get("/api/v1/stats", headers={"Authorization": ""})).status_code == 401

    with_stores(scenario)


def test_sums_that_rollup_left_for_too_long_are_503(with_stores: With, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_module, "UNMOVED_MAX", 1)

    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await api.make("one")
            await click(api, "one", "2026-03-01T10:00Z", "2026-03-01T10:00Z")
            answer = await api.client.get("/api/v1/stats", params=DAY)
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")

    with_stores(scenario)


def rows_of(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def test_tables_are_told_as_csv(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await api.make("one")
            await click(api, "one", "2026-03-01T10:00Z", "2026-02-28T10:00Z")
            path = "/api/v1/links/one/stats"
            answer = await api.client.get(path, params=DAY | {"format": "csv"})
            assert answer.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
            assert answer.headers["Content-Disposition"] == 'attachment; filename="one-series.csv"'
            assert answer.text == "t,clicks\r\n2026-03-01T00:00:00+00:00,1\r\n"
            accepted = await api.client.get(path, params=DAY, headers={"Accept": "text/csv;q=0.9, */*"})
            assert accepted.text == answer.text
            either = await api.client.get(path, params=DAY, headers={"Accept": "text/csv, application/json"})
            assert either.headers["Content-Type"] == "application/json"
            compared = await api.client.get(path, params=DAY | {"format": "csv", "compare": "previous"})
            assert rows_of(compared.text) == [
                ["t", "clicks", "previous_t", "previous_clicks"],
                ["2026-03-01T00:00:00+00:00", "1", "2026-02-28T00:00:00+00:00", "1"],
            ]
            for table in get_args(Table)[1:]:
                told = await api.client.get(path, params=DAY | {"format": "csv", "of": table})
                assert rows_of(told.text) == [["key", "clicks"], *([["Firefox", "1"]] if table == "browsers" else [])]

    with_stores(scenario)


def test_key_that_a_spreadsheet_would_run_is_text(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await api.make("one")
            delta = delta_of([1])
            keys = ["=1+1", "+1", "-1", "@x", "a,b", 'say "x"', ""]
            delta.dims["referrer"] = dict.fromkeys(keys, 1)
            key = (await link_id(api, "one"), day("2026-03-01"))
            await Ledger(stores.database, "n-0").apply("s", 0, 1, {key: delta})
            query = DAY | {"format": "csv", "of": "referrers"}
            answer = await api.client.get("/api/v1/links/one/stats", params=query)
            told = {row[0] for row in rows_of(answer.text)[1:]}
            assert told == {"'=1+1", "'+1", "'-1", "'@x", "a,b", 'say "x"', "(none)"}

    with_stores(scenario)


def test_erased_statistics_are_gone_and_the_link_stays(with_stores: With, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure_module, "COUNTED_S", 0.2)

    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            for slug in ("one", "two"):
                await api.make(slug)
                await click(api, slug, "2026-03-01T10:00Z")
            before = (await api.client.get("/api/v1/links/one")).json()
            await Ledger(stores.database, "n-0").note_progress(datetime.now(UTC) + timedelta(minutes=1))
            answer = await api.client.delete("/api/v1/links/one/stats")
            assert (answer.status_code, answer.content) == (204, b"")
            assert (await ask(api, "/api/v1/links/one/stats", **DAY))["clicks"] == 0
            assert (await ask(api, "/api/v1/links/two/stats", **DAY))["clicks"] == 1
            assert (await ask(api, "/api/v1/stats", **DAY))["clicks"] == 2
            assert (await api.client.get("/api/v1/links/one")).json() == before
            history = (await api.client.get("/api/v1/links/one/history")).json()["items"]
            assert [entry["what"] for entry in history] == ["link.erase", "link.create"]
            await api.client.delete("/api/v1/links/two")
            await Ledger(stores.database, "n-0").note_progress(datetime.now(UTC) - timedelta(minutes=1))
            late = await api.client.delete("/api/v1/links/two/stats")
            assert (late.status_code, late.json()["detail"][:6]) == (202, "Erased")
            assert await stores.database["clicks_node"].count_documents({}) == 0

    with_stores(scenario)
