"""Signing in: the cookie, what a page of another origin may not, limits, and every way in which a session ends."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from app.accounts import AUDIT
from app.api.handler import COOKIE
from tests import fetch
from tests.api.service import Service, With, make_services, serve
from tests.conftest import Stores

PASSWORD = "correct horse battery"
OURS = {"Sec-Fetch-Site": "same-origin"}


async def make_user(api: Service, role: str = "editor", email: str = "ada@example.com") -> str:
    wish = {"email": email, "role": role, "password": PASSWORD}
    made = await api.client.post("/api/v1/users", json=wish)
    assert made.status_code == 201, made.text
    identity: str = made.json()["id"]
    return identity


async def sign_in(api: Service, password: str = PASSWORD, email: str = "ada@example.com") -> httpx.Response:
    body = {"email": email, "password": password}
    return await api.client.post("/api/v1/session", json=body, headers={"Authorization": ""})


async def call(api: Service, token: str, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
    """As a page would, with nothing but the cookie."""
    async with fetch.AsyncClient(base_url=api.client.base_url, trust_env=False) as browser:
        return await browser.request(method, path, json=body, headers={"Cookie": f"{COOKIE}={token}", **headers})


def token_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return answer.headers["Set-Cookie"].partition("=")[2].partition(";")[0]


@pytest.mark.parametrize(("base", "is_secure"), [("https://sho.rt", True), ("http://sho.rt", False)])
def test_cookie_goes_to_the_api_alone_and_to_no_script(with_stores: With, base: str, is_secure: bool) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores, BOLTLINK_BASE_URL=base) as api:
            await make_user(api)
            answer = await sign_in(api, email="ADA@example.com")
            fields = [field.strip() for field in answer.headers["Set-Cookie"].split(";")[1:]]
            assert {"HttpOnly", "Path=/api/v1", "SameSite=Lax"} <= set(fields)
            assert ("Secure" in fields) == is_secure
            assert not any(field.lower().startswith("domain") for field in fields)
            keys = [key async for key in stores.redis.scan_iter("s:*")]
            assert len(keys) == 1
            assert token_of(answer) not in str(keys)

    with_stores(scenario)


def test_a_session_may_what_the_role_says_and_acts_in_the_users_name(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            identity = await make_user(api)
            token = token_of(await sign_in(api))
            assert (await call(api, token, "GET", "/api/v1/session")).json()["email"] == "ada@example.com"
            made = await call(
                api, token, "POST", "/api/v1/links", {"target": "https://a.example/", "slug": "a"}, **OURS
            )
            assert made.status_code == 201
            assert (await call(api, token, "GET", "/api/v1/keys")).status_code == 403
            entry = await stores.database[AUDIT].find_one({"what": "link.create"})
            assert entry is not None
            assert entry["who"] == f"user:{identity}"
            assert (await api.client.get("/api/v1/links?owner=" + identity)).json()["items"][0]["slug"] == "a"

    with_stores(scenario)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 201),
        ({"Origin": "https://sho.rt"}, 201),
        ({}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "https://sho.rt"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_a_change_by_cookie_needs_a_page_of_this_origin(
    with_stores: With, headers: dict[str, str], status: int
) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await make_user(api)
            token = token_of(await sign_in(api))
            wish = {"target": "https://a.example/"}
            assert (await call(api, token, "POST", "/api/v1/links", wish, **headers)).status_code == status
            assert (await call(api, token, "GET", "/api/v1/links", **headers)).status_code == 200
            login = {"email": "ada@example.com", "password": PASSWORD}
            expected = 200 if status == 201 or not headers else 403
            assert (await call(api, "", "POST", "/api/v1/session", login, **headers)).status_code == expected

    with_stores(scenario)


def test_tries_are_limited_for_an_account_and_say_nothing_about_it(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await make_user(api)
            for email in ("ada@example.com", "nobody@example.com"):
                tries = [await sign_in(api, "wrong password", email) for _ in range(11)]
                assert [answer.status_code for answer in tries] == [401] * 10 + [429]
                assert int(tries[10].headers["Retry-After"]) > 0
                details = {answer.json()["detail"] for answer in tries[:10]}
                assert len(details) == 1
            assert (await sign_in(api)).status_code == 429, "also the right one, while guesses go on"
            failed = await stores.database[AUDIT].count_documents({"what": "login.failed"})
            assert failed == 20
            assert "wrong password" not in str([row async for row in stores.database[AUDIT].find()])

    with_stores(scenario)


def test_right_passwords_are_no_tries(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await make_user(api)
            assert {(await sign_in(api)).status_code for _ in range(15)} == {200}

    with_stores(scenario)


def test_sessions_end(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            identity = await make_user(api)
            path = f"/api/v1/users/{identity}"
            change = {"old": PASSWORD, "new": "another long password"}

            async def is_open(token: str) -> bool:
                return (await call(api, token, "GET", "/api/v1/session")).status_code == 200

            one, two = token_of(await sign_in(api)), token_of(await sign_in(api))
            assert (await call(api, one, "DELETE", "/api/v1/session", **OURS)).status_code == 204
            assert [await is_open(one), await is_open(two)] == [False, True]
            wrong = {**change, "old": "wrong password"}
            password = "/api/v1/session/password"
            assert (await call(api, two, "POST", password, wrong, **OURS)).status_code == 403
            assert (await call(api, two, "POST", password, change)).status_code == 403, "no origin"
            assert await is_open(two)
            assert (await call(api, two, "POST", password, change, **OURS)).status_code == 204
            assert not await is_open(two)
            assert (await sign_in(api)).status_code == 401
            three = token_of(await sign_in(api, change["new"]))
            assert (await api.client.delete(f"{path}/sessions")).status_code == 204
            assert not await is_open(three)
            four = token_of(await sign_in(api, change["new"]))
            assert (await api.client.patch(path, json={"disabled": True})).status_code == 200
            assert not await is_open(four)
            assert (await sign_in(api, change["new"])).status_code == 401
            await api.client.patch(path, json={"disabled": False})
            assert not await is_open(four), "what has ended does not come back"
            five = token_of(await sign_in(api, change["new"]))
            assert (await api.client.delete(path)).status_code == 204
            assert not await is_open(five)

    with_stores(scenario)


def test_sessions_end_unused_and_by_age(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores, BOLTLINK_SESSION_IDLE="100s", BOLTLINK_SESSION_LIFE="4s") as api:
            await make_user(api)
            token = token_of(await sign_in(api))
            (key,) = [key async for key in stores.redis.scan_iter("s:*")]
            await stores.redis.expire(key, 50)
            assert (await call(api, token, "GET", "/api/v1/session")).status_code == 200
            assert await stores.redis.ttl(key) > 50, "used"
            await asyncio.sleep(4.1)
            assert (await call(api, token, "GET", "/api/v1/session")).status_code == 401
            assert not await stores.redis.exists(key)

    with_stores(scenario)


def test_sessions_end_within_a_second_on_other_processes(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as here, serve(stores, make_services(stores)) as elsewhere:
            identity = await make_user(here)
            token = token_of(await sign_in(here))
            assert (await call(elsewhere, token, "GET", "/api/v1/links")).status_code == 200
            await here.client.delete(f"/api/v1/users/{identity}/sessions")
            await asyncio.sleep(1.05)
            assert (await call(elsewhere, token, "GET", "/api/v1/links")).status_code == 401

    with_stores(scenario)


def test_users_are_listed_changed_and_removed(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            for n in range(5):
                await make_user(api, email=f"u{n}@example.com")
            seen: list[str] = []
            cursor: str | None = ""
            while cursor is not None:
                page = (await api.client.get("/api/v1/users", params={"limit": 2, "cursor": cursor})).json()
                seen += [user["email"] for user in page["items"]]
                cursor = page["next_cursor"]
            assert seen == [f"u{n}@example.com" for n in range(5)]
            for text in ("!!", "_w==", "YQ"):  # no base64, no UTF-8, no padding
                assert (await api.client.get("/api/v1/users", params={"cursor": text})).status_code == 422, text
            wish = {"email": "U1@example.com", "role": "viewer", "password": PASSWORD}
            assert (await api.client.post("/api/v1/users", json=wish)).status_code == 409
            wrong = ({"role": "root"}, {"password": "short"}, {"email": "x"}, {"id": "1"})
            for part in wrong:
                body = {**wish, "email": "new@example.com", **part}
                assert (await api.client.post("/api/v1/users", json=body)).status_code == 422, part
            admin = await make_user(api, "admin", "root@example.com")
            for answer in (
                await api.client.patch(f"/api/v1/users/{admin}", json={"role": "editor"}),
                await api.client.patch(f"/api/v1/users/{admin}", json={"disabled": True}),
                await api.client.delete(f"/api/v1/users/{admin}"),
            ):
                assert answer.status_code == 409
            text = (await api.client.get("/api/v1/users")).text + (await api.client.get("/api/v1/audit?limit=500")).text
            assert "$2b$" not in text

    with_stores(scenario)
