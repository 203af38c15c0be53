"""Many links in one request: a result for each row, in order."""

from __future__ import annotations

from typing import Any

import pytest

from app.api.batch import PASSWORDS_MAX
from app.api.rows import ROWS_MAX
from app.links import LINKS, LinkCache
from tests.api.service import With, serve
from tests.conftest import Stores

TARGET = "https://example.com/"


def test_each_row_has_its_own_result_in_order(with_stores: With) -> None:
    rows: list[Any] = [
        {"target": TARGET, "slug": "one", "title": "First"},
        {"target": "ftp://x", "slug": "a b"},
        {"target": TARGET, "slug": "one"},
        "no object",
        {"target": TARGET},
        {"target": TARGET, "domain": "nowhere.example"},
        {"target": TARGET, "slug": "taken"},
    ]

    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await api.make("taken")
            answer = await api.client.post("/api/v1/links/batch", json={"links": rows})
            assert answer.status_code == 200
            results = answer.json()["results"]
            assert [result["status"] for result in results] == [201, 422, 409, 422, 201, 422, 409]
            wrong = [{error["field"] for error in result.get("errors", [])} for result in results]
            assert wrong == [set(), {"target", "slug"}, {"slug"}, {""}, set(), {"domain"}, {"slug"}]
            for result in (results[0], results[4]):
                slug = result["link"]["slug"]
                assert (await api.client.get(f"/api/v1/links/{slug}")).json() == result["link"]
                assert (await LinkCache(stores.redis).get_many(["/" + slug]))[0] is not None
            assert results[0]["link"]["title"] == "First"

    with_stores(scenario)


def test_as_many_rows_as_allowed_are_all_made(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            rows = [{"target": f"{TARGET}{number}"} for number in range(ROWS_MAX)]
            results = (await api.client.post("/api/v1/links/batch", json={"links": rows})).json()["results"]
            assert [result["link"]["target"] for result in results] == [row["target"] for row in rows]
            assert len({result["link"]["slug"] for result in results}) == ROWS_MAX
            assert await stores.database[LINKS].count_documents({}) == ROWS_MAX

    with_stores(scenario)


@pytest.mark.parametrize("body", [{}, {"links": []}, {"links": {}}, {"links": [{}] * (ROWS_MAX + 1)}])
def test_too_many_or_no_rows_are_refused(with_stores: With, body: Any) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            refused = await api.client.post("/api/v1/links/batch", json=body)
            assert refused.status_code == 422
            assert [error["field"] for error in refused.json()["errors"]] == ["links"]
            assert await stores.database[LINKS].count_documents({}) == 0

    with_stores(scenario)


def test_so_many_passwords_are_hashed_and_no_more(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            rows = [{"target": TARGET, "password": f"p{number}"} for number in range(PASSWORDS_MAX + 2)]
            results = (await api.client.post("/api/v1/links/batch", json={"links": rows})).json()["results"]
            assert [result["status"] for result in results] == [201] * PASSWORDS_MAX + [422] * 2
            assert all(result["link"]["password"] for result in results[:PASSWORDS_MAX])

    with_stores(scenario)


def test_a_body_longer_than_others_may_be_is_read(with_stores: With) -> None:
    notes = "n" * 9_000

    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            rows = [{"target": TARGET, "notes": notes} for _ in range(500)]
            answer = await api.client.post("/api/v1/links/batch", json={"links": rows})
            assert {result["status"] for result in answer.json()["results"]} == {201}

    with_stores(scenario)
