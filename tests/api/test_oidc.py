"""Signing in by an identity provider: the way there and back, and everybody who must not get in by it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from cryptography.hazmat.primitives import serialization

from app.accounts import AUDIT, CALLBACK, USERS
from app.api.handler import COOKIE
from app.api.oidc import is_landing
from tests import fetch
from tests.accounts.issuer import CLIENT, SECRET, Issuer, run_issuer
from tests.api.service import PUBLIC_URL, Service, With, serve
from tests.api.test_session import call, make_user
from tests.conftest import Stores

START = "/api/v1/session/oidc"
Json = dict[str, Any]


class Browser:
    """Follows where it is sent, and keeps cookies as a browser does, each for its own path."""

    def __init__(self, api: Service) -> None:
        self.cookies: dict[str, str] = {}
        self._url = api.client.base_url

    async def get(self, url: str, **headers: str) -> httpx.Response:
        """One request; what is the public address of the API goes to the one under test."""
        url = url.removeprefix(PUBLIC_URL)
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {"Sec-Fetch-Dest": "document", **({"Cookie": cookies} if cookies else {}), **headers}
        async with fetch.AsyncClient(base_url=self._url, trust_env=False) as client:
            answer = await client.get(url, headers=sent)
        for field in answer.headers.get_list("Set-Cookie"):
            name, _, rest = field.partition("=")
            value = rest.partition(";")[0].strip('"')
            self.cookies.pop(name, None)
            if value:
                self.cookies[name] = value
        return answer

    async def begin(self, issuer: Issuer, return_to: str = "") -> str:
        """Signs in at the provider; gives the URL at which it sends the browser back."""
        query = f"?{urlencode({'return_to': return_to})}" if return_to else ""
        there = await self.get(START + query)
        assert there.status_code == 302, there.text
        assert there.headers["Location"].startswith(f"{issuer.url}/authorize?tenant=1&")
        async with fetch.AsyncClient(trust_env=False) as client:
            back = await client.get(there.headers["Location"])
        assert back.headers["Location"].startswith(f"{PUBLIC_URL}{CALLBACK}?")
        return str(back.headers["Location"])

    async def sign_in(self, issuer: Issuer, return_to: str = "") -> httpx.Response:
        """All of it."""
        return await self.get(await self.begin(issuer, return_to))


@asynccontextmanager
async def signing_in(stores: Stores, **settings: str) -> AsyncIterator[tuple[Service, Issuer]]:
    """An API that knows a provider."""
    async with run_issuer() as issuer:
        given = {
            "BOLTLINK_OIDC_ISSUER": issuer.url,
            "BOLTLINK_OIDC_CLIENT_ID": CLIENT,
            "BOLTLINK_OIDC_CLIENT_SECRET": SECRET,
            "BOLTLINK_OIDC_HTTP": "on",
        }
        async with serve(stores, None, **{**given, **settings}) as api:
            yield api, issuer


async def failures(stores: Stores) -> list[str]:
    """Why nobody was let in, as the audit log says."""
    rows = stores.database[AUDIT].find({"what": "login.failed"}).sort("_id")
    return [row["new"]["reason"] async for row in rows]


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def test_who_signs_in_at_the_provider_has_a_session_here(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with signing_in(stores) as (api, issuer):
            identity = await make_user(api)
            issuer.email = "Ada@Example.com"
            browser = Browser(api)
            there = await browser.get(START)
            (cookie,) = there.headers.get_list("Set-Cookie")
            fields = {field.strip() for field in cookie.split(";")[1:]}
            assert {"HttpOnly", "SameSite=Lax", "Secure", f"Path={START}", "Max-Age=600"} <= fields
            asked = query_of(there.headers["Location"])
            assert asked["redirect_uri"] == PUBLIC_URL + CALLBACK
            secret = cookie.partition("=")[2].partition(";")[0]
            assert secret not in there.headers["Location"]
            digest = base64.urlsafe_b64encode(hashlib.sha256(secret.encode()).digest()).decode().rstrip("=")
            assert asked["nonce"] == digest
            stored = [key async for key in stores.redis.scan_iter("o:*")]
            assert len(stored) == 1
            assert asked["state"] not in str(stored)
            assert 0 < await stores.redis.ttl(stored[0]) <= 600

            browser = Browser(api)
            answer = await browser.sign_in(issuer)
            assert (answer.status_code, answer.headers["Location"]) == (302, "/api/v1/session")
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            session = next(field for field in answer.headers.get_list("Set-Cookie") if field.startswith(f"{COOKIE}="))
            assert {"HttpOnly", "SameSite=Lax", "Secure", "Path=/api/v1"} <= {f.strip() for f in session.split(";")}
            assert list(browser.cookies) == [COOKIE], "the flow's own is gone"
            who = await call(api, browser.cookies[COOKIE], "GET", "/api/v1/session")
            assert who.json()["id"] == identity
            entry = await stores.database[AUDIT].find_one({"what": "login"})
            assert entry is not None
            assert (entry["who"], entry["new"]) == (f"user:{identity}", {"by": "oidc"})

    with_stores(scenario)


@pytest.mark.parametrize("path", ["/docs", "/dashboard", "/dashboard/links?q=a#b", "/api/v1/links", "/docs/a//b"])
def test_a_browser_comes_out_at_pages_of_our_own(path: str) -> None:
    assert is_landing(path)


@pytest.mark.parametrize(
    "path",
    [
        *(
            "",
            "docs",
            "https://evil.example/",
            "//evil.example/docs",
            "///docs",
            "/\\evil.example/docs",
            "/docs\\..\\x",
        ),
        *("/docs/../link", "/docs/%2e%2E/link", "/docs/.%2e/link", "/%64ocs", "/link", "/", "/documents", "/docs\t/x"),
        *("javascript:alert(1)", "/docs/\n//evil.example", "/docs/ x", "/docs/é", "/login", "\\docs", "/@evil.example"),
    ],
)
def test_a_browser_is_led_nowhere_else(path: str) -> None:
    assert not is_landing(path)


def test_return_to_is_kept_on_our_side_and_judged_before_anything_is_begun(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with signing_in(stores) as (api, issuer):
            await make_user(api)
            for path in ("https://evil.example/", "//evil.example", "/a-link"):
                refused = await Browser(api).get(f"{START}?{urlencode({'return_to': path})}")
                assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "return_to")
            assert issuer.asked == []
            browser = Browser(api)
            back = await browser.begin(issuer, "/docs#links")
            answer = await browser.get(f"{back}&return_to=https://evil.example/")
            assert answer.headers["Location"] == "/docs#links"

    with_stores(scenario)


def test_two_windows_sign_in_at_the_same_time(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with signing_in(stores) as (api, issuer):
            await make_user(api)
            browser = Browser(api)
            one, two = await browser.begin(issuer, "/docs"), await browser.begin(issuer, "/dashboard")
            assert (await browser.get(one)).headers["Location"] == "/docs"
            assert (await browser.get(two)).headers["Location"] == "/dashboard"

    with_stores(scenario)


def test_a_way_back_is_of_use_once_and_to_the_browser_that_went(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with signing_in(stores) as (api, issuer):
            await make_user(api)
            browser, other = Browser(api), Browser(api)
            back = await browser.begin(issuer)
            kept = dict(browser.cookies)
            assert (await browser.get(back)).status_code == 302
            browser.cookies = kept
            assert (await browser.get(back)).status_code == 401, "replayed"
            assert issuer.asked.count("/token") == 1, "the code was not even shown"

            stolen = await browser.begin(issuer)
            assert (await other.get(stolen)).status_code == 401, "no cookie"
            await other.begin(issuer)
            name = next(name for name in browser.cookies if name != COOKIE)
            other.cookies[name] = next(iter(other.cookies.values()))
            assert (await other.get(await browser.begin(issuer))).status_code == 401, "another browser's cookie"
            for query in ("", "?state=&code=x", "?state=made-up&code=x", "?code=x", "?state=%ff&code=%ff"):
                assert (await browser.get(CALLBACK + query)).status_code in (401, 422), query
            twice = await browser.get(f"{await browser.begin(issuer)}&state=other")
            assert twice.status_code == 422, "two readers might each take another one"
            assert issuer.asked.count("/token") == 1
            assert COOKIE not in other.cookies

    with_stores(scenario)


def test_a_code_of_another_flow_is_worth_nothing(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with signing_in(stores) as (api, issuer):
            await make_user(api)
            victim, thief = Browser(api), Browser(api)
            caught = query_of(await victim.begin(issuer))["code"]
            own = query_of(await thief.begin(issuer))
            answer = await thief.get(f"{CALLBACK}?{urlencode({**own, 'code': caught})}")
            assert answer.status_code == 401, "another verifier"
            assert await failures(stores) == ["the provider does not know the code, or no more"]

    with_stores(scenario)


def _no_signature(claims: Json) -> str:
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    return ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts) + "."


def _hmac_by_public_key(issuer: Issuer, alg: str = "HS256") -> Callable[[Json], str]:
    """Signed with what everybody knows, in the hope that it is taken for a shared secret."""
    pem = issuer.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    def forge(claims: Json) -> str:
        parts = ({"alg": alg, "kid": issuer.kid}, claims)
        head = ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts)
        tag = base64.urlsafe_b64encode(hmac.digest(pem, head.encode(), "sha256")).decode().rstrip("=")
        return f"{head}.{tag}"

    return forge


def _by_a_stranger(issuer: Issuer) -> Callable[[Json], str]:
    """Signed with another key that is given the name of the right one."""

    def forge(claims: Json) -> str:
        stranger = Issuer("")
        stranger.make_key()
        return stranger.sign(claims, kid=issuer.kid)

    return forge


def _changed_after(issuer: Issuer) -> Callable[[Json], str]:
    def forge(claims: Json) -> str:
        head, _, tag = issuer.sign({**claims, "email": "mallory@example.com"}).split(".")
        body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
        return f"{head}.{body}.{tag}"

    return forge


NOW = int(time.time())
DAY_S = 86_400  # longer than any run of the tests
#: What is wrong with a token -> what the audit log says.
WRONG: dict[str, tuple[Json, str]] = {
    "nonce": ({"nonce": "another"}, "of another sign-in"),
    "no nonce": ({"nonce": None}, "of another sign-in"),
    "audience": ({"aud": "another client"}, "another audience"),
    "audiences": ({"aud": [CLIENT, "other"]}, "another party was authorised"),
    "party": ({"azp": "other"}, "another party was authorised"),
    "issuer": ({"iss": "https://evil.example"}, "another issuer"),
    "expired": ({"exp": NOW - 120}, "expired"),
    "no end": ({"exp": None}, "expired"),
    "future": ({"iat": NOW + DAY_S}, "issued in the future, or never"),
    "too soon": ({"nbf": NOW + DAY_S}, "not valid yet"),
    "no subject": ({"sub": ""}, "no subject"),
    "shape": ({"sub": 7}, "its claims are not what they must be"),
    "not verified": ({"email_verified": False}, "email not verified"),
    "said nothing": ({"email_verified": None}, "email not verified"),
    "another word": ({"email_verified": "yes"}, "email not verified"),
    "unknown": ({"email": "nobody@example.com"}, "no account"),
    "look-alike": ({"email": "ad\uff41@example.com"}, "email of another spelling"),
    "kelvin": ({"email": "\u212aim@example.com"}, "email of another spelling"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_token_lets_nobody_in(with_stores: With, case: str) -> None:
    async def scenario(stores: Stores) -> None:
        async with signing_in(stores) as (api, issuer):
            await make_user(api)
            await make_user(api, email="kim@example.com")
            issuer.claims, reason = WRONG[case]
            browser = Browser(api)
            answer = await browser.sign_in(issuer)
            assert (answer.status_code, await failures(stores)) == (401, [reason])
            assert COOKIE not in browser.cookies
            assert [key async for key in stores.redis.scan_iter("s:*")] == []
            assert await stores.database[USERS].count_documents({}) == 2

    with_stores(scenario)


FORGED: dict[str, Callable[[Issuer], Callable[[Json], str]]] = {
    "none": lambda issuer: _no_signature,
    "HS256": _hmac_by_public_key,
    "RS256 by HMAC": lambda issuer: _hmac_by_public_key(issuer, "RS256"),
    "stranger": _by_a_stranger,
    "changed": _changed_after,
    "crit": lambda issuer: lambda claims: issuer.sign(claims, crit=["exp"]),
    "key within": lambda issuer: lambda claims: issuer.sign(claims, kid="x", jwk=issuer.keys[0], jku=issuer.url),
    "no token": lambda issuer: lambda claims: "no token",
    "long": lambda issuer: lambda claims: issuer.sign({**claims, "x": "x" * 100_000}),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_token_that_the_provider_did_not_sign_lets_nobody_in(with_stores: With, case: str) -> None:
    async def scenario(stores: Stores) -> None:
        async with signing_in(stores) as (api, issuer):
            await make_user(api)
            issuer.forge = FORGED[case](issuer)
            browser = Browser(api)
            assert (await browser.sign_in(issuer)).status_code == 401
            assert COOKIE not in browser.cookies
            assert len(await failures(stores)) == 1
            issuer.forge = None
            assert (await browser.sign_in(issuer)).status_code == 302, "the right one is let in"

    with_stores(scenario)
