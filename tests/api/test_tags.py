"""`/api/v1/tags`: what there is, and moves that anyone may end, beside changes of the same links."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from app.api import tags as room
from app.links import LINKS, TAG_MOVES, Tags
from app.links import tags as moves
from tests.api.service import Service, With, serve
from tests.conftest import Stores

TARGET = "https://example.com/"


async def make(api: Service, tags: dict[str, list[str]]) -> None:
    rows = [{"target": TARGET, "slug": slug, "tags": names} for slug, names in tags.items()]
    results = (await api.client.post("/api/v1/links/batch", json={"links": rows})).json()["results"]
    assert {result["status"] for result in results} == {201}


async def tags_of(api: Service, slug: str) -> Any:
    return (await api.client.get(f"/api/v1/links/{slug}")).json()["tags"]


async def listed(api: Service, **query: Any) -> dict[str, Any]:
    items = (await api.client.get("/api/v1/tags", params=query)).json()["items"]
    return {item["name"]: item["links"] for item in items}


def test_tags_of_living_links_are_listed_page_by_page(with_stores: With, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "COUNT_MAX", 3)
    monkeypatch.setattr(room, "TAGS_COUNT_MAX", 3)

    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await make(api, {f"s{n}": ["all", f"t{n}", "é/x"] if n < 4 else ["all"] for n in range(5)})
            await make(api, {"gone": ["lost"]})
            await api.client.delete("/api/v1/links/gone")
            assert await listed(api) == {"all": "3+", "t0": 1, "t1": 1, "t2": 1, "t3": 1, "é/x": "3+"}
            page = (await api.client.get("/api/v1/tags", params={"limit": 2})).json()
            assert [item["name"] for item in page["items"]] == ["all", "t0"]
            page = (await api.client.get("/api/v1/tags", params={"limit": 4, "cursor": page["next_cursor"]})).json()
            assert [item["name"] for item in page["items"]] == ["t1", "t2", "t3", "é/x"]
            assert page["next_cursor"] is None

    with_stores(scenario)


def test_a_renamed_tag_is_another_one_at_every_link(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await make(api, {"a": ["$old/1", "x"], "b": ["x"], "c": ["$old/1"]})
            before = {slug: (await api.client.get(f"/api/v1/links/{slug}")).json() for slug in "abc"}
            path = f"/api/v1/tags/{quote('$old/1', safe='')}"
            done = await api.client.patch(path, json={"name": "$new"})
            assert (done.status_code, done.json()) == (200, {"is_done": True})
            after = {slug: (await api.client.get(f"/api/v1/links/{slug}")).json() for slug in "abc"}
            assert [after[slug]["tags"] for slug in "abc"] == [["$new", "x"], ["x"], ["$new"]]
            assert [after[slug]["version"] > before[slug]["version"] for slug in "abc"] == [True, False, True]
            assert await listed(api) == {"$new": 2, "x": 2}
            found = (await api.client.get("/api/v1/links", params={"tag": "$new"})).json()["items"]
            assert {link["slug"] for link in found} == {"a", "c"}
            assert (await api.client.patch(path, json={"name": "other"})).status_code == 404
            notes = (await api.client.get("/api/v1/audit", params={"what": "tag.rename"})).json()["items"]
            assert [note["subject"] for note in notes] == [{"kind": "tag", "id": "$old/1"}]

    with_stores(scenario)


def test_tags_become_one_only_if_that_is_said(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await make(api, {"a": ["one", "two"], "b": ["one"], "c": ["two"]})
            refused = await api.client.patch("/api/v1/tags/one", json={"name": "two"})
            assert refused.status_code == 409
            assert await listed(api) == {"one": 2, "two": 2}
            assert (await api.client.patch("/api/v1/tags/one", json={"name": "two", "merge": True})).status_code == 200
            assert await listed(api) == {"two": 3}
            assert await tags_of(api, "a") == ["two"]
            assert (await api.client.delete("/api/v1/tags/two")).status_code == 200
            assert await listed(api) == {}
            assert await tags_of(api, "a") == []
            assert (await api.client.delete("/api/v1/tags/two")).status_code == 404

    with_stores(scenario)


def test_what_stopped_in_the_middle_is_ended_by_anyone(with_stores: With, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "STEP_LINKS", 2)
    monkeypatch.setattr(room, "WORK_S", 0.0)

    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await make(api, {f"s{n}": ["old"] for n in range(7)})
            begun = await api.client.patch("/api/v1/tags/old", json={"name": "new"})
            assert (begun.status_code, begun.json()) == (202, {"is_done": False})
            assert await listed(api) == {"new": 2, "old": 5}
            assert (await api.client.patch("/api/v1/tags/old", json={"name": "third"})).status_code == 409
            assert (await api.client.patch("/api/v1/tags/old", json={"name": "new"})).status_code == 202, "goes on"
            await make(api, {"late": ["old"]})
            worker = Tags(stores.database)
            while await worker.resume():
                pass
            assert await listed(api) == {"new": 8}
            assert await stores.database[TAG_MOVES].count_documents({}) == 0

    with_stores(scenario)


def test_changes_at_the_same_time_lose_nothing(with_stores: With, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "STEP_LINKS", 3)

    async def scenario(stores: Stores) -> None:
        async with serve(stores) as one, serve(stores) as two:
            slugs = [f"s{n}" for n in range(20)]
            await make(one, {slug: ["old", "x"] for slug in slugs})
            titles = [two.client.patch(f"/api/v1/links/{slug}", json={"title": slug}) for slug in slugs]
            renames = [api.client.patch("/api/v1/tags/old", json={"name": "new"}) for api in (one, two)]
            answers = await asyncio.gather(*titles, *renames)
            assert {answer.status_code for answer in answers} <= {200, 404, 409}
            assert [answer.status_code for answer in answers[:20]].count(200) == 20
            for slug in slugs:
                link = (await one.client.get(f"/api/v1/links/{slug}")).json()
                assert (link["title"], link["tags"]) == (slug, ["new", "x"])
            assert await stores.database[LINKS].count_documents({"labels": "#old"}) == 0

    with_stores(scenario)
