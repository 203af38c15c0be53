"""`find_existing`: one link for one target, however many ask at once, until that link is something else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.links import LINKS
from tests.api.service import With, serve
from tests.conftest import Stores

TARGET = "https://example.com/page?a=1"
WISH = {"target": TARGET, "find_existing": True}


def test_twenty_who_ask_at_once_get_one_link(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as one, serve(stores) as two:
            clients = [one.client, two.client] * 10
            answers = await asyncio.gather(*(client.post("/api/v1/links", json=WISH) for client in clients))
            assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
            assert len({answer.json()["slug"] for answer in answers}) == 1
            assert len({answer.headers["ETag"] for answer in answers}) == 1
            assert len({answer.headers["Location"] for answer in answers}) == 1
            assert await stores.database[LINKS].count_documents({}) == 1

    with_stores(scenario)


def test_rows_of_one_batch_find_each_other(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            rows = [WISH, WISH, {"target": TARGET}, {**WISH, "target": "https://example.com/other"}, WISH]
            results = (await api.client.post("/api/v1/links/batch", json={"links": rows})).json()["results"]
            assert sorted(result["status"] for result in results) == [200, 200, 201, 201, 201]
            found = {results[n]["link"]["slug"] for n in (0, 1, 4)}
            assert len(found) == 1
            assert await stores.database[LINKS].count_documents({}) == 3

    with_stores(scenario)


def test_a_link_that_was_made_without_asking_is_found(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            made = await api.client.post("/api/v1/links", json={"target": TARGET, "slug": "chosen", "title": "T"})
            found = await api.client.post("/api/v1/links", json={**WISH, "title": "other"})
            assert (found.status_code, found.json()) == (200, made.json())

    with_stores(scenario)


@pytest.mark.parametrize(
    "change",
    [
        {"target": "https://example.com/else"},
        {"state": "disabled"},
        {"code": 301},
        {"expires_at": "2099-01-01T00:00:00Z"},
        {"max_visits": 5},
        {"password": "secret"},
        {"forward_query": True},
        {"variants": [{"target": TARGET}]},
        None,
    ],
)
def test_a_link_that_became_something_else_is_not_found(with_stores: With, change: dict[str, Any] | None) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            first = (await api.client.post("/api/v1/links", json=WISH)).json()
            path = f"/api/v1/links/{first['slug']}"
            changed = await (api.client.delete(path) if change is None else api.client.patch(path, json=change))
            assert changed.status_code in (200, 204)
            second = await api.client.post("/api/v1/links", json=WISH)
            assert second.status_code == 201
            assert second.json()["slug"] != first["slug"]
            if change is None:
                assert (await api.client.post(path + "/restore")).status_code == 200, "beside the second one"
            assert (await api.client.post("/api/v1/links", json=WISH)).status_code == 200

    with_stores(scenario)


def test_what_makes_a_link_special_is_refused(with_stores: With) -> None:
    special = {
        "slug": "a",
        "code": 301,
        "state": "banned",
        "expires_at": "2099-01-01T00:00:00Z",
        "max_visits": 1,
        "password": "x",
        "forward_path": True,
        "variants": [{"target": TARGET}],
    }

    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            refused = await api.client.post("/api/v1/links", json={**WISH, **special})
            assert refused.status_code == 422
            assert {error["field"] for error in refused.json()["errors"]} == set(special)
            plain = {"slug": None, "code": 302, "forward_path": False, "rules": [], "tags": ["a"]}
            assert (await api.client.post("/api/v1/links", json={**WISH, **plain})).status_code == 201

    with_stores(scenario)
