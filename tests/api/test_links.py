"""`/api/v1/links` over real stores: what is made, shown, listed and ended, and what is refused and how."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import msgspec
import pytest

from app.api.parameters import PAGE_MAX
from app.links import CHANNEL, LINKS, LinkCache
from tests.api.service import PUBLIC_URL, With, serve
from tests.conftest import Stores

TARGET = "https://www.rfc-editor.org/rfc/rfc9110.html"


def test_made_link_is_told_with_its_address_and_version(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            answer = await api.client.post("/api/v1/links", json={"target": TARGET})
            link = answer.json()
            assert answer.status_code == 201
            assert answer.headers["Content-Type"] == "application/json"
            assert answer.headers["Location"] == f"/api/v1/links/{link['slug']}"
            assert answer.headers["ETag"] == f'"{link["version"]}"'
            assert (link["target"], link["state"], link["code"], link["domain"]) == (TARGET, "active", 302, "")
            assert link["short_url"] == f"{PUBLIC_URL}/{link['slug']}"
            assert "owner" not in link
            shown = await api.client.get(answer.headers["Location"])
            assert (shown.status_code, shown.json()) == (200, link)
            assert shown.headers["ETag"] == answer.headers["ETag"]
            assert (await LinkCache(stores.redis).get_many(["/" + link["slug"]]))[0] is not None

    with_stores(scenario)


def test_every_field_is_kept(with_stores: With) -> None:
    wish: dict[str, Any] = {
        "target": TARGET,
        "slug": "Chosen-1_",
        "code": 308,
        "starts_at": "2030-01-01T00:00:00Z",
        "expires_at": "2030-01-02T02:00:00+02:00",
        "tags": ["b", "a", "b"],
        "title": "Tïtle \u0000 💡",
        "notes": "n",
        "forward_query": True,
    }

    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            assert (await api.client.post("/api/v1/links", json=wish)).status_code == 201
            link = (await api.client.get("/api/v1/links/Chosen-1_")).json()
            assert {name: link[name] for name in wish} == wish | {
                "tags": ["a", "b"],
                "expires_at": "2030-01-02T00:00:00Z",
            }
            assert (await api.client.get("/api/v1/links/chosen-1_")).status_code == 404

    with_stores(scenario)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"nonsense", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'{"target": "\xff"}', 400),
        (b'{"target": "\\ud800 x"}', 400),
        (b"[" * 100_000, 400),
        (b'{"target": 1e999}', 400),
        (b"{}", 422),
    ],
)
def test_body_that_is_no_json_object_is_refused(with_stores: With, body: bytes, status: int) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            headers = {"Content-Type": "application/json"}
            answer = await api.client.post("/api/v1/links", content=body, headers=headers)
            assert answer.status_code == status
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert {"type", "title", "status", "detail", "request_id"} <= set(answer.json())
            assert answer.headers["X-Request-Id"] == answer.json()["request_id"]
            assert await stores.database[LINKS].count_documents({}) == 0

    with_stores(scenario)


@pytest.mark.parametrize(
    ("wish", "fields"),
    [
        ({}, {"target"}),
        ({"target": 5, "slug": [], "colour": "red", "code": "x"}, {"target", "slug", "colour", "code"}),
        ({"target": TARGET, "url": TARGET}, {"url"}),
        ({"target": "ftp://example.com/", "slug": "a b"}, {"target", "slug"}),
        ({"target": "https://sho.rt/abc"}, {"target"}),
        ({"target": "https://example.com/\r\nX: y"}, {"target"}),
        ({"target": TARGET, "slug": "API"}, {"slug"}),
        ({"target": TARGET, "slug": ""}, {"slug"}),
        ({"target": TARGET, "slug": "x" * 65}, {"slug"}),
        ({"target": TARGET, "slug": "a b", "code": 303}, {"slug", "code"}),
        ({"target": TARGET, "code": 404}, {"code"}),
        ({"target": TARGET, "expires_at": "tomorrow"}, {"expires_at"}),
        ({"target": TARGET, "expires_at": "2030-01-01T00:00:00"}, {"expires_at"}),
        (
            {"target": TARGET, "starts_at": "2030-01-02T00:00:00Z", "expires_at": "2030-01-01T00:00:00Z"},
            {"expires_at"},
        ),
        ({"target": TARGET, "tags": ["x" * 65]}, {"tags[0]"}),
        ({"target": TARGET, "tags": ["x"] * 33}, {"tags"}),
        ({"target": TARGET, "tags": "x"}, {"tags"}),
        ({"target": TARGET, "title": "x" * 501}, {"title"}),
    ],
)
def test_every_wrong_field_is_named(with_stores: With, wish: dict[str, Any], fields: set[str]) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            answer = await api.client.post("/api/v1/links", json=wish)
            assert answer.status_code == 422
            assert {error["field"] for error in answer.json()["errors"]} == fields
            assert all(error["message"] for error in answer.json()["errors"])
            assert await stores.database[LINKS].count_documents({}) == 0

    with_stores(scenario)


def test_body_of_another_type_is_refused(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            headers = {"Content-Type": "text/xml"}
            answer = await api.client.post("/api/v1/links", content=b"<a/>", headers=headers)
            assert answer.status_code == 415

    with_stores(scenario)


def test_taken_slug_is_a_conflict_until_it_is_deleted(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores, BOLTLINK_DELETED_KEPT="0") as api:
            await api.make("one")
            answer = await api.client.post("/api/v1/links", json={"target": TARGET, "slug": "one"})
            assert answer.status_code == 409
            assert [error["field"] for error in answer.json()["errors"]] == ["slug"]
            version = (await api.client.get("/api/v1/links/one")).json()["version"]
            gone = await api.client.delete("/api/v1/links/one")
            assert (gone.status_code, gone.content) == (204, b"")
            assert (await api.client.get("/api/v1/links/one")).status_code == 404
            assert (await api.client.delete("/api/v1/links/one")).status_code == 404
            again = await api.client.post("/api/v1/links", json={"target": TARGET, "slug": "one"})
            assert again.status_code == 201
            assert again.json()["version"] > version + 1

    with_stores(scenario)


@pytest.mark.parametrize("etag", ['"1"', 'W/"1"', '"9223372036854775807"'])
def test_delete_at_another_version_changes_nothing(with_stores: With, etag: str) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await api.make("one")
            answer = await api.client.delete("/api/v1/links/one", headers={"If-Match": etag})
            assert answer.status_code == 412
            current = (await api.client.get("/api/v1/links/one")).headers["ETag"]
            answer = await api.client.delete("/api/v1/links/one", headers={"If-Match": current})
            assert answer.status_code == 204

    with_stores(scenario)


@pytest.mark.parametrize("etag", ["1", '""', '"a"', '"1", "2"', '"9999999999999999999"'])
def test_if_match_that_is_no_etag_is_refused(with_stores: With, etag: str) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await api.make("one")
            answer = await api.client.delete("/api/v1/links/one", headers={"If-Match": etag})
            assert answer.status_code == 400
            assert (await api.client.get("/api/v1/links/one")).status_code == 200

    with_stores(scenario)


def test_deletion_is_announced_before_it_is_answered(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api, stores.redis.pubsub() as subscription:
            await api.make("one")
            await subscription.subscribe(CHANNEL)
            assert (await subscription.get_message(timeout=10) or {})["type"] == "subscribe"
            await api.client.delete("/api/v1/links/one")
            (cached,) = await LinkCache(stores.redis).get_many(["/one"])
            assert cached is not None
            assert cached.is_deleted
            assert (await subscription.get_message(timeout=10) or {})["type"] == "message"

    with_stores(scenario)


def test_list_goes_through_every_link_once(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await asyncio.gather(*(api.make(f"s{n}") for n in range(23)))
            seen: list[str] = []
            cursor: str | None = ""
            while cursor is not None:
                page = (await api.client.get("/api/v1/links", params={"limit": 5, "cursor": cursor})).json()
                assert len(page["items"]) <= 5
                seen += [link["slug"] for link in page["items"]]
                cursor = page["next_cursor"]
            assert sorted(seen) == sorted(f"s{n}" for n in range(23))

    with_stores(scenario)


def cursor_of(value: Any) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(value)).decode().rstrip("=")


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", f"limit={PAGE_MAX + 1}", "limit=x", "limit=-1", "limit=1.5", "limit=%D9%A1", "limit="),
        *("cursor=x", "cursor=%FF", "cursor=é", "cursor=" + cursor_of(["a", "b"]), "cursor=" + cursor_of([1])),
        *("cursor=" + cursor_of([2**63, "/a"]), "cursor=" + cursor_of([-1, "/a"]), "limit=" + "0" * 5000 + "1"),
    ],
)
def test_list_of_impossible_length_or_place_is_refused(with_stores: With, query: str) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            answer = await api.client.get("/api/v1/links?" + query)
            assert answer.status_code in (400, 422)
            assert answer.headers["Content-Type"] == "application/problem+json"

    with_stores(scenario)


def test_list_of_a_tag(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            for slug, tags in (("a", ["red"]), ("b", ["red", "blue"]), ("c", [])):
                await api.client.post("/api/v1/links", json={"target": TARGET, "slug": slug, "tags": tags})
            page = (await api.client.get("/api/v1/links", params={"tag": "red"})).json()
            assert {link["slug"] for link in page["items"]} == {"a", "b"}
            assert page["next_cursor"] is None

    with_stores(scenario)


def test_many_links_made_at_once_are_all_made(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            wishes = [api.client.post("/api/v1/links", json={"target": f"{TARGET}?{n}"}) for n in range(100)]
            answers = await asyncio.gather(*wishes)
            assert {answer.status_code for answer in answers} == {201}
            assert len({answer.json()["slug"] for answer in answers}) == 100
            assert await stores.database[LINKS].count_documents({}) == 100

    with_stores(scenario)
