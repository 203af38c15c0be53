"""What a body wishes: every field kept and shown as it was given, every wrong one named."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.api.wishes import LinkWish, read_change, read_link
from app.links import Link, TargetError, Variant
from app.redirect import REDIRECT_CODES
from tests.api.service import With, serve
from tests.conftest import Stores

BEFORE_TIME, BEYOND_TIME = "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"  # in UTC no year that there is
RULE = {"when": {"device": ["mobile"]}, "target": "https://m.example/"}
GOOD = {"target": "https://a"}
FULL: dict[str, Any] = {
    "target": "https://example.com/",
    "slug": "Full-1",
    "state": "disabled",
    "code": 308,
    "starts_at": "2030-01-01T00:00:00Z",
    "expires_at": "2030-01-02T00:00:00Z",
    "max_visits": 5,
    "password": "grün",
    "tags": ["a"],
    "title": "T",
    "notes": "N",
    "forward_query": True,
    "forward_path": True,
    "rules": [
        {
            "target": "https://m.example/",
            "when": {
                "device": ["mobile", "tablet"],
                "os": ["iOS"],
                "browser": ["Chrome"],
                "language": ["de"],
                "country": ["DE", "AT"],
                "query": {"a.$b": ["c"], "d": []},
                "after": "2030-01-01T00:00:00Z",
                "before": "2030-01-01T12:00:00Z",
                "hours": "22:00-06:30",
                "weekdays": ["mon", "sun"],
                "timezone": "Europe/Berlin",
            },
        },
        {"target": "https://n.example/", "when": {"hours": "00:00-24:00"}},
    ],
    "variants": [{"target": "https://a.example/", "weight": 3}, {"target": "https://b.example/", "weight": 0}],
}


def check(text: str) -> str:
    if not text.startswith("https://"):
        raise TargetError("must start with https://")
    return text


def fields_of(data: Any) -> set[str]:
    return {error.field for error in read_link(data, check).errors}


def test_the_table_of_fields_is_all_that_the_example_holds() -> None:
    assert set(LinkWish.__struct_fields__) == {*FULL, "domain", "find_existing"}
    assert set(REDIRECT_CODES) == {301, 302, 307, 308}
    assert fields_of(FULL) == set()


@pytest.mark.parametrize(
    ("wish", "wrong"),
    [
        ({}, {"target"}),
        ({"target": 5, "code": 404, "state": "deleted", "color": "red"}, {"target", "code", "state", "color"}),
        ({"target": "ftp://a", "slug": "a b", "domain": "a b", "tags": [""]}, {"target", "slug", "domain", "tags[0]"}),
        ({**GOOD, "max_visits": 0, "password": "", "title": "x" * 501}, {"max_visits", "password", "title"}),
        ({**GOOD, "max_visits": 10**13, "password": "x" * 73, "code": True}, {"max_visits", "password", "code"}),
        ({**GOOD, "starts_at": "2030-01-01T00:00:00", "expires_at": "soon"}, {"starts_at", "expires_at"}),
        ({**GOOD, "starts_at": "2030-01-01T00:00:00Z", "expires_at": "2030-01-01T00:00:00Z"}, {"expires_at"}),
        ({**GOOD, "starts_at": BEFORE_TIME, "expires_at": BEYOND_TIME}, {"starts_at", "expires_at"}),
        (
            {**GOOD, "rules": [{**RULE, "when": {"after": BEFORE_TIME, "before": BEYOND_TIME}}]},
            {"rules[0].when.after", "rules[0].when.before"},
        ),
        ({**GOOD, "rules": [RULE] * 33, "variants": [{"target": "https://a"}] * 33}, {"rules", "variants"}),
        ({**GOOD, "variants": [{**GOOD, "weight": 0}]}, {"variants"}),
        ({**GOOD, "variants": [{**GOOD, "weight": -1}]}, {"variants[0].weight"}),
        ({**GOOD, "variants": [{"target": "ftp://a"}, {"target": "https://a"}]}, {"variants[0].target"}),
        ({**GOOD, "rules": [RULE, {**RULE, "target": "x"}]}, {"rules[1].target"}),
        ({**GOOD, "rules": [{**RULE, "when": {}}]}, {"rules[0].when"}),
        ({**GOOD, "rules": [{**RULE, "when": {"timezone": "Europe/Berlin"}}]}, {"rules[0].when"}),
        ({**GOOD, "rules": [{**RULE, "when": {"moon": "full"}}]}, {"rules[0].when.moon"}),
        ({**GOOD, "rules": [{**RULE, "when": {"device": ["toaster"]}}]}, {"rules[0].when.device[0]"}),
        ({**GOOD, "rules": [{**RULE, "when": {"country": ["DEU"]}}]}, {"rules[0].when.country[0]"}),
        ({**GOOD, "rules": [{**RULE, "when": {"language": ["pt-BR"]}}]}, {"rules[0].when.language[0]"}),
        ({**GOOD, "rules": [{**RULE, "when": {"hours": "9-17"}}]}, {"rules[0].when.hours"}),
        ({**GOOD, "rules": [{**RULE, "when": {"hours": "09:00-09:00"}}]}, {"rules[0].when.hours"}),
        ({**GOOD, "rules": [{**RULE, "when": {"hours": "24:00-09:00"}}]}, {"rules[0].when.hours"}),
        (
            {**GOOD, "rules": [{**RULE, "when": {"weekdays": ["mon"], "timezone": "../etc/passwd"}}]},
            {"rules[0].when.timezone"},
        ),
        (
            {**GOOD, "rules": [{**RULE, "when": {"after": "2030-01-01T00:00:00"}}]},
            {"rules[0].when.after"},
        ),
        (
            {
                "target": "https://a",
                "rules": [{**RULE, "when": {"after": "2030-01-01T00:00:00Z", "before": "2029-01-01T00:00:00Z"}}],
            },
            {"rules[0].when.before"},
        ),
        ({**GOOD, "rules": [{**RULE, "target": "https://" + "a" * 30_000}] * 2}, {"rules"}),
        ([], {""}),
        (None, {""}),
    ],
)  # fmt: skip
def test_every_wrong_field_is_named(wish: Any, wrong: set[str]) -> None:
    assert fields_of(wish) == wrong


def test_a_change_is_judged_with_what_stays() -> None:
    link = Link(
        domain="", slug="a", link=1, target="https://a", version=1, starts=100, variants=(Variant("https://v"),)
    )
    assert read_change({"expires_at": "1970-01-01T00:01:00Z"}, link, check).errors[0].field == "expires_at"
    assert not read_change({"expires_at": "1970-01-01T00:01:00Z", "starts_at": None}, link, check).errors
    assert {error.field for error in read_change({"slug": "b", "domain": "c.example"}, link, check).errors} == {
        "slug",
        "domain",
    }
    nothing = read_change({}, link, check)
    assert (nothing.fields, nothing.errors) == ({}, [])


def test_every_field_is_kept_and_shown_as_it_was_given(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            made = await api.client.post("/api/v1/links", json=FULL)
            assert made.status_code == 201, made.text
            shown = (await api.client.get("/api/v1/links/Full-1")).json()
            assert shown == made.json()
            assert {name: shown[name] for name in FULL} == {**FULL, "password": True}
            assert (shown["visits"], shown["clicks"]) == (0, 0)
            assert "hash" not in made.text
            again = {**{name: shown[name] for name in FULL}, "slug": "Full-2", "password": "x"}
            assert (await api.client.post("/api/v1/links", json=again)).status_code == 201, (
                "what is shown can be posted"
            )

    with_stores(scenario)


def test_a_patch_changes_what_it_holds_and_null_takes_away(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            before = (await api.client.post("/api/v1/links", json=FULL)).json()
            taken = dict.fromkeys(("starts_at", "expires_at", "max_visits", "password"))
            changes: list[dict[str, Any]] = [
                {"title": "New", "target": "https://new.example/"},
                {"state": "banned"},
                {"state": "active", "rules": [], "variants": [{"target": "https://v.example/"}]},
                taken,
                {},
            ]
            expected = before
            for change in changes:
                answer = await api.client.patch("/api/v1/links/Full-1", json=change)
                assert answer.status_code == 200, answer.text
                after = answer.json()
                expected = {**expected, **change, "version": after["version"]}
                expected["password"] = bool(expected["password"])
                for variant in expected["variants"]:
                    variant.setdefault("weight", 1)
                assert after == expected
                assert answer.headers["ETag"] == f'"{after["version"]}"'
            assert after["version"] > before["version"]
            found = (await api.client.get("/api/v1/links?q=new.example")).json()["items"]
            assert [link["slug"] for link in found] == ["Full-1"]

    with_stores(scenario)


def test_a_patch_with_one_wrong_field_changes_nothing(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            before = (await api.client.post("/api/v1/links", json=FULL)).json()
            wish = {"title": "New", "code": 200, "slug": "other", "expires_at": "2029-01-01T00:00:00Z"}
            refused = await api.client.patch("/api/v1/links/Full-1", json=wish)
            assert refused.status_code == 422
            assert {error["field"] for error in refused.json()["errors"]} == {"code", "slug", "expires_at"}
            assert (await api.client.get("/api/v1/links/Full-1")).json() == before
            assert (await api.client.patch("/api/v1/links/none", json={})).status_code == 404

    with_stores(scenario)


def test_a_patch_at_another_version_changes_nothing(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await api.make("abc")
            first = await api.client.patch("/api/v1/links/abc", json={"title": "1"})
            etag = {"If-Match": first.headers["ETag"]}
            second = await api.client.patch("/api/v1/links/abc", json={"title": "2"}, headers=etag)
            assert second.status_code == 200
            refused = await api.client.patch("/api/v1/links/abc", json={"title": "3"}, headers=etag)
            assert refused.status_code == 412
            assert (await api.client.get("/api/v1/links/abc")).json()["title"] == "2"

    with_stores(scenario)


def test_changes_of_different_fields_at_once_are_all_kept(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await api.make("abc")
            wishes = [{"title": "T"}, {"notes": "N"}, {"tags": ["t"]}]
            answers = await asyncio.gather(*(api.client.patch("/api/v1/links/abc", json=wish) for wish in wishes))
            assert [answer.status_code for answer in answers] == [200] * 3
            link = (await api.client.get("/api/v1/links/abc")).json()
            assert (link["title"], link["notes"], link["tags"]) == ("T", "N", ["t"])

    with_stores(scenario)


@pytest.mark.parametrize(
    ("query", "field"),
    [("sort=random", "sort"), ("sort=clicks&q=a", "q"), ("q=%3F", "q"), ("sort=slug&tag=a", "tag")],
)
def test_a_list_that_no_index_answers_is_refused(with_stores: With, query: str, field: str) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            refused = await api.client.get(f"/api/v1/links?{query}")
            assert refused.status_code == 422
            assert [error["field"] for error in refused.json()["errors"]] == [field]

    with_stores(scenario)


def test_a_cursor_belongs_to_its_order(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            for slug in ("a", "b", "c"):
                await api.make(slug)
            page = (await api.client.get("/api/v1/links?sort=slug&limit=2")).json()
            assert [link["slug"] for link in page["items"]] == ["a", "b"]
            rest = (await api.client.get(f"/api/v1/links?sort=slug&cursor={page['next_cursor']}")).json()
            assert [link["slug"] for link in rest["items"]] == ["c"]
            assert (await api.client.get(f"/api/v1/links?cursor={page['next_cursor']}")).status_code == 422

    with_stores(scenario)
