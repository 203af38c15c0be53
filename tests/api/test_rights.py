"""Who may do what: every method of every route, tried by every kind of key. A route that is not in the table fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from tornado import web

from app.accounts import KEYS, Scope
from app.api import NEEDS, ROUTES
from app.api.handler import COOKIE
from tests import fetch
from tests.api.service import Service, With, serve
from tests.conftest import Stores

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
#: Kinds of callers, in the order of the columns below. The last three have links:write and stats:read, narrowed.
KINDS = ("nobody", "read", "write", "stats", "admin", "revoked", "expired", "domain", "tag", "own")
READ = "401 200 200 403 200 401 401"
WRITE = "401 403 200 403 200 401 401"
STATS = "401 403 403 200 200 401 401"
ADMIN = "401 403 403 403 200 401 401"
PUBLIC = "200 200 200 200 200 200 200 200 200 200"
SIGNED_IN = "401 401 401 401 401 401 401 401 401 401"  # a key is no session
OFF = "404 404 404 404 404 404 404 404 404 404"  # nobody named an identity provider
NONE_OF_THEIRS = " 404 404 404"
#: The link of the requests is another's, of the default domain, without a tag.
EXPECTED = {
    "GET /": PUBLIC,
    "GET /health": PUBLIC,
    "GET /ready": PUBLIC,
    "GET /robots.txt": PUBLIC,
    "GET /docs": PUBLIC,
    "GET /dashboard": PUBLIC,
    "GET /dashboard/{digest}/{file}": PUBLIC,
    "GET /api/v1/openapi.json": PUBLIC,
    "GET /api/v1/links": READ + " 200 200 200",
    "POST /api/v1/links": WRITE.replace("200", "201") + " 422 422 201",
    "POST /api/v1/links/batch": WRITE + " 200 200 200",
    "PATCH /api/v1/links/batch": WRITE + " 200 200 200",
    "POST /api/v1/links/batch/delete": WRITE + " 200 200 200",
    "GET /api/v1/links/{slug}": READ + NONE_OF_THEIRS,
    "PATCH /api/v1/links/{slug}": WRITE + NONE_OF_THEIRS,
    "DELETE /api/v1/links/{slug}": WRITE.replace("200", "204") + NONE_OF_THEIRS,
    "POST /api/v1/links/{slug}/restore": WRITE.replace("200", "409") + NONE_OF_THEIRS,
    "GET /api/v1/links/{slug}/qr": READ + NONE_OF_THEIRS,
    "GET /api/v1/links/{slug}/stats": STATS + NONE_OF_THEIRS,
    "DELETE /api/v1/links/{slug}/stats": ADMIN.replace("200", "404") + " 403 403 403",
    "GET /api/v1/links/{slug}/history": READ + NONE_OF_THEIRS,
    "GET /api/v1/stats": STATS + " 200 200 200",
    "GET /api/v1/live": STATS + NONE_OF_THEIRS,
    "GET /api/v1/domains": READ + " 200 200 200",
    "POST /api/v1/domains": ADMIN.replace("200", "422") + " 403 403 403",
    "GET /api/v1/domains/{domain}": READ.replace("200", "404") + " 404 404 404",
    "PATCH /api/v1/domains/{domain}": ADMIN.replace("200", "404") + " 403 403 403",
    "DELETE /api/v1/domains/{domain}": ADMIN.replace("200", "404") + " 403 403 403",
    "GET /api/v1/tags": READ + " 403 403 403",
    "PATCH /api/v1/tags/{tag}": ADMIN.replace("200", "404") + " 403 403 403",
    "DELETE /api/v1/tags/{tag}": ADMIN.replace("200", "404") + " 403 403 403",
    "GET /api/v1/keys": ADMIN + " 403 403 403",
    "POST /api/v1/keys": ADMIN.replace("200", "201") + " 403 403 403",
    "DELETE /api/v1/keys/{key_id}": ADMIN.replace("200", "404") + " 403 403 403",
    "GET /api/v1/users": ADMIN + " 403 403 403",
    "POST /api/v1/users": ADMIN.replace("200", "201") + " 403 403 403",
    "GET /api/v1/users/{user_id}": ADMIN.replace("200", "404") + " 403 403 403",
    "PATCH /api/v1/users/{user_id}": ADMIN.replace("200", "404") + " 403 403 403",
    "DELETE /api/v1/users/{user_id}": ADMIN.replace("200", "404") + " 403 403 403",
    "DELETE /api/v1/users/{user_id}/sessions": ADMIN.replace("200", "404") + " 403 403 403",
    "DELETE /api/v1/users/{user_id}/totp": ADMIN.replace("200", "404") + " 403 403 403",
    "GET /api/v1/session": SIGNED_IN,
    "POST /api/v1/session": SIGNED_IN,
    "DELETE /api/v1/session": SIGNED_IN,
    "GET /api/v1/session/oidc": OFF,
    "GET /api/v1/session/oidc/callback": OFF,
    "POST /api/v1/session/password": SIGNED_IN,
    "POST /api/v1/session/totp": SIGNED_IN,
    "POST /api/v1/session/totp/confirm": SIGNED_IN,
    "POST /api/v1/session/totp/delete": SIGNED_IN,
    "GET /api/v1/webhooks": READ + " 200 200 200",
    "POST /api/v1/webhooks": WRITE.replace("200", "201") + " 201 201 201",
    "GET /api/v1/webhooks/{webhook_id}": READ.replace("200", "404") + NONE_OF_THEIRS,
    "PATCH /api/v1/webhooks/{webhook_id}": WRITE.replace("200", "404") + NONE_OF_THEIRS,
    "DELETE /api/v1/webhooks/{webhook_id}": WRITE.replace("200", "404") + NONE_OF_THEIRS,
    "POST /api/v1/webhooks/{webhook_id}/secret": WRITE.replace("200", "404") + NONE_OF_THEIRS,
    "POST /api/v1/webhooks/{webhook_id}/test": WRITE.replace("200", "404") + NONE_OF_THEIRS,
    "GET /api/v1/webhooks/{webhook_id}/deliveries": READ.replace("200", "404") + NONE_OF_THEIRS,
    "GET /api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}": READ.replace("200", "404") + NONE_OF_THEIRS,
    "POST /api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}": WRITE.replace("200", "404") + NONE_OF_THEIRS,
    "GET /api/v1/jobs": ADMIN + " 403 403 403",
    "POST /api/v1/jobs/{job_id}/retry": ADMIN.replace("200", "404") + " 403 403 403",
    "GET /api/v1/audit": ADMIN + " 403 403 403",
}
#: What is in the place of each name in a path.
NOBODYS = {
    "digest": "0" * 16,
    "file": "main.js",
    "slug": "none",
    "tag": "none",
    "domain": "none.example",
    "key_id": "0" * 64,
    "user_id": "0" * 16,
    "webhook_id": "0" * 16,
    "delivery_id": f"{'0' * 24}-{'0' * 16}",
    "job_id": "none",
}
BODIES: dict[str, Any] = {
    "POST /api/v1/links": {"target": "https://a.example/"},
    "POST /api/v1/links/batch": {"links": [{"target": "https://a.example/"}]},
    "PATCH /api/v1/links/batch": {"links": [{"slug": "link", "title": "changed"}]},
    "POST /api/v1/links/batch/delete": {"links": [{"slug": "link"}]},
    "PATCH /api/v1/links/{slug}": {"title": "changed"},
    "POST /api/v1/domains": {"name": "127.0.0.1"},
    "PATCH /api/v1/domains/{domain}": {"robots": "disallow"},
    "PATCH /api/v1/tags/{tag}": {"name": "other"},
    "POST /api/v1/webhooks": {"url": "https://hooks.example.com/"},
    "PATCH /api/v1/webhooks/{webhook_id}": {"state": "disabled"},
    "POST /api/v1/keys": {"name": "made"},
    "POST /api/v1/users": {"email": "ben@example.com", "role": "viewer", "password": "correct horse battery"},
    "PATCH /api/v1/users/{user_id}": {"role": "viewer"},
    "POST /api/v1/session": {"email": "nobody@example.com", "password": "wrong"},
    "POST /api/v1/session/password": {"old": "wrong", "new": "correct horse battery"},
    "POST /api/v1/session/totp": {"password": "wrong"},
    "POST /api/v1/session/totp/confirm": {"code": "000000"},
    "POST /api/v1/session/totp/delete": {"password": "wrong", "code": "000000"},
}


def implemented() -> list[str]:
    return [
        f"{method} {path}"
        for path, handler in ROUTES
        for method in METHODS
        if getattr(handler, method.lower()) is not getattr(web.RequestHandler, method.lower())
    ]


async def make_keys(api: Service) -> dict[str, dict[str, str]]:
    """Headers of each kind of caller."""
    wide = [Scope.LINKS_WRITE, Scope.STATS_READ]
    rights: dict[str, dict[str, Any]] = {
        "read": {"scopes": [Scope.LINKS_READ]},
        "write": {"scopes": [Scope.LINKS_WRITE]},
        "stats": {"scopes": [Scope.STATS_READ]},
        "admin": {"scopes": [Scope.ADMIN]},
        "revoked": {"scopes": [Scope.ADMIN]},
        "expired": {"scopes": [Scope.ADMIN], "expires": int(time.time()) - 1},
        "domain": {"scopes": wide, "domain": "go.example"},
        "tag": {"scopes": wide, "tag": "news"},
        "own": {"scopes": wide, "own": True},
    }
    made = {kind: await api.services.keys.add(f"blk_{kind}", kind, **given) for kind, given in rights.items()}
    await api.services.keys.revoke(made["revoked"].id)
    return {"nobody": {"Authorization": ""}} | {kind: {"Authorization": f"Bearer blk_{kind}"} for kind in rights}


def test_every_method_of_every_route_stands_in_the_table_and_names_its_right() -> None:
    assert sorted(implemented()) == sorted(EXPECTED)
    needed = {f"{method} {path}" for path, needs in NEEDS.items() for method in needs}
    assert needed == {row for row in EXPECTED if EXPECTED[row] not in (PUBLIC, SIGNED_IN, OFF)}
    for path, handler in ROUTES:
        assert handler.is_public == (not NEEDS[path]), path
    assert all(len(row.split()) == len(KINDS) for row in EXPECTED.values())


def test_every_kind_of_caller_is_answered_as_the_table_says(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        rates = {"BOLTLINK_API_RATE": "off", "BOLTLINK_ANONYMOUS_RATE": "off"}
        async with serve(stores, None, BOLTLINK_DELETED_KEPT="0", **rates) as api:
            headers = await make_keys(api)
            found: dict[str, str] = {}
            for row in EXPECTED:
                await stores.redis.flushall()  # so many keys that are not valid would be limited
                found[row] = " ".join([str(await ask(api, row, headers[kind])) for kind in KINDS])
                await api.client.post("/api/v1/links", json={"target": "https://a.example/", "slug": "link"})
            assert found == EXPECTED

    async def ask(api: Service, row: str, headers: dict[str, str]) -> int:
        method, path = row.split(" ")
        slug = "none" if row == "DELETE /api/v1/links/{slug}/stats" else "link"
        if "{slug}" in path or path.endswith("/live"):
            await api.client.post("/api/v1/links", json={"target": "https://a.example/", "slug": "link"})
        path = path.replace("{slug}", slug)
        for name, value in NOBODYS.items():
            path = path.replace(f"{{{name}}}", value)
        if path.endswith("/live"):
            method, path = "HEAD", "/api/v1/live?slug=link"
        return (await api.client.request(method, path, headers=headers, json=BODIES.get(row))).status_code

    with_stores(scenario)


def test_only_an_admin_ends_a_ban(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            own = (await make_keys(api))["own"]
            link, one, many = {"target": "https://a.example/", "slug": "s"}, "/api/v1/links/s", "/api/v1/links/batch"
            assert (await api.client.post("/api/v1/links", json=link, headers=own)).status_code == 201
            assert (await api.client.patch(one, json={"state": "banned"})).status_code == 200
            for state in ("active", "disabled"):
                refused = await api.client.patch(one, json={"state": state, "title": "t"}, headers=own)
                assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "state")
                rows = {"links": [{"slug": "s", "state": state}]}
                answer = await api.client.patch(many, json=rows, headers=own)
                assert answer.json()["results"][0]["status"] == 422
            assert (await api.client.patch(one, json={"title": "t", "state": "banned"}, headers=own)).status_code == 200
            assert (await api.client.delete(one, headers=own)).status_code == 204
            restored = await api.client.post(f"{one}/restore", headers=own)
            assert (restored.status_code, restored.json()["state"]) == (200, "banned")
            assert (await api.client.patch(one, json={"state": "active"})).json()["state"] == "active"

    with_stores(scenario)


#: Each role -> the kinds of keys that may together what it may.
ROLES = {"viewer": ("read", "stats"), "editor": ("write", "stats"), "admin": ("admin",)}


@pytest.mark.parametrize("role", ROLES)
def test_every_role_may_what_its_scopes_may(with_stores: With, role: str) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores, BOLTLINK_API_RATE="off") as api:
            user = {"email": f"{role}@example.com", "role": role, "password": "correct horse battery"}
            await api.client.post("/api/v1/users", json=user)
            login = {"email": user["email"], "password": user["password"]}
            token = (await api.client.post("/api/v1/session", json=login)).cookies[COOKIE]
            api.client.cookies.clear()
            headers = {"Cookie": f"{COOKIE}={token}", "Sec-Fetch-Site": "same-origin"}
            async with fetch.AsyncClient(base_url=api.client.base_url, trust_env=False) as browser:
                for row, statuses in EXPECTED.items():
                    if statuses == SIGNED_IN:
                        continue
                    method, path = row.split(" ")
                    for name, value in NOBODYS.items():
                        path = path.replace(f"{{{name}}}", value)
                    assert "{" not in path
                    answer = await browser.request(
                        *("HEAD" if path.endswith("/live") else method, path), headers=headers, json=BODIES.get(row)
                    )
                    columns = dict(zip(KINDS, statuses.split(), strict=True))
                    may = any(columns[kind] != "403" for kind in ROLES[role])
                    assert (answer.status_code not in (401, 403)) == may, (row, answer.status_code)

    with_stores(scenario)


NARROW: dict[str, dict[str, Any]] = {"domain": {"domain": "go.example"}, "tag": {"tag": "news"}, "own": {"own": True}}


@pytest.mark.parametrize("kind", NARROW)
def test_a_narrowed_key_sees_its_links_and_no_others(with_stores: With, kind: str) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await api.client.post("/api/v1/domains", json={"name": "go.example"})
            wish = {"name": kind, "scopes": ["links:write", "stats:read"], **NARROW[kind]}
            made = (await api.client.post("/api/v1/keys", json=wish)).json()
            headers = {"Authorization": f"Bearer {made['key']}"}
            await api.make("other", "https://secret.example/")
            theirs = {"target": "https://secret.example/", "slug": "mine", "tags": ["news"], "domain": "go.example"}
            assert (await api.client.post("/api/v1/links", json=theirs, headers=headers)).status_code == 201
            for query in ("", "?q=secret", "?q=secret.example&count=true"):
                page = (await api.client.get(f"/api/v1/links{query}", headers=headers)).json()
                assert [link["slug"] for link in page["items"]] == ["mine"], query
                assert page.get("count", 1) == 1
            one = "/api/v1/links/mine?domain=go.example"
            assert (await api.client.get(one, headers=headers)).status_code == 200
            rows = [{"slug": "other", "title": "x"}, {"slug": "mine", "domain": "go.example", "title": "w"}]
            many = await api.client.patch("/api/v1/links/batch", json={"links": rows}, headers=headers)
            assert [row["status"] for row in many.json()["results"]] == [404, 200]
            gone = {"links": [{"slug": "other"}]}
            many = await api.client.post("/api/v1/links/batch/delete", json=gone, headers=headers)
            assert [row["status"] for row in many.json()["results"]] == [404]
            assert (await api.client.patch(one, json={"title": "x"}, headers=headers)).status_code == 200
            history = await api.client.get("/api/v1/links/mine/history?domain=go.example", headers=headers)
            assert len(history.json()["items"]) == 3
            other = {"domain": "domain=", "tag": "tag=other", "own": f"owner={'0' * 64}"}[kind]
            assert (await api.client.get(f"/api/v1/links?{other}", headers=headers)).status_code == 422
            stats = {"domain": "tag=news", "tag": "domain=go.example", "own": "user=somebody"}[kind]
            assert (await api.client.get("/api/v1/stats", headers=headers)).status_code == 200
            assert (await api.client.get(f"/api/v1/stats?{stats}", headers=headers)).status_code == 403
            assert (await api.client.get("/api/v1/live", headers=headers)).status_code == 403
            assert (await api.client.delete(one, headers=headers)).status_code == 204
            assert (await api.client.post(one.replace("?", "/restore?"), headers=headers)).status_code == 200
            made_names = [entry["what"] for entry in (await api.client.get("/api/v1/audit?limit=3")).json()["items"]]
            assert made_names == ["link.restore", "link.delete", "link.update"]

    with_stores(scenario)


def test_a_key_narrowed_by_a_tag_cannot_take_the_tag_away_or_make_links_without_it(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            key = (await api.client.post("/api/v1/keys", json={"name": "n", "tag": "news"})).json()["key"]
            headers = {"Authorization": f"Bearer {key}"}
            rows = [{"target": "https://a.example/", "slug": "a", "tags": ["news"]}, {"target": "https://b.example/"}]
            made = await api.client.post("/api/v1/links/batch", json={"links": rows}, headers=headers)
            assert [row["status"] for row in made.json()["results"]] == [201, 422]
            many = {"links": [{"slug": "a", "tags": []}]}
            refused = await api.client.patch("/api/v1/links/batch", json=many, headers=headers)
            assert [row["status"] for row in refused.json()["results"]] == [422]
            answer = await api.client.patch("/api/v1/links/a", json={"tags": ["old"]}, headers=headers)
            assert answer.status_code == 422
            assert answer.json()["errors"][0]["field"] == "tags"
            assert (await api.client.get("/api/v1/links/a")).json()["tags"] == ["news"]

    with_stores(scenario)


def test_lists_of_a_narrowed_key_are_answered_by_an_index(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            key = (await api.client.post("/api/v1/keys", json={"name": "n", "tag": "news"})).json()["key"]
            wishes = [{"target": f"https://a.example/{n}", "tags": ["news"] if n < 5 else []} for n in range(200)]
            await api.client.post("/api/v1/links/batch", json={"links": wishes})
            await stores.database.command({"profile": 2})
            await api.client.get("/api/v1/links", headers={"Authorization": f"Bearer {key}"})
            await stores.database.command({"profile": 0})
            seen = await stores.database["system.profile"].find_one({"command.find": "links"})
            assert seen is not None
            assert seen["docsExamined"] == 5
            assert "COLLSCAN" not in seen["planSummary"]

    with_stores(scenario)


def test_rights_of_a_new_key_are_those_that_were_wished_and_never_outlive_the_maker(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            plain = (await api.client.post("/api/v1/keys", json={"name": "plain"})).json()
            assert plain["scopes"] == ["links:write", "stats:read"]
            soon = {"name": "soon", "scopes": ["admin"], "expires_at": "2099-01-01T00:00:00Z"}
            made = (await api.client.post("/api/v1/keys", json=soon)).json()
            headers = {"Authorization": f"Bearer {made['key']}"}
            later = {"name": "later", "expires_at": "2099-01-02T00:00:00Z"}
            for wish in (later, {"name": "for ever"}):
                answer = await api.client.post("/api/v1/keys", json=wish, headers=headers)
                assert answer.json()["errors"][0]["field"] == "expires_at", wish
            sooner = {"name": "sooner", "expires_at": "2098-01-01T00:00:00Z"}
            assert (await api.client.post("/api/v1/keys", json=sooner, headers=headers)).status_code == 201
            user = {"email": "ben@example.com", "role": "admin", "password": "correct horse battery"}
            assert (await api.client.post("/api/v1/users", json=user, headers=headers)).status_code == 403
            admin = f"/api/v1/users/{(await api.client.post('/api/v1/users', json=user)).json()['id']}"
            editor = {**user, "email": "eve@example.com", "role": "editor"}
            found = await api.client.post("/api/v1/users", json=editor, headers=headers)
            assert found.status_code == 201
            one = f"/api/v1/users/{found.json()['id']}"
            for path, change in ((one, {"role": "admin"}), (admin, {"password": "another long one"})):
                assert (await api.client.patch(path, json=change, headers=headers)).status_code == 403, change
            assert (await api.client.patch(one, json={"role": "viewer"}, headers=headers)).status_code == 200
            for path, status in ((one, 404), (admin, 403)):  # a password, once it is known, signs in without it
                assert (await api.client.delete(f"{path}/totp", headers=headers)).status_code == status
            wrong: tuple[dict[str, Any], ...] = (
                {"scopes": []},
                {"scopes": ["root"]},
                {"scopes": ["admin"], "own": True},
                {"expires_at": "2020-01-01T00:00:00Z"},
                {"expires_at": "2099-01-01T00:00:00"},
            )
            for rights in wrong:
                answer = await api.client.post("/api/v1/keys", json={"name": "wrong", **rights})
                assert answer.status_code == 422, rights

    with_stores(scenario)


def test_a_key_that_is_revoked_while_it_is_used_ends_everywhere_within_a_second(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as here, serve(stores) as elsewhere:
            made = (await here.client.post("/api/v1/keys", json={"name": "n", "scopes": ["links:read"]})).json()
            headers = {"Authorization": f"Bearer {made['key']}"}
            is_revoked = asyncio.Event()

            async def use(api: Service, is_over: Callable[[], bool]) -> float:
                """When it was answered last."""
                last = 0.0
                while not is_over():
                    answer = await api.client.get("/api/v1/links", headers=headers)
                    if answer.status_code == 401:
                        assert is_revoked.is_set()
                        return last
                    last = time.monotonic()
                raise AssertionError("never refused")

            deadline = time.monotonic() + 20
            uses = [asyncio.create_task(use(api, lambda: time.monotonic() > deadline)) for api in (here, elsewhere)]
            await asyncio.sleep(0.2)
            is_revoked.set()
            assert (await here.client.delete(f"/api/v1/keys/{made['id']}")).status_code == 204
            revoked_s = time.monotonic()
            for last_s in await asyncio.gather(*uses):
                assert last_s - revoked_s < 1.5, "a second, and how long an answer takes"
            row = await stores.database[KEYS].find_one({"_id": made["id"]})
            assert row is not None
            assert row["used"] is not None

    with_stores(scenario)
