"""Deleted links: kept, restored, forgotten; and the races that this may lose."""

from __future__ import annotations

import asyncio
from typing import Any

from app.links import LINKS, LinkCache
from tests.api.service import Service, With, serve
from tests.conftest import Stores

TARGET = "https://example.com/"
DAY_S = 86_400


async def age(stores: Stores, seconds: int) -> None:
    """Lets every deletion be so much longer ago."""
    await stores.database[LINKS].update_many({"deleted": {"$gt": 0}}, {"$inc": {"deleted": -seconds}})


async def make_and_delete(api: Service, slug: str = "one", **fields: Any) -> Any:
    body = {"target": TARGET, "slug": slug, "notes": "private", "tags": ["red"], **fields}
    made = await api.client.post("/api/v1/links", json=body)
    assert made.status_code == 201, made.text
    assert (await api.client.delete(f"/api/v1/links/{slug}")).status_code == 204
    return made.json()


def test_a_restored_link_is_what_it_was_at_a_higher_version_everywhere(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            made = await make_and_delete(api, state="disabled")
            before = await stores.database[LINKS].find_one({"_id": "/one"})
            assert before is not None
            assert not {"labels", "terms", "same"} & set(before)
            restored = await api.client.post("/api/v1/links/one/restore")
            assert restored.status_code == 200
            link = restored.json()
            assert link["version"] > before["version"]
            assert {**link, "version": 0} == {**made, "version": 0}
            assert restored.headers["ETag"] == f'"{link["version"]}"'
            after = await stores.database[LINKS].find_one({"_id": "/one"})
            assert after is not None
            assert (after["link"], after["state"]) == (before["link"], "disabled")
            assert not {"deleted", "was"} & set(after)
            (cached,) = await LinkCache(stores.redis).get_many(["/one"])
            assert cached is not None
            assert (cached.version, cached.is_deleted) == (link["version"], False)
            listed = (await api.client.get("/api/v1/links", params={"tag": "red"})).json()["items"]
            assert [item["slug"] for item in listed] == ["one"]

    with_stores(scenario)


def test_a_kept_slug_is_nobodys_until_its_time_is_over(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await make_and_delete(api)
            first = await stores.database[LINKS].find_one({"_id": "/one"})
            refused = await api.client.post("/api/v1/links", json={"target": TARGET, "slug": "one"})
            assert refused.status_code == 409
            await age(stores, 30 * DAY_S - 60)
            assert (await api.client.post("/api/v1/links", json={"target": TARGET, "slug": "one"})).status_code == 409
            await age(stores, 60)
            assert (await api.client.post("/api/v1/links/one/restore")).status_code == 410
            assert (await api.client.post("/api/v1/links", json={"target": TARGET, "slug": "one"})).status_code == 201
            second = await stores.database[LINKS].find_one({"_id": "/one"})
            assert first is not None
            assert second is not None
            assert second["link"] != first["link"]
            assert second["version"] > first["version"]
            assert not {"deleted", "was", "notes"} & {name for name, value in second.items() if value}
            assert (await api.client.post("/api/v1/links/one/restore")).status_code == 409

    with_stores(scenario)


def test_deleted_links_are_listed_by_that_state_alone(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await make_and_delete(api)
            await api.make("two")
            page = (await api.client.get("/api/v1/links", params={"count": "true"})).json()
            assert [link["slug"] for link in page["items"]] == ["two"]
            assert page["count"] == 1
            page = (await api.client.get("/api/v1/links", params={"state": "deleted", "count": "true"})).json()
            assert [(link["slug"], link["state"]) for link in page["items"]] == [("one", "deleted")]
            assert page["items"][0]["deleted_at"] is not None
            assert page["count"] == 1

    with_stores(scenario)


def test_forgotten_links_leave_a_version_and_nothing_private(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await make_and_delete(api)
            tombstones = api.services.links.tombstones
            now_s = int(api.services.now_s())
            assert await tombstones.forget(now_s) == 0
            before = await stores.database[LINKS].find_one({"_id": "/one"})
            assert await tombstones.forget(now_s + 31 * DAY_S) == 1
            assert await tombstones.forget(now_s + 31 * DAY_S) == 0
            after = await stores.database[LINKS].find_one({"_id": "/one"})
            assert before is not None
            assert after == {
                "target": "",
                **{name: before[name] for name in ("_id", "link", "owner", "state", "version")},
            }
            assert (await api.services.links.find_many(["/one"]))["/one"].cached().is_deleted
            assert (await api.client.post("/api/v1/links/one/restore")).status_code == 410
            assert (await api.client.get("/api/v1/links", params={"state": "deleted"})).json()["items"] == []
            again = await api.client.post("/api/v1/links", json={"target": TARGET, "slug": "one"})
            assert again.json()["version"] > before["version"]

    with_stores(scenario)


def test_what_was_never_deleted_is_not_restored(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await api.make("one")
            assert (await api.client.post("/api/v1/links/one/restore")).status_code == 409
            assert (await api.client.post("/api/v1/links/none/restore")).status_code == 404

    with_stores(scenario)


def test_of_restores_and_new_links_of_one_slug_exactly_one_wins(with_stores: With) -> None:
    """The slug is given free while its link is restored: kept_s says 0 to those who make and a day to who restores."""

    async def scenario(stores: Stores) -> None:
        async with serve(stores, BOLTLINK_DELETED_KEPT="0") as free, serve(stores) as kept:
            for round_ in range(5):
                slug = f"r{round_}"
                await make_and_delete(free, slug)
                wish = {"target": TARGET, "slug": slug}
                answers = await asyncio.gather(
                    *(free.client.post("/api/v1/links", json=wish) for _ in range(5)),
                    *(kept.client.post(f"/api/v1/links/{slug}/restore") for _ in range(5)),
                )
                statuses = sorted(answer.status_code for answer in answers)
                assert [status for status in statuses if status < 300] in ([200], [201]), statuses
                assert set(statuses) <= {200, 201, 409}

    with_stores(scenario)


def test_fifty_who_want_one_slug_at_once_get_it_once(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as one, serve(stores) as two:
            wish = {"target": TARGET, "slug": "one"}
            clients = [one.client, two.client] * 25
            answers = await asyncio.gather(*(client.post("/api/v1/links", json=wish) for client in clients))
            assert sorted(answer.status_code for answer in answers) == [201] + [409] * 49
            (made,) = [answer.json() for answer in answers if answer.status_code == 201]
            assert (await one.client.get("/api/v1/links/one")).json() == made

    with_stores(scenario)


def test_of_changes_at_one_version_exactly_one_is_made(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as one, serve(stores) as two:
            await one.make("one")
            etag = (await one.client.get("/api/v1/links/one")).headers["ETag"]
            changes = [
                client.patch("/api/v1/links/one", json={"title": f"t{n}"}, headers={"If-Match": etag})
                for n, client in enumerate([one.client, two.client] * 10)
            ]
            answers = await asyncio.gather(*changes)
            assert sorted(answer.status_code for answer in answers) == [200] + [412] * 19
            (won,) = [answer.json() for answer in answers if answer.status_code == 200]
            assert (await one.client.get("/api/v1/links/one")).json() == won

    with_stores(scenario)
