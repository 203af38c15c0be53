"""Domains on which the case of a slug means nothing, by the API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from app.analytics import Ledger
from app.links import LINKS, LinkCache, join_key
from app.links.options import LOWER_ALPHABET
from app.links.slugs import ALPHABET
from tests.api.service import Service, With, serve
from tests.conftest import Stores

GO = "/api/v1/domains/go.example"
LINK = "/api/v1/links"
ON = {"case_insensitive": True}
THERE = {"domain": "go.example"}


async def make(api: Service, slug: str | None, status: int = 201, **fields: Any) -> dict[str, Any]:
    wish = {"target": "https://example.com/", **THERE, **({} if slug is None else {"slug": slug}), **fields}
    answer = await api.client.post(LINK, json=wish)
    assert answer.status_code == status, answer.text
    link: dict[str, Any] = answer.json()
    return link


async def add_go(api: Service) -> None:
    assert (await api.client.post("/api/v1/domains", json={"name": "go.example"})).status_code == 201


async def turn_on(api: Service, path: str = GO) -> None:
    answer = await api.client.patch(path, json=ON)
    assert answer.status_code == 200, answer.text
    assert answer.json()["case_insensitive"] is True


def test_a_slug_is_stored_in_lower_case_and_found_in_any(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await add_go(api)
            await turn_on(api)
            made = await make(api, "Spring-SALE")
            assert made["slug"] == "spring-sale"
            assert made["short_url"] == "https://go.example/spring-sale"
            await make(api, "SPRING-sale", 409)
            for slug in ("spring-sale", "SPRING-SALE", "Spring-Sale"):
                for path in (f"{LINK}/{slug}", f"{LINK}/{slug}/stats", f"{LINK}/{slug}/history"):
                    assert (await api.client.get(path, params=THERE)).status_code == 200, path
            assert (await api.client.get(f"{LINK}/Spring-Sale")).status_code == 404, "the default domain has none"
            changed = await api.client.patch(f"{LINK}/Spring-Sale", params=THERE, json={"title": "T"})
            assert (changed.status_code, changed.json()["slug"]) == (200, "spring-sale")
            assert (await api.client.delete(f"{LINK}/SPRING-Sale", params=THERE)).status_code == 204
            restored = await api.client.post(f"{LINK}/Spring-Sale/restore", params=THERE)
            assert (restored.status_code, restored.json()["title"]) == (200, "T")
            await Ledger(stores.database, "n-0").note_progress(datetime.now(UTC) + timedelta(minutes=1))
            assert (await api.client.delete(f"{LINK}/Spring-Sale/stats", params=THERE)).status_code == 204
            listed = await api.client.get(LINK, params=THERE | {"prefix": "SPRING"})
            assert [link["slug"] for link in listed.json()["items"]] == ["spring-sale"]

    with_stores(scenario)


def test_rows_of_a_batch_are_one_link_in_any_case(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await add_go(api)
            await turn_on(api)
            rows = [{"target": "https://example.com/", "slug": slug, **THERE} for slug in ("A", "a", "B")]
            results = (await api.client.post(f"{LINK}/batch", json={"links": rows})).json()["results"]
            assert [row["status"] for row in results] == [201, 409, 201]
            changes = [{"slug": slug, "title": "T", **THERE} for slug in ("a", "A", "b")]
            results = (await api.client.patch(f"{LINK}/batch", json={"links": changes})).json()["results"]
            assert [row["status"] for row in results] == [200, 422, 200]
            gone = [{"slug": slug, **THERE} for slug in ("A", "B", "C")]
            results = (await api.client.post(f"{LINK}/batch/delete", json={"links": gone})).json()["results"]
            assert [row["status"] for row in results] == [204, 204, 404]

    with_stores(scenario)


def test_slugs_that_are_made_have_no_capitals(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await add_go(api)
            await turn_on(api)
            assert (await api.client.get(GO)).json()["slug_alphabet"] == LOWER_ALPHABET
            slugs = [(await make(api, None))["slug"] for _ in range(20)]
            assert all(set(slug) <= set(LOWER_ALPHABET) for slug in slugs)
            refused = await api.client.patch(GO, json={"slug_alphabet": "ABCDEFabcdef0123456789"})
            assert [error["field"] for error in refused.json()["errors"]] == ["slug_alphabet"]
            assert (await api.client.patch(GO, json={"slug_alphabet": "0123456789", "slug_length": 10})).is_success
            off = (await api.client.patch(GO, json=dict.fromkeys((*ON, "slug_alphabet")))).json()
            assert (off["case_insensitive"], off["slug_alphabet"]) == (False, ALPHABET)
            assert (await make(api, "Capital"))["slug"] == "Capital"

    with_stores(scenario)


def test_links_with_capitals_are_renamed_when_it_is_turned_on(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await add_go(api)
            before = await make(api, "Launch", title="T", tags=["a"])
            await api.make("Launch")
            await turn_on(api)
            after = (await api.client.get(f"{LINK}/LAUNCH", params=THERE)).json()
            renamed = {"slug": "launch", "short_url": "https://go.example/launch", "version": after["version"]}
            assert after == before | renamed
            assert after["version"] > before["version"]
            cached = await LinkCache(stores.redis).get_many(
                [join_key("go.example", slug) for slug in ("launch", "Launch")]
            )
            assert [value is not None and value.entry is not None for value in cached] == [True, False]
            history = (await api.client.get(f"{LINK}/launch/history", params=THERE)).json()["items"]
            assert history[0]["fields"] == {"slug": {"old": "Launch", "new": "launch"}}
            assert (await api.client.get(f"{LINK}/Launch")).status_code == 200, "another domain's stays"

    with_stores(scenario)


def test_it_is_refused_while_slugs_differ_only_in_case(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await add_go(api)
            for slug in ("Sale", "sale", "Other"):
                await make(api, slug)
            refused = await api.client.patch(GO, json=ON)
            assert refused.status_code == 409
            assert [(error["field"], error["message"]) for error in refused.json()["errors"]] == [
                ("case_insensitive", "Sale, sale differ only in case")
            ]
            assert (await api.client.get(GO)).json()["case_insensitive"] is False
            assert await stores.database[LINKS].count_documents({"_id": "go.example/Other"}) == 1, "nothing is renamed"
            assert (await api.client.delete(f"{LINK}/Sale", params=THERE)).status_code == 204
            await turn_on(api)
            assert (await api.client.get(f"{LINK}/SALE", params=THERE)).json()["slug"] == "sale"

    with_stores(scenario)


def test_a_renaming_that_was_cut_off_is_found_as_it_is_spelled_and_goes_on_when_asked_again(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await add_go(api)
            await turn_on(api)
            made = await make(api, "left")
            row = await stores.database[LINKS].find_one_and_delete({"_id": "go.example/left"})
            assert row is not None
            await stores.database[LINKS].insert_one({**row, "_id": "go.example/Left"})
            found = await api.client.get(f"{LINK}/Left", params=THERE)
            assert (found.status_code, found.json()["slug"]) == (200, "Left")
            assert (await api.client.get(f"{LINK}/left", params=THERE)).status_code == 404
            await turn_on(api)
            found = await api.client.get(f"{LINK}/LEFT", params=THERE)
            assert (found.json()["slug"], found.json()["created_at"]) == ("left", made["created_at"])

    with_stores(scenario)
