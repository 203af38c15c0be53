"""Signing in by an identity provider: whose account it is, new keys, a provider that fails or is not what it says."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import pyotp
import pytest
from structlog.testing import capture_logs
from tornado import web

from app.accounts import AUDIT, SYSTEM, USERS
from app.accounts.tries import BEGINS
from app.api.handler import COOKIE
from tests.accounts.issuer import CLIENT, SECRET, Issuer
from tests.api.service import With, serve
from tests.api.test_oidc import START, Browser, failures, signing_in
from tests.api.test_session import PASSWORD, call, make_user, sign_in
from tests.conftest import Stores


def test_a_disabled_user_is_let_in_by_nothing(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with signing_in(stores, BOLTLINK_OIDC_CREATE_DOMAINS="*") as (api, issuer):
            identity = await make_user(api)
            await api.client.patch(f"/api/v1/users/{identity}", json={"disabled": True})
            browser = Browser(api)
            assert (await browser.sign_in(issuer)).status_code == 401
            assert await failures(stores) == ["disabled"]
            assert COOKIE not in browser.cookies
            assert await stores.database[USERS].count_documents({}) == 1

    with_stores(scenario)


def test_users_are_made_of_the_domains_that_are_named_and_have_no_password(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        settings = {"BOLTLINK_OIDC_CREATE_DOMAINS": "example.com", "BOLTLINK_OIDC_ROLE": "editor"}
        async with signing_in(stores, **settings) as (api, issuer):
            one, two = Browser(api), Browser(api)
            answers = await asyncio.gather(one.sign_in(issuer), two.sign_in(issuer))
            assert [answer.status_code for answer in answers] == [302, 302], "at the same time"
            (user,) = (await api.client.get("/api/v1/users")).json()["items"]
            assert (user["email"], user["role"]) == ("ada@example.com", "editor")
            assert await stores.database[AUDIT].count_documents({"what": "user.create", "who": "system"}) == 1
            change = {"old": "", "new": PASSWORD}
            path = "/api/v1/session/password"
            ours = {"Sec-Fetch-Site": "same-origin"}
            assert (await call(api, one.cookies[COOKIE], "POST", path, change, **ours)).status_code == 403
            assert (await sign_in(api)).status_code == 401
            for email in ("eve@sub.example.com", "eve@example.com.evil.example", "\uff45ve@example.com", "eve"):
                issuer.email = email
                assert (await Browser(api).sign_in(issuer)).status_code == 401, email
            assert len((await api.client.get("/api/v1/users")).json()["items"]) == 1
            await api.client.patch(f"/api/v1/users/{user['id']}", json={"password": PASSWORD})
            assert (await sign_in(api)).status_code == 200, "an admin gave them one"

    with_stores(scenario)


def test_an_account_with_a_second_factor_needs_several_at_the_provider(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with signing_in(stores) as (api, issuer):
            await make_user(api)
            factors, user = api.services.factors, await api.services.users.named("ada@example.com")
            assert user is not None
            factor = await factors.begin(user)
            assert factor is not None
            assert await factors.confirm(user, pyotp.TOTP(factor.secret).now(), SYSTEM)
            browser = Browser(api)
            for amr in (None, ["pwd"], ["otp"]):
                issuer.claims = {"amr": amr}
                answer = await browser.sign_in(issuer)
                assert answer.status_code == 403, amr
                assert "second factor" in answer.json()["detail"]
                assert COOKIE not in browser.cookies
            assert await failures(stores) == ["second factor not asked for"] * 3
            issuer.claims = {"amr": ["pwd", "mfa"]}
            assert (await browser.sign_in(issuer)).status_code == 302

    with_stores(scenario)


@pytest.mark.parametrize("kind", ["RSA", "EC"])
def test_a_new_key_of_the_provider_is_taken_at_once_and_its_old_one_no_more(with_stores: With, kind: str) -> None:
    async def scenario(stores: Stores) -> None:
        async with signing_in(stores) as (api, issuer):
            await make_user(api)
            assert (await Browser(api).sign_in(issuer)).status_code == 302
            assert (await Browser(api).sign_in(issuer)).status_code == 302
            assert (issuer.asked.count("/keys"), issuer.asked.count("/.well-known/openid-configuration")) == (1, 1)
            old = issuer.key, issuer.kid
            issuer.make_key(kind)
            assert (await Browser(api).sign_in(issuer)).status_code == 302
            assert issuer.asked.count("/keys") == 2
            issuer.key, issuer.kid = old
            assert (await Browser(api).sign_in(issuer)).status_code == 401
            assert await failures(stores) == ["no key of the provider fits"]

    with_stores(scenario)


@pytest.mark.parametrize("about", [{"use": "enc"}, {"alg": "RS512"}, {"kty": "oct", "k": "AAAA"}])
def test_a_key_is_of_use_for_what_it_is_for(with_stores: With, about: dict[str, str]) -> None:
    async def scenario(stores: Stores) -> None:
        async with signing_in(stores) as (api, issuer):
            await make_user(api)
            issuer.make_key("RSA", **about)
            assert (await Browser(api).sign_in(issuer)).status_code == 401
            assert await failures(stores) == ["no key of the provider fits"]

    with_stores(scenario)


@pytest.mark.parametrize("about", [{"n": "!"}, {"n": ""}, {"n": "AQAB"}, {"e": "AA"}, {"n": "%" * 9}])
def test_a_key_that_is_none_is_no_key(with_stores: With, about: dict[str, str]) -> None:
    async def scenario(stores: Stores) -> None:
        async with signing_in(stores) as (api, issuer):
            await make_user(api)
            issuer.make_key("RSA", **about)
            assert (await Browser(api).sign_in(issuer)).status_code == 401
            assert len(await failures(stores)) == 1

    with_stores(scenario)


def test_an_email_that_the_token_leaves_out_is_asked_for(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with signing_in(stores) as (api, issuer):
            await make_user(api)
            issuer.in_userinfo = True
            assert (await Browser(api).sign_in(issuer)).status_code == 302
            issuer.claims = {"sub": "somebody else"}
            issuer.in_token = {"sub": "248289761001"}
            assert (await Browser(api).sign_in(issuer)).status_code == 401
            assert await failures(stores) == ["the provider tells of somebody else"]

    with_stores(scenario)


def test_a_client_shows_its_secret_as_the_provider_wants_and_reads_it_anew(with_stores: With, tmp_path: Path) -> None:
    async def scenario(stores: Stores) -> None:
        path = tmp_path / "secret"
        settings = {"BOLTLINK_OIDC_CLIENT_SECRET": "", "BOLTLINK_OIDC_CLIENT_SECRET_FILE": str(path)}
        async with signing_in(stores, **settings) as (api, issuer):
            await make_user(api)
            with capture_logs() as logs:
                assert (await Browser(api).sign_in(issuer)).status_code == 503, "there is no file"
                path.write_text("wrong\n")
                assert (await Browser(api).sign_in(issuer)).status_code == 503
            assert "cannot be read" in logs[0]["reason"]
            assert "answered 401" in logs[1]["reason"]
            path.write_text(f"{SECRET}\n")
            assert (await Browser(api).sign_in(issuer)).status_code == 302
        async with signing_in(stores) as (api, issuer):
            issuer.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
            assert (await Browser(api).sign_in(issuer)).status_code == 302
        async with signing_in(stores, BOLTLINK_OIDC_CLIENT_SECRET="") as (api, issuer):
            issuer.secret = ""
            assert (await Browser(api).sign_in(issuer)).status_code == 302, "PKCE alone"

    with_stores(scenario)


def test_who_sent_the_browser_is_checked_where_it_is_said_or_promised(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with signing_in(stores) as (api, issuer):
            await make_user(api)
            browser = Browser(api)
            assert (await browser.get(f"{await browser.begin(issuer)}&iss=https://evil.example")).status_code == 401
            assert (await browser.get(f"{await browser.begin(issuer)}&iss={issuer.url}")).status_code == 302
        async with signing_in(stores) as (api, issuer):
            issuer.metadata["authorization_response_iss_parameter_supported"] = True
            browser = Browser(api)
            assert (await browser.sign_in(issuer)).status_code == 401
            assert (await browser.get(f"{await browser.begin(issuer)}&iss={issuer.url}")).status_code == 302
            assert await failures(stores) == ["another issuer sent the browser"] * 2

    with_stores(scenario)


def test_a_provider_that_signs_nobody_in_says_why_in_one_word(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with signing_in(stores) as (api, issuer):
            for error in ("access_denied", "<script>"):
                browser = Browser(api)
                back = (await browser.begin(issuer)).replace("code=", "no=")
                answer = await browser.get(f"{back}&error={error}")
                assert answer.status_code == 401
                assert "<script>" not in answer.text
            assert await failures(stores) == ["provider: access_denied", "provider: no code"]

    with_stores(scenario)


def _says(body: str | bytes, status: int = 200) -> Callable[[web.RequestHandler], None]:
    def answer(handler: web.RequestHandler) -> None:
        handler.set_status(status)
        if status == 302:
            handler.set_header("Location", "http://127.0.0.1:1/")
        handler.finish(body)

    return answer


#: A path of the provider, what it answers there, and what the log says.
BROKEN = {
    "discovery fails": ("/.well-known/openid-configuration", _says("x", 500), "answered 500"),
    "discovery is moved": ("/.well-known/openid-configuration", _says("", 302), "answered 302"),
    "discovery is no JSON": ("/.well-known/openid-configuration", _says("<html>"), "is no Metadata"),
    "discovery is nested": ("/.well-known/openid-configuration", _says("[" * 100_000), "is no Metadata"),
    "discovery is huge": ("/.well-known/openid-configuration", _says(b" " * 300_000), "closed"),
    "keys are none": ("/keys", _says('{"keys": 1}'), "is no KeySet"),
    "keys fail": ("/keys", _says("", 404), "answered 404"),
    "tokens are none": ("/token", _says("{}"), "is no Tokens"),
    "the client is refused": ("/token", _says('{"error": "invalid_client"}', 400), "answered 400"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_provider_that_fails_is_said_to_and_heals(with_stores: With, case: str) -> None:
    path, answer, reason = BROKEN[case]

    async def scenario(stores: Stores) -> None:
        async with signing_in(stores) as (api, issuer):
            await make_user(api)
            issuer.answers[path] = answer
            browser = Browser(api)
            with capture_logs() as logs:
                failed = await _until_refused(browser, issuer)
            assert failed == (503, "5")
            assert reason in logs[0]["reason"]
            assert SECRET not in str(logs)
            assert len(logs[0]["reason"]) <= 300
            assert COOKIE not in browser.cookies

    with_stores(scenario)


async def _until_refused(browser: Browser, issuer: Issuer) -> tuple[int, str]:
    """What the first answer that does not lead on says."""
    answer = await browser.get(START)
    if answer.status_code == 302:
        answer = await browser.sign_in(issuer)
    return answer.status_code, answer.headers["Retry-After"]


DESCRIBED: list[tuple[dict[str, str], str]] = [
    ({"issuer": "x" * 10_000}, "calls itself 'xxxx"),
    ({"issuer": "https://evil.example"}, "calls itself 'https://evil.example'"),
    ({"token_endpoint": "http://192.0.2.1/token"}, "must be https"),
    ({"jwks_uri": "http://localhost.evil.example/keys"}, "must be https"),
    ({"userinfo_endpoint": "file:///etc/passwd"}, "is no URL"),
    ({"authorization_endpoint": "javascript:alert(1)"}, "is no URL"),
    ({"token_endpoint": "https://user@127.0.0.1/"}, "is no URL"),
]


@pytest.mark.parametrize(("metadata", "reason"), DESCRIBED)
def test_a_description_that_is_not_safe_is_not_followed(
    with_stores: With, metadata: dict[str, str], reason: str
) -> None:
    async def scenario(stores: Stores) -> None:
        async with signing_in(stores) as (api, issuer):
            issuer.metadata = metadata
            with capture_logs() as logs:
                assert (await Browser(api).get(START)).status_code == 503
            assert reason in logs[0]["reason"]

    with_stores(scenario)


def test_a_provider_that_is_down_holds_nobody_up_for_long_and_nothing_else(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))  # and no listen: connections are refused
            url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
            async with signing_in(stores, BOLTLINK_OIDC_ISSUER=url) as (api, _):
                await make_user(api)
                with capture_logs() as logs:
                    answers = await asyncio.gather(*(Browser(api).get(START) for _ in range(5)))
                assert [answer.status_code for answer in answers] == [503] * 5
                assert {line["reason"] for line in logs} == {logs[0]["reason"]}, "one asked, all heard"
                assert (await sign_in(api)).status_code == 200, "by password"

    with_stores(scenario)


def test_without_tls_nobody_is_asked_unless_a_setting_says_so(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with signing_in(stores, BOLTLINK_OIDC_HTTP="off") as (api, issuer):
            with capture_logs() as logs:
                assert (await Browser(api).get(START)).status_code == 503
            assert "must be https" in logs[0]["reason"]
            assert issuer.asked == []

    with_stores(scenario)


@pytest.mark.parametrize("missing", ["BOLTLINK_OIDC_ISSUER", "BOLTLINK_OIDC_CLIENT_ID"])
def test_where_there_is_no_provider_there_is_nothing(with_stores: With, missing: str) -> None:
    async def scenario(stores: Stores) -> None:
        settings = {"BOLTLINK_OIDC_ISSUER": "https://a.example", "BOLTLINK_OIDC_CLIENT_ID": CLIENT, missing: ""}
        async with serve(stores, None, **settings) as api:
            for path in (START, f"{START}/callback?state=a&code=b"):
                assert (await Browser(api).get(path)).status_code == 404

    with_stores(scenario)


def test_neither_step_is_for_frames_and_both_are_limited_for_an_address(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with signing_in(stores, BOLTLINK_ANONYMOUS_RATE="off") as (api, issuer):
            await make_user(api)
            browser = Browser(api)
            framed = await browser.get(START, **{"Sec-Fetch-Dest": "iframe"})
            assert framed.status_code == 403
            for _ in range(60):
                assert (await browser.sign_in(issuer)).status_code == 302, "a success is no try"
            statuses = [(await browser.get(f"{START}/callback?state=x&code=y")).status_code for _ in range(55)]
            assert statuses[:50] == [401] * 50
            assert statuses[-1] == 429
            begun = [(await browser.get(START)).status_code for _ in range(BEGINS.burst)]
            assert (begun[0], begun[-1]) == (302, 429)
            assert begun.index(429) >= BEGINS.burst - 60

    with_stores(scenario)
