"""Many links changed or deleted in one request: a result for each row, few round trips, races told apart."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.api.problems import ERRORS_MAX
from app.api.rows import ROWS_MAX
from app.links import CHANNEL, LinkCache
from tests.api.service import Service, With, serve
from tests.conftest import Stores

PATH = "/api/v1/links/batch"
TARGET = "https://example.com/"


async def make(api: Service, count: int) -> list[dict[str, Any]]:
    rows = [{"target": TARGET, "slug": f"s{n}"} for n in range(count)]
    results = (await api.client.post(PATH, json={"links": rows})).json()["results"]
    return [result["link"] for result in results]


async def send(api: Service, method: str, path: str, rows: list[Any]) -> list[Any]:
    answer = await api.client.request(method, path, json={"links": rows})
    assert answer.status_code == 200, answer.text
    results: list[Any] = answer.json()["results"]
    return results


def test_each_change_has_its_own_result_in_order(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            links = await make(api, 5)
            rows: list[Any] = [
                {"slug": "s0", "title": "T", "tags": ["x"]},
                {
                    "slug": "s1",
                    "version": links[1]["version"],
                    "state": "disabled",
                    "expires_at": "2099-01-01T00:00:00Z",
                },
                {"slug": "s2", "version": 1, "title": "T"},
                {"slug": "none", "title": "T"},
                {"slug": "s3", "target": "ftp://x", "colour": 1},
                {"slug": "s0", "title": "again"},
                "no object",
                {"title": "T"},
                {"slug": "s4", "password": "secret", "max_visits": 3},
            ]
            results = await send(api, "PATCH", PATH, rows)
            assert [result["status"] for result in results] == [200, 200, 412, 404, 422, 422, 422, 422, 200]
            wrong = [{error["field"] for error in result.get("errors", [])} for result in results]
            assert wrong[2:8] == [{"version"}, {"slug"}, {"target", "colour"}, {"slug"}, {""}, {"slug"}]
            for n, slug in ((0, "s0"), (1, "s1"), (8, "s4")):
                link = (await api.client.get(f"/api/v1/links/{slug}")).json()
                assert link == results[n]["link"]
                (cached,) = await LinkCache(stores.redis).get_many([f"/{slug}"])
                assert cached is not None
                assert cached.version == link["version"]
            assert results[0]["link"]["title"] == "T"
            assert results[0]["link"]["version"] > links[0]["version"]
            listed = (await api.client.get("/api/v1/links", params={"tag": "x"})).json()["items"]
            assert [link["slug"] for link in listed] == ["s0"]
            assert (await api.client.get("/api/v1/links/s3")).json() == links[3]
            cleared = await send(api, "PATCH", PATH, [{"slug": "s1", "expires_at": None}])
            assert cleared[0]["link"]["expires_at"] is None
            assert (await api.client.get("/api/v1/links/s1")).json() == cleared[0]["link"]

    with_stores(scenario)


def test_what_names_a_link_is_judged_also_behind_many_unknown_fields(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await api.make("one")
            unknown = {f"x{n}": n for n in range(ERRORS_MAX * 2)}
            rows = [{**unknown, "slug": 5}, {**unknown, "slug": "one"}, {**unknown, "slug": "two", "version": "v"}]
            answer = await api.client.patch("/api/v1/links/batch", json={"links": rows})
            found = [(row["status"], row["errors"][0]["field"]) for row in answer.json()["results"]]
            assert found == [(422, "slug"), (422, "x0"), (422, "version")]
            assert all(len(row["errors"]) <= ERRORS_MAX for row in answer.json()["results"])

    with_stores(scenario)


def test_many_are_deleted_and_can_be_restored(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api, stores.redis.pubsub() as subscription:
            links = await make(api, 4)
            await subscription.subscribe(CHANNEL)
            rows: list[Any] = [
                {"slug": "s0"},
                {"slug": "s1", "version": links[1]["version"]},
                {"slug": "s2", "version": 1},
                {"slug": "none"},
                {"slug": "s3", "title": "T"},
            ]
            results = await send(api, "POST", PATH + "/delete", rows)
            assert [result["status"] for result in results] == [204, 204, 412, 404, 422]
            assert [(await api.client.get(f"/api/v1/links/s{n}")).status_code for n in range(4)] == [404, 404, 200, 200]
            cached = await LinkCache(stores.redis).get_many(["/s0", "/s1", "/s2"])
            assert [entry is not None and entry.is_deleted for entry in cached] == [True, True, False]
            restored = (await api.client.post("/api/v1/links/s0/restore")).json()
            assert {**restored, "version": 0} == {**links[0], "version": 0}

    with_stores(scenario)


def test_as_many_as_allowed_take_a_read_and_a_write(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await make(api, ROWS_MAX)
            slugs = [f"s{n}" for n in range(ROWS_MAX)]
            before = await stores.database.command("serverStatus")
            changed = await send(api, "PATCH", PATH, [{"slug": slug, "title": slug} for slug in slugs])
            assert [result["status"] for result in changed] == [200] * ROWS_MAX
            gone = await send(api, "POST", PATH + "/delete", [{"slug": slug} for slug in slugs])
            assert [result["status"] for result in gone] == [204] * ROWS_MAX
            after = await stores.database.command("serverStatus")
            calls = {
                name: after["metrics"]["commands"][name]["total"] - before["metrics"]["commands"][name]["total"]
                for name in ("find", "update", "findAndModify")
            }
            assert calls["find"] <= 12, calls  # a find, and getMores that are no finds; others look at their keys
            assert calls["update"] <= 4, calls
            assert calls["findAndModify"] == 0, calls

    with_stores(scenario)


def test_batches_and_single_changes_at_once_lose_none(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as one, serve(stores) as two:
            links = await make(one, 20)
            batches = [
                send(
                    api,
                    "PATCH",
                    PATH,
                    [{"slug": f"s{n}", "version": links[n]["version"], "title": f"b{b}"} for n in range(20)],
                )
                for b, api in enumerate([one, two] * 3)
            ]
            singles = [
                one.client.patch(
                    f"/api/v1/links/s{n}", json={"title": "single"}, headers={"If-Match": f'"{links[n]["version"]}"'}
                )
                for n in range(20)
            ]
            found = await asyncio.gather(asyncio.gather(*batches), asyncio.gather(*singles))
            for n in range(20):
                won = [result[n]["link"] for result in found[0] if result[n]["status"] == 200]
                won += [found[1][n].json()] if found[1][n].status_code == 200 else []
                assert len(won) == 1, n
                assert (await one.client.get(f"/api/v1/links/s{n}")).json() == won[0]
                assert {result[n]["status"] for result in found[0]} <= {200, 412, 409}

    with_stores(scenario)


def test_changes_without_a_version_are_all_made(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as one, serve(stores) as two:
            await make(one, 10)
            rows = [[{"slug": f"s{n}", field: "x"} for n in range(10)] for field in ("title", "notes")]
            results = await asyncio.gather(send(one, "PATCH", PATH, rows[0]), send(two, "PATCH", PATH, rows[1]))
            assert {row["status"] for result in results for row in result} == {200}
            for n in range(10):
                link = (await one.client.get(f"/api/v1/links/s{n}")).json()
                assert (link["title"], link["notes"]) == ("x", "x")

    with_stores(scenario)


@pytest.mark.parametrize("path", [PATH, PATH + "/delete"])
def test_no_rows_or_too_many_are_refused(with_stores: With, path: str) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            method = "PATCH" if path == PATH else "POST"
            wrong: list[Any] = [[], {}, [{"slug": "a"}] * (ROWS_MAX + 1)]
            for links in wrong:
                refused = await api.client.request(method, path, json={"links": links})
                assert refused.status_code == 422

    with_stores(scenario)
