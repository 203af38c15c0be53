"""Who changed what, through the API: every changing route leaves its entry, and no secret is in any."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.accounts import AUDIT, Scope
from app.stores import Database
from tests.api.service import ADMIN_KEY, Service, With, make_services, serve
from tests.conftest import Stores


async def entries(api: Service, query: str = "") -> list[dict[str, Any]]:
    answer = await api.client.get(f"/api/v1/audit?{query}")
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def test_every_change_leaves_an_entry_with_who_what_and_the_request(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            client = api.client
            made = await client.post("/api/v1/links", json={"target": "https://a.example/", "slug": "s", "tags": ["t"]})
            await client.patch(
                "/api/v1/links/s", json={"title": "new", "tags": ["t"], "expires_at": "2030-01-01T00:00:00Z"}
            )
            await client.delete("/api/v1/links/s")
            await client.post("/api/v1/links/batch", json={"links": [{"target": "https://b.example/", "slug": "b"}]})
            await client.post("/api/v1/domains", json={"name": "go.example"})
            await client.delete("/api/v1/domains/go.example")
            key = (await client.post("/api/v1/keys", json={"name": "ci"})).json()["id"]
            await client.delete(f"/api/v1/keys/{key}")
            found = await entries(api)
            admin = found[-1]["subject"]["id"]
            assert [(entry["what"], entry["subject"]["kind"], entry["subject"]["id"]) for entry in reversed(found)] == [
                ("key.create", "key", admin),
                ("link.create", "link", "/s"),
                ("link.update", "link", "/s"),
                ("link.delete", "link", "/s"),
                ("link.create", "link", "/b"),
                ("domain.create", "domain", "go.example"),
                ("domain.delete", "domain", "go.example"),
                ("key.create", "key", key),
                ("key.revoke", "key", key),
            ]
            assert found[-1]["who"] == {"kind": "system", "id": ""}
            assert {(entry["who"]["kind"], entry["who"]["id"]) for entry in found[:-1]} == {("key", admin)}
            assert found[-2]["request_id"] == made.headers["X-Request-Id"]
            assert found[-2]["fields"] == {  # what it was given, and nothing that is as with every link
                "target": {"old": None, "new": "https://a.example/"},
                "tags": {"old": None, "new": ["t"]},
            }
            assert found[-3]["fields"] == {
                "title": {"old": "", "new": "new"},
                "expires_at": {"old": None, "new": "2030-01-01T00:00:00Z"},
            }
            assert all("address" not in entry for entry in found)

    with_stores(scenario)


def test_what_was_refused_leaves_no_entry(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await api.make("s")
            before = await entries(api)
            refused = [
                await api.client.post("/api/v1/links", json={"target": "https://a.example/", "slug": "s"}),
                await api.client.patch("/api/v1/links/s", json={"title": "x"}, headers={"If-Match": '"5"'}),
                await api.client.delete("/api/v1/links/none"),
                await api.client.delete("/api/v1/domains/none.example"),
                await api.client.delete(f"/api/v1/keys/{'0' * 64}"),
            ]
            assert [answer.status_code for answer in refused] == [409, 412, 404, 404, 404]
            assert await entries(api) == before

    with_stores(scenario)


def test_no_secret_is_in_the_log(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            wish = {"target": "https://a.example/", "slug": "s", "password": "open sesame"}
            await api.client.post("/api/v1/links", json=wish)
            await api.client.patch("/api/v1/links/s", json={"password": "open barley"})
            await api.client.patch("/api/v1/links/s", json={"password": None})
            key = (await api.client.post("/api/v1/keys", json={"name": "ci"})).json()["key"]
            rows = str([row async for row in stores.database[AUDIT].find()])
            for secret in ("sesame", "barley", "$2b$", key, ADMIN_KEY):
                assert secret not in rows
            found = [entry["fields"].get("password") for entry in await entries(api, "subject=link:/s")]
            assert found == [{"old": True, "new": False}, {"old": True, "new": True}, {"old": None, "new": True}]

    with_stores(scenario)


def test_history_is_of_the_link_that_has_the_slug_now(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores, BOLTLINK_DELETED_KEPT="0") as free, serve(stores) as api:
            await api.make("s", "https://secret.example/")
            await api.client.delete("/api/v1/links/s")
            assert (await api.client.get("/api/v1/links/s/history")).status_code == 404
            await api.client.post("/api/v1/links/s/restore")
            restored = (await api.client.get("/api/v1/links/s/history")).json()["items"]
            assert [entry["what"] for entry in restored] == ["link.restore", "link.delete", "link.create"]
            await api.client.delete("/api/v1/links/s")
            await free.make("s", "https://other.example/")
            answer = await api.client.get("/api/v1/links/s/history")
            assert [entry["what"] for entry in answer.json()["items"]] == ["link.create"]
            assert "secret" not in answer.text
            assert [entry["what"] for entry in await entries(api, "subject=link:/s")] == [
                "link.create",
                "link.delete",
                "link.restore",
                "link.delete",
                "link.create",
            ]

    with_stores(scenario)


def test_numbers_of_more_than_32_bits_are_told(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            rule = {"target": "https://b.example/", "when": {"before": "2090-01-01T00:00:00Z"}}
            wish = {"target": "https://a.example/", "slug": "s", "max_visits": 10**12, "rules": [rule]}
            assert (await api.client.post("/api/v1/links", json=wish)).status_code == 201
            history = (await api.client.get("/api/v1/links/s/history")).json()["items"]
            assert history == await entries(api, "subject=link:/s")
            fields = history[0]["fields"]
            assert fields["max_visits"] == {"old": None, "new": 10**12}
            assert fields["rules"]["new"][0]["when"]["before"] == 3_786_912_000

    with_stores(scenario)


def test_pages_follow_each_other_and_wrong_questions_are_refused(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            for number in range(4):
                await api.make(f"s{number}")
            first = (await api.client.get("/api/v1/audit?limit=3")).json()
            second = (await api.client.get(f"/api/v1/audit?limit=3&cursor={first['next_cursor']}")).json()
            assert [len(first["items"]), len(second["items"]), second["next_cursor"]] == [3, 2, None]
            assert len({entry["id"] for entry in first["items"] + second["items"]}) == 5
            assert await entries(api, "to=2020-01-01T00:00:00Z") == []
            assert len(await entries(api, "from=2020-01-01T00:00:00Z")) == 5
            for query in (
                "cursor=x",
                "limit=0",
                "what=link.burn",
                "who=me",
                "from=soon",
                "from=2020-01-01T00:00:00",
                "other=1",
            ):
                assert (await api.client.get(f"/api/v1/audit?{query}")).status_code == 422, query

    with_stores(scenario)


@pytest.mark.parametrize(("setting", "expected"), [("on", "127.0.0.1"), ("off", None)])
def test_address_is_kept_if_the_setting_says_so(with_stores: With, setting: str, expected: str | None) -> None:
    async def scenario(stores: Stores) -> None:
        services = make_services(stores, BOLTLINK_AUDIT_ADDRESSES=setting)
        await services.keys.add(ADMIN_KEY, "admin")
        async with serve(stores, services) as api:
            await api.make("s")
            assert (await entries(api, "subject=link:/s"))[0].get("address") == expected

    with_stores(scenario)


def test_addresses_are_for_admins(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        services = make_services(stores, BOLTLINK_AUDIT_ADDRESSES="on")
        await services.keys.add(ADMIN_KEY, "admin")
        await services.keys.add("blk_reader", "reader", scopes=[Scope.LINKS_READ])
        async with serve(stores, services) as api:
            await api.make("s")
            reader = {"Authorization": "Bearer blk_reader"}
            for headers, expected in ((None, "127.0.0.1"), (reader, None)):
                history = await api.client.get("/api/v1/links/s/history", headers=headers)
                assert history.json()["items"][0].get("address") == expected

    with_stores(scenario)


def test_creates_of_one_turn_share_writes_of_links_and_of_notes(with_stores: With) -> None:
    async def commands(database: Database) -> int:
        status = await database.client.admin.command("serverStatus")
        return int(status["metrics"]["commands"]["insert"]["total"])

    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            before = await commands(stores.database)
            wishes = [{"target": f"https://a.example/{n}"} for n in range(50)]
            made = await api.client.post("/api/v1/links/batch", json={"links": wishes})
            assert {row["status"] for row in made.json()["results"]} == {201}
            assert await commands(stores.database) - before == 2
            assert await stores.database[AUDIT].count_documents({"what": "link.create"}) == 50
            await asyncio.gather(*(api.make(f"s{n}") for n in range(20)))
            assert await stores.database[AUDIT].count_documents({"what": "link.create"}) == 70

    with_stores(scenario)
