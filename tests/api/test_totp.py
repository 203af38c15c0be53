"""The second factor: begun, confirmed, asked for, each code once, recovery codes, and every way in which it ends."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import replace
from typing import Any

import httpx
import pyotp
import pytest

from app.accounts import AUDIT, USERS, SecondFactors
from app.api import Services
from tests.api.service import ADMIN_KEY, Service, With, make_services, serve
from tests.api.test_session import OURS, PASSWORD, call, make_user, sign_in, token_of
from tests.cli.command import boltlink
from tests.conftest import Stores

TOTP = "/api/v1/session/totp"
NOW_S = 2_000_000_000.0  # no test may end in another step than it began in


async def enter(api: Service, code: str, password: str = PASSWORD) -> httpx.Response:
    body = {"email": "ada@example.com", "password": password, "code": code}
    return await api.client.post("/api/v1/session", json=body, headers={"Authorization": ""})


def code_of(secret: str, away: int = 0) -> str:
    """The code of now, or of some steps from now."""
    return pyotp.TOTP(secret).at(NOW_S, counter_offset=away)


async def at_rest(stores: Stores) -> Services:
    """Services for which codes are those of NOW_S."""
    services = make_services(stores)
    if not await services.keys.find(ADMIN_KEY, lambda: asyncio.sleep(0)):
        await services.keys.add(ADMIN_KEY, "admin")
    factors = SecondFactors(stores.database, services.audit, now_s=lambda: NOW_S, token_bytes=secrets.token_bytes)
    return replace(services, factors=factors)


async def free(stores: Stores) -> None:
    """As if the codes of this minute were not used yet."""
    await stores.database[USERS].update_one({"email": "ada@example.com"}, {"$set": {"factor.step": 0}})


async def enable(api: Service, stores: Stores) -> tuple[str, str, list[str]]:
    """A user with a factor whose codes of now are free: (token, secret, recovery codes)."""
    await make_user(api)
    token = token_of(await sign_in(api))
    begun = await call(api, token, "POST", TOTP, {"password": PASSWORD}, **OURS)
    assert begun.status_code == 200, begun.text
    secret = begun.json()["secret"]
    done = await call(api, token, "POST", f"{TOTP}/confirm", {"code": code_of(secret)}, **OURS)
    assert done.status_code == 200, done.text
    await free(stores)
    return token, secret, done.json()["recovery_codes"]


def test_it_is_active_once_a_code_has_confirmed_it(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores, await at_rest(stores)) as api:
            await make_user(api)
            token = token_of(await sign_in(api))
            assert (await call(api, token, "POST", TOTP, {"password": "wrong"}, **OURS)).status_code == 403
            assert (await call(api, token, "POST", TOTP, {"password": PASSWORD})).status_code == 403, "no origin"
            first, begun = [await call(api, token, "POST", TOTP, {"password": PASSWORD}, **OURS) for _ in range(2)]
            found = begun.json()
            assert pyotp.parse_uri(found["uri"]).secret == found["secret"]
            assert found["secret"] in found["uri"]
            assert (await sign_in(api)).status_code == 200, "pending, it asks nobody for anything"
            for code in (code_of(first.json()["secret"]), "000000", "", "ümläut"):
                assert (await call(api, token, "POST", f"{TOTP}/confirm", {"code": code}, **OURS)).status_code == 403
            code = code_of(found["secret"])
            done = await call(api, token, "POST", f"{TOTP}/confirm", {"code": code}, **OURS)
            assert len(set(done.json()["recovery_codes"])) == 10
            again = await call(api, token, "POST", f"{TOTP}/confirm", {"code": code}, **OURS)
            assert again.status_code == 403, "active is active"
            assert (await call(api, token, "POST", TOTP, {"password": PASSWORD}, **OURS)).status_code == 409
            assert (await enter(api, code)).status_code == 401, "the code that confirmed is used"
            listed = (await api.client.get("/api/v1/users?email=ADA@example.com")).json()["items"]
            assert [(user["email"], user["totp"]) for user in listed] == [("ada@example.com", True)]
            assert (await api.client.get("/api/v1/users?email=no@example.com")).json()["items"] == []

    with_stores(scenario)


def test_signing_in_asks_for_a_code_that_is_right_once(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores, await at_rest(stores)) as api:
            _, secret, recovery = await enable(api, stores)
            asked = await sign_in(api)
            assert (asked.status_code, asked.json()["errors"][0]["field"]) == (401, "code")
            assert "Set-Cookie" not in asked.headers
            unasked = await enter(api, code_of(secret), "wrong password")
            assert "errors" not in unasked.json(), "who lacks the password learns of no factor"
            for away in (-1, 0, 1):
                code = code_of(secret, away)
                assert [(await enter(api, code)).status_code for _ in range(2)] == [200, 401], away
            assert (await enter(api, code_of(secret, -1))).status_code == 401, "older than one that was used"
            await free(stores)
            assert (await enter(api, code_of(secret, 3))).status_code == 401
            spaced = code_of(secret)[:3] + " " + code_of(secret)[3:]
            assert (await enter(api, spaced)).status_code == 200
            assert [(await enter(api, recovery[0])).status_code for _ in range(2)] == [200, 401]
            assert (await enter(api, recovery[1].upper())).status_code == 200
            row: Any = await stores.database[USERS].find_one({"email": "ada@example.com"})
            assert len(row["factor"]["recovery"]) == 8
            assert not any(code in str(row) or code.replace("-", "") in str(row) for code in recovery)
            told = str([note async for note in stores.database[AUDIT].find()])
            assert "totp.enable" in told
            assert not any(text in told for text in (secret, *recovery))

    with_stores(scenario)


@pytest.mark.parametrize("turn", range(3))
@pytest.mark.parametrize("kind", ["time", "recovery"])
def test_of_sign_ins_with_one_code_in_parallel_one_is_in(with_stores: With, kind: str, turn: int) -> None:
    async def scenario(stores: Stores) -> None:
        services = [await at_rest(stores) for _ in range(2)]
        async with serve(stores, services[0]) as here, serve(stores, services[1]) as elsewhere:
            _, secret, recovery = await enable(here, stores)
            code = code_of(secret) if kind == "time" else recovery[turn]
            answers = await asyncio.gather(*(enter(api, code) for api in (here, elsewhere) * 3))
            assert sorted(answer.status_code for answer in answers) == [200] + [401] * 5
            assert len([key async for key in stores.redis.scan_iter("s:*")]) == 2

    with_stores(scenario)


def test_guessed_codes_are_tries_and_asking_for_one_is_none(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores, await at_rest(stores)) as api:
            _, secret, _ = await enable(api, stores)
            assert {(await sign_in(api)).status_code for _ in range(15)} == {401}
            wrong = f"{(int(code_of(secret)) + 500_000) % 1_000_000:06}"
            assert [(await enter(api, wrong)).status_code for _ in range(11)] == [401] * 10 + [429]
            assert (await enter(api, code_of(secret))).status_code == 429
            assert await stores.database[AUDIT].count_documents({"what": "login.failed"}) == 10

    with_stores(scenario)


def test_a_password_alone_does_not_make_a_network_known(with_stores: With) -> None:
    """Else who knows it would have a thousand networks guess codes, past the limit of the account."""

    async def scenario(stores: Stores) -> None:
        async with serve(stores, await at_rest(stores)) as api:
            _, secret, _ = await enable(api, stores)
            await stores.redis.delete(*[key async for key in stores.redis.scan_iter("k:*")])
            assert (await sign_in(api)).json()["errors"][0]["field"] == "code"
            assert [key async for key in stores.redis.scan_iter("k:*")] == []
            assert (await enter(api, code_of(secret))).status_code == 200
            assert len([key async for key in stores.redis.scan_iter("k:*")]) == 1

    with_stores(scenario)


def test_it_ends_by_password_and_code_or_by_an_administrator(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores, await at_rest(stores)) as api:
            token, secret, recovery = await enable(api, stores)
            for password, code in (("wrong", code_of(secret)), (PASSWORD, "000000"), (PASSWORD, "")):
                body = {"password": password, "code": code}
                assert (await call(api, token, "POST", f"{TOTP}/delete", body, **OURS)).status_code == 403
            body = {"password": PASSWORD, "code": recovery[0]}
            assert (await call(api, token, "POST", f"{TOTP}/delete", body)).status_code == 403, "no origin"
            assert (await call(api, token, "POST", f"{TOTP}/delete", body, **OURS)).status_code == 204
            assert (await sign_in(api)).status_code == 200
            identity = (await api.client.get("/api/v1/users")).json()["items"][0]["id"]
            secret = (await call(api, token, "POST", TOTP, {"password": PASSWORD}, **OURS)).json()["secret"]
            first_code = {"code": code_of(secret)}
            assert (await call(api, token, "POST", f"{TOTP}/confirm", first_code, **OURS)).status_code == 200
            changed = await api.client.patch(f"/api/v1/users/{identity}", json={"role": "viewer"})
            assert changed.json()["totp"], "other changes leave it"
            environ = {"BOLTLINK_URL": str(api.client.base_url).rstrip("/"), "BOLTLINK_API_KEY": ADMIN_KEY}
            words = ("users", "totp", "disable", "ADA@example.com", "--yes", "--json")
            done = await boltlink(*words, environ=environ)
            assert json.loads(done.out) == {"email": "ADA@example.com", "totp": False}, done.err
            assert (await sign_in(api)).status_code == 200
            assert (await api.client.delete(f"/api/v1/users/{identity}/totp")).status_code == 404
            ends = [note async for note in stores.database[AUDIT].find({"what": "totp.disable"}).sort("_id")]
            assert [note["who"].partition(":")[0] for note in ends] == ["user", "key"]

    with_stores(scenario)
