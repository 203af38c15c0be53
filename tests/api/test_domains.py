"""`/api/v1/domains`, and links that live under one."""

from __future__ import annotations

from typing import Any

import pytest

from app.links import domains as room
from tests.api.service import With, serve
from tests.conftest import Stores

TARGET = "https://example.com/"


def test_domains_are_added_listed_and_ended(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            made = await api.client.post("/api/v1/domains", json={"name": "Bücher.Example."})
            assert (made.status_code, made.json()["name"]) == (201, "xn--bcher-kva.example")
            assert made.headers["Location"] == "/api/v1/domains/xn--bcher-kva.example"
            assert (await api.client.post("/api/v1/domains", json={"name": "go"})).status_code == 201
            again = await api.client.post("/api/v1/domains", json={"name": "GO"})
            assert again.status_code == 409
            items = (await api.client.get("/api/v1/domains")).json()["items"]
            assert [item["name"] for item in items] == ["go", "xn--bcher-kva.example"]
            assert (await api.client.delete("/api/v1/domains/go")).status_code == 204
            assert (await api.client.delete("/api/v1/domains/go")).status_code == 404

    with_stores(scenario)


@pytest.mark.parametrize(
    "name",
    ["", "a b", "https://a.example", "a.example/x", "a.example:80", "192.0.2.1", "::1", "-a.example", "sho.rt", "a..b"],
)
def test_what_is_no_name_of_a_domain_is_refused(with_stores: With, name: str) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            refused = await api.client.post("/api/v1/domains", json={"name": name})
            assert refused.status_code == 422
            assert [error["field"] for error in refused.json()["errors"]] == ["name"]

    with_stores(scenario)


def test_there_are_so_many_domains_and_no_more(with_stores: With, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            monkeypatch.setattr(room, "DOMAINS_MAX", 2)
            for name, status in (("a.example", 201), ("b.example", 201), ("c.example", 409)):
                assert (await api.client.post("/api/v1/domains", json={"name": name})).status_code == status

    with_stores(scenario)


def test_a_link_of_a_domain_is_another_than_the_default_one_s(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            wish: dict[str, Any] = {"target": TARGET, "slug": "abc", "domain": "Go.Example"}
            refused = await api.client.post("/api/v1/links", json=wish)
            assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "domain")
            await api.client.post("/api/v1/domains", json={"name": "go.example"})
            made = await api.client.post("/api/v1/links", json=wish)
            assert made.status_code == 201
            assert made.headers["Location"] == "/api/v1/links/abc?domain=go.example"
            assert made.json()["short_url"] == "https://go.example/abc"
            await api.make("abc", TARGET + "default")
            of_domain = await api.client.get(made.headers["Location"])
            assert of_domain.json() == made.json()
            assert (await api.client.get("/api/v1/links/abc")).json()["target"] == TARGET + "default"
            changed = await api.client.patch("/api/v1/links/abc?domain=go.example", json={"title": "T"})
            assert (changed.json()["title"], changed.json()["domain"]) == ("T", "go.example")
            assert (await api.client.get("/api/v1/links/abc/stats?domain=go.example")).status_code == 200
            listed = (await api.client.get("/api/v1/links?domain=go.example")).json()["items"]
            assert [link["domain"] for link in listed] == ["go.example"]
            assert (await api.client.delete("/api/v1/domains/go.example")).status_code == 409, "it has a link"
            assert (await api.client.delete("/api/v1/links/abc?domain=go.example")).status_code == 204
            assert (await api.client.get("/api/v1/links/abc")).status_code == 200
            assert (await api.client.delete("/api/v1/domains/go.example")).status_code == 204
            assert (await api.client.get("/api/v1/links/abc?domain=no%20name")).status_code == 422

    with_stores(scenario)
