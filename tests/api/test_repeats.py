"""`Idempotency-Key`: done once, answered alike; also when whoever was at it died at any point."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from app.api import INDEXES, REPEATS
from app.api import repeats as room
from app.links import LINKS
from tests.api.service import Service, With, serve
from tests.conftest import Stores

TARGET = "https://example.com/"
LINKS_PATH, BATCH_PATH = "/api/v1/links", "/api/v1/links/batch"
WISHES: list[tuple[str, dict[str, Any]]] = [
    (LINKS_PATH, {"target": TARGET}),
    (LINKS_PATH, {"target": TARGET, "slug": "chosen"}),
    (BATCH_PATH, {"links": [{"target": TARGET}, {"target": "ftp://x"}, {"target": TARGET, "slug": "b"}]}),
]


async def post(api: Service, path: str, wish: Any, key: str = "k1") -> httpx.Response:
    return await api.client.post(path, json=wish, headers={"Idempotency-Key": key})


def told(answer: httpx.Response) -> tuple[int, bytes, str | None, str | None, str | None]:
    names = ("ETag", "Location", "Content-Type")
    etag, location, media = (answer.headers.get(name) for name in names)
    return answer.status_code, answer.content, etag, location, media


async def expire(stores: Stores) -> None:
    """As if whoever is at it had died LEASE_S ago."""
    past = datetime.now(UTC) - timedelta(seconds=1)
    await stores.database[REPEATS].update_many({"status": {"$exists": False}}, {"$set": {"until": past}})


@pytest.mark.parametrize(("path", "wish"), WISHES)
def test_a_repeated_request_is_answered_byte_for_byte(with_stores: With, path: str, wish: Any) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as one, serve(stores) as two:
            first = await post(one, path, wish)
            count = await stores.database[LINKS].count_documents({})
            assert first.is_success
            for api in (one, two):
                assert told(await post(api, path, wish)) == told(first)
            assert await stores.database[LINKS].count_documents({}) == count
            other = await post(one, path, wish, "k2")
            assert told(other) != told(first)

    with_stores(scenario)


def test_a_key_belongs_to_one_request_of_one_caller(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            wish = {"target": TARGET}
            first = await post(api, LINKS_PATH, wish)
            for path, other in ((LINKS_PATH, {"target": TARGET + "x"}), (BATCH_PATH, {"links": [wish]})):
                refused = await post(api, path, other)
                assert refused.status_code == 422
                assert [error["field"] for error in refused.json()["errors"]] == ["Idempotency-Key"]
            made = (await api.client.post("/api/v1/keys", json={"name": "other"})).json()
            headers = {"Idempotency-Key": "k1", "Authorization": f"Bearer {made['key']}"}
            of_another = await api.client.post(LINKS_PATH, json=wish, headers=headers)
            assert of_another.status_code == 201
            assert of_another.json()["slug"] != first.json()["slug"]

    with_stores(scenario)


def test_what_is_kept_tells_nobody_without_the_key_what_was_asked(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            for key in ("k1", "k2"):
                assert (await post(api, LINKS_PATH, {"target": TARGET, "password": "1234"}, key)).status_code == 201
            rows = await stores.database[REPEATS].find().to_list()
            assert len({row["digest"] for row in rows}) == 2, "whoever guesses the password could see that it is right"

    with_stores(scenario)


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "é"])
def test_what_is_no_key_is_refused(with_stores: With, key: str) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            headers = [(b"Idempotency-Key", key.encode())]
            refused = await api.client.post(LINKS_PATH, json={"target": TARGET}, headers=headers)
            assert refused.status_code == 422
            assert await stores.database[LINKS].count_documents({}) == 0

    with_stores(scenario)


@pytest.mark.parametrize(("path", "wish"), WISHES)
def test_of_many_at_once_one_does_it_and_the_others_get_its_answer(with_stores: With, path: str, wish: Any) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as one, serve(stores) as two:
            answers = await asyncio.gather(*(post(api, path, wish) for api in [one, two] * 10))
            assert len({told(answer) for answer in answers}) == 1
            assert answers[0].is_success
            rows = len(wish["links"]) - 1 if "links" in wish else 1
            assert await stores.database[LINKS].count_documents({}) == rows

    with_stores(scenario)


@pytest.mark.parametrize(("path", "wish"), WISHES)
def test_a_crash_before_the_answer_was_kept_makes_nothing_twice(with_stores: With, path: str, wish: Any) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            first = await post(api, path, wish)
            count = await stores.database[LINKS].count_documents({})
            # What a kill between the link and its answer leaves behind.
            await stores.database[REPEATS].update_one({}, {"$unset": {"status": "", "headers": "", "body": ""}})
            await expire(stores)
            assert told(await post(api, path, wish)) == told(first)
            assert await stores.database[LINKS].count_documents({}) == count

    with_stores(scenario)


def test_who_is_still_at_it_is_waited_for_then_it_is_a_conflict(
    with_stores: With, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "WAIT_S", 0.2)

    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await post(api, LINKS_PATH, {"target": TARGET})
            unset = {"status": "", "headers": "", "body": ""}
            await stores.database[REPEATS].update_one({}, {"$unset": unset})
            waited = await post(api, LINKS_PATH, {"target": TARGET})
            assert (waited.status_code, waited.headers["Retry-After"]) == (409, "1")
            await expire(stores)
            assert (await post(api, LINKS_PATH, {"target": TARGET})).status_code == 201

    with_stores(scenario)


def test_a_refused_request_leaves_its_key_free(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            assert (await post(api, LINKS_PATH, {"target": "ftp://x"})).status_code == 422
            assert (await post(api, LINKS_PATH, {"target": TARGET, "slug": "a"})).status_code == 201
            taken = {"target": TARGET, "slug": "a"}
            assert (await post(api, LINKS_PATH, taken, "k2")).status_code == 409
            await api.services.catalog.delete("/a")
            await stores.database[LINKS].update_one({"_id": "/a"}, {"$set": {"deleted": 1}})
            assert (await post(api, LINKS_PATH, taken, "k2")).status_code == 201

    with_stores(scenario)


def test_keys_end_after_a_day(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await stores.database[REPEATS].create_indexes(INDEXES[REPEATS])
            await post(api, LINKS_PATH, {"target": TARGET})
            row = await stores.database[REPEATS].find_one({})
            assert row is not None
            assert abs((datetime.now(UTC) - row["at"].replace(tzinfo=UTC)).total_seconds()) < 60
            (index,) = [
                i for i in (await stores.database[REPEATS].index_information()).values() if i["key"][0][0] == "at"
            ]
            assert index["expireAfterSeconds"] == 86_400

    with_stores(scenario)


def test_without_the_header_nothing_is_kept(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await api.make("a")
            assert await stores.database[REPEATS].count_documents({}) == 0

    with_stores(scenario)
