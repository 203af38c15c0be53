"""What a domain is set to, by the API: judged, stored, told, and followed by slugs that are made."""

from __future__ import annotations

import re
from typing import Any

import pytest

from app.links import PLAIN_OPTIONS
from tests.api.service import Service, With, serve
from tests.conftest import Stores

GO = "/api/v1/domains/go.example"
DEFAULT = "/api/v1/domains/sho.rt"
UNSET: dict[str, Any] = {
    "not_found_target": None,
    "root_target": None,
    "robots": "allow",
    "slug_length": 7,
    "slug_alphabet": PLAIN_OPTIONS.slug_alphabet,
    "case_insensitive": False,
}


async def add_go(api: Service) -> None:
    assert (await api.client.post("/api/v1/domains", json={"name": "go.example"})).status_code == 201


def test_options_are_set_one_by_one_shown_and_taken_away(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await add_go(api)
            first = await api.client.patch(GO, json={"not_found_target": "HTTPS://Example.com/nö", "slug_length": 9})
            assert first.status_code == 200, first.text
            created_at = first.json().pop("created_at")
            options = UNSET | {"not_found_target": "https://example.com/n%C3%B6", "slug_length": 9}
            assert first.json() == {"name": "go.example", "created_at": created_at, **options}
            second = await api.client.patch("/api/v1/domains/GO.example", json={"robots": "disallow"})
            assert second.json() == first.json() | {"robots": "disallow"}
            assert (await api.client.get(GO)).json() == second.json()
            assert (await api.client.get("/api/v1/domains")).json()["items"] == [second.json()]
            gone = await api.client.patch(GO, json=dict.fromkeys(UNSET))
            assert gone.json() == {"name": "go.example", "created_at": created_at, **UNSET}
            row = await stores.database["domains"].find_one({"_id": "go.example"})
            assert row is not None
            assert row["options"] == {}, "what is as ever is not stored"

    with_stores(scenario)


def test_the_default_domain_has_options_and_stands_beside_the_list(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            shown = (await api.client.get(DEFAULT)).json()
            assert shown == {"name": "sho.rt", "created_at": None, **UNSET}
            for robots in ("disallow", "allow", "disallow"):
                changed = (await api.client.patch(DEFAULT, json={"robots": robots})).json()
                assert changed == shown | {"robots": robots}
            assert (await api.client.get(DEFAULT)).json() == changed
            assert (await api.client.get("/api/v1/domains")).json() == {"items": [], "default": changed}
            assert (await api.client.delete(DEFAULT)).status_code == 404
            refused = await api.client.post("/api/v1/links", json={"target": "https://a.example/", "domain": "sho.rt"})
            assert refused.status_code == 422

    with_stores(scenario)


def test_each_change_is_in_the_audit_log_and_what_changes_nothing_is_not(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await add_go(api)
            change = {"root_target": "https://a.example/", "slug_length": 8}
            for _ in range(2):
                assert (await api.client.patch(GO, json=change)).status_code == 200
            assert (await api.client.patch(GO, json={"slug_length": 5})).status_code == 422
            assert (await api.client.patch(DEFAULT, json={"robots": "disallow"})).status_code == 200
            entries = (await api.client.get("/api/v1/audit?what=domain.update")).json()["items"]
            assert [(entry["subject"]["id"], entry["fields"]) for entry in entries] == [
                ("sho.rt", {"robots": {"old": "allow", "new": "disallow"}}),
                (
                    "go.example",
                    {"root_target": {"old": None, "new": "https://a.example/"}, "slug_length": {"old": 7, "new": 8}},
                ),
            ]

    with_stores(scenario)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (
            {
                "not_found_target": "javascript:alert(1)",
                "root_target": "https://sho.rt/x",
                "robots": "maybe",
                "slug_length": 4,
                "slug_alphabet": "aa",
                "name": "x",
            },
            ["name", "not_found_target", "robots", "root_target", "slug_alphabet", "slug_length"],
        ),
        ({"slug_length": 5}, ["slug_length"]),
        ({"slug_alphabet": "0123456789"}, ["slug_length"]),
        ({"slug_length": 29, "slug_alphabet": "ab"}, ["slug_length"]),
        ({"slug_length": 33}, ["slug_length"]),
        ({"slug_alphabet": "a"}, ["slug_alphabet"]),
        ({"slug_alphabet": ""}, ["slug_alphabet"]),
        ({"slug_alphabet": "abcdefghijklmnöp"}, ["slug_alphabet"]),
        ({"root_target": "", "x" * 300: 1}, ["root_target", "x" * 200]),
    ],
)
def test_every_option_that_cannot_be_used_is_named(with_stores: With, body: dict[str, Any], fields: list[str]) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await add_go(api)
            refused = await api.client.patch(GO, json=body)
            assert refused.status_code == 422
            assert refused.headers["Content-Type"] == "application/problem+json"
            assert sorted(error["field"] for error in refused.json()["errors"]) == fields
            assert {name: (await api.client.get(GO)).json()[name] for name in UNSET} == UNSET

    with_stores(scenario)


def test_slugs_are_made_as_their_domain_says(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await add_go(api)
            wish = {"slug_length": 30, "slug_alphabet": "ab"}
            assert (await api.client.patch(GO, json=wish)).status_code == 200
            assert (await api.client.patch(DEFAULT, json={"slug_length": 12})).status_code == 200
            rows = [{"target": "https://a.example/", "domain": domain} for domain in ("go.example", "")]
            made = (await api.client.post("/api/v1/links/batch", json={"links": rows * 20})).json()["results"]
            slugs = [row["link"]["slug"] for row in made]
            assert all(re.fullmatch("[ab]{30}", slug) for slug in slugs[::2])
            assert all(len(slug) == 12 for slug in slugs[1::2])
            chosen = await api.client.post("/api/v1/links", json=rows[0] | {"slug": "Q"})
            assert chosen.status_code == 201, "a chosen slug is free"

    with_stores(scenario)


def test_root_and_robots_are_the_domain_s(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await add_go(api)
            await api.client.patch(GO, json={"root_target": "https://a.example/home", "robots": "disallow"})
            for host, status, location, closed in (
                ("GO.example:8000", 302, "https://a.example/home", "/"),
                ("sho.rt", 200, None, "/api/"),
                ("other.example", 200, None, "/api/"),
            ):
                for method in ("GET", "HEAD"):
                    root = await api.client.request(method, "/", headers={"Host": host})
                    assert (root.status_code, root.headers.get("Location")) == (status, location), host
                robots = await api.client.get("/robots.txt", headers={"Host": host})
                assert robots.text == f"User-agent: *\nDisallow: {closed}\n", host

    with_stores(scenario)
