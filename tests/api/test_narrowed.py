"""What a narrowed key is not told of: links beyond its bounds, and domains beside its own."""

from __future__ import annotations

from typing import Any

from tests.api.service import With, serve
from tests.conftest import Stores


def test_what_a_narrowed_key_may_not_see_it_does_not_find_either(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            wish = {"name": "tag", "scopes": ["links:write"], "tag": "news"}
            headers = {"Authorization": f"Bearer {(await api.client.post('/api/v1/keys', json=wish)).json()['key']}"}
            only = {"target": "https://secret.example/", "tags": ["news"], "find_existing": True}
            first = (await api.client.post("/api/v1/links", json=only, headers=headers)).json()
            hidden = await api.client.patch(f"/api/v1/links/{first['slug']}", json={"tags": ["other"]})
            assert hidden.status_code == 200
            second = await api.client.post("/api/v1/links", json=only, headers=headers)
            assert second.status_code == 201, "as if there were none"
            again = await api.client.post("/api/v1/links/batch", json={"links": [only] * 2}, headers=headers)
            assert [row["status"] for row in again.json()["results"]] == [200, 200]
            assert {row["link"]["slug"] for row in again.json()["results"]} == {second.json()["slug"]}

    with_stores(scenario)


def test_a_key_of_one_domain_is_not_told_which_others_there_are(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            for name in ("go.example", "secret.example"):
                assert (await api.client.post("/api/v1/domains", json={"name": name})).status_code == 201
            wish = {"name": "go", "scopes": ["links:write"], "domain": "go.example"}
            headers = {"Authorization": f"Bearer {(await api.client.post('/api/v1/keys', json=wish)).json()['key']}"}
            seen = (await api.client.get("/api/v1/domains", headers=headers)).json()
            assert [domain["name"] for domain in seen["items"]] == ["go.example"]
            assert seen["default"] is None

            async def told(domain: str) -> list[Any]:
                body = {"target": "https://a.example/", "domain": domain}
                made = await api.client.post("/api/v1/links", json=body, headers=headers)
                many = await api.client.post("/api/v1/links/batch", json={"links": [body]}, headers=headers)
                shown = await api.client.get(f"/api/v1/domains/{domain}", headers=headers)
                back = await api.client.post(f"/api/v1/links/a/restore?domain={domain}", headers=headers)
                answers = [answer.json() for answer in (made, shown, back)]
                return [*({**answer, "request_id": ""} for answer in answers), many.json()]

            assert await told("secret.example") == await told("nowhere.example")

    with_stores(scenario)
