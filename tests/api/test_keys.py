"""`/api/v1/keys`: a key is shown once, works until it is revoked, and is never listed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.service import ADMIN_KEY, With, serve
from tests.conftest import Stores


def test_key_is_shown_once_works_and_ends(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            made = await api.client.post("/api/v1/keys", json={"name": "ci"})
            assert made.status_code == 201
            key = made.json()["key"]
            headers = {"Authorization": f"Bearer {key}"}
            assert (await api.client.get("/api/v1/links", headers=headers)).status_code == 200
            listed = await api.client.get("/api/v1/keys")
            assert key not in listed.text
            assert ADMIN_KEY not in listed.text
            assert {row["name"] for row in listed.json()["items"]} == {"admin", "ci"}
            assert key.startswith(made.json()["prefix"])
            assert (await api.client.delete(made.headers["Location"])).status_code == 204
            assert (await api.client.get("/api/v1/links", headers=headers)).status_code == 401
            assert (await api.client.delete(made.headers["Location"])).status_code == 404
            rows = (await api.client.get("/api/v1/keys")).json()["items"]
            assert [row["revoked_at"] is not None for row in rows if row["name"] == "ci"] == [True]

    with_stores(scenario)


def test_keys_are_listed_page_by_page(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            for number in range(6):  # within one second
                await api.client.post("/api/v1/keys", json={"name": str(number)})
            seen: list[str] = []
            cursor: str | None = ""
            while cursor is not None:
                page = (await api.client.get("/api/v1/keys", params={"limit": 2, "cursor": cursor})).json()
                assert len(page["items"]) <= 2
                seen += [key["name"] for key in page["items"]]
                cursor = page["next_cursor"]
            assert sorted(seen) == ["0", "1", "2", "3", "4", "5", "admin"]
            wrong = await api.client.get("/api/v1/keys?cursor=none")
            assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "cursor")

    with_stores(scenario)


@pytest.mark.parametrize(
    "wish",
    [
        *({}, {"name": ""}, {"name": "x" * 101}, {"name": 5}, {"name": "x", "admin": True}),
        {"name": "x", "expires_at": "9999-12-31T23:59:59-01:00"},
        {"name": "x", "domain": "none.example"},
    ],
)
def test_wrong_wish_for_a_key_is_refused(with_stores: With, wish: dict[str, Any]) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            answer = await api.client.post("/api/v1/keys", json=wish)
            assert answer.status_code == 422
            assert answer.json()["errors"]
            assert len((await api.client.get("/api/v1/keys")).json()["items"]) == 1

    with_stores(scenario)
