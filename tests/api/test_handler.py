"""What all handlers share: who may come in, methods, unknown paths, stores that are away, counting."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.links import PasswordHasher
from app.stores import open_mongodb, replica_set_url
from tests.api.service import ADMIN_KEY, With, make_services, serve
from tests.conftest import Stores

PRIVATE = [("GET", "/api/v1/links"), ("POST", "/api/v1/links"), ("GET", "/api/v1/keys"), ("DELETE", "/api/v1/links/a")]


@pytest.mark.parametrize(("method", "path"), PRIVATE)
@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer wrong", "Basic " + ADMIN_KEY, ADMIN_KEY, f"Bearer {ADMIN_KEY}x"],
)
def test_nobody_comes_in_without_a_key(with_stores: With, method: str, path: str, authorization: str) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            answer = await api.client.request(method, path, headers={"Authorization": authorization})
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert answer.headers["Content-Type"] == "application/problem+json"

    with_stores(scenario)


def test_scheme_of_the_key_is_read_in_any_case(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            headers = {"Authorization": f"bearer  {ADMIN_KEY}"}
            assert (await api.client.get("/api/v1/keys", headers=headers)).status_code == 200

    with_stores(scenario)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/api/v1/links", "GET, POST, HEAD"),
        ("POST", "/api/v1/links/abc", "GET, PATCH, DELETE, HEAD"),
        ("POST", "/health", "GET, HEAD"),
        ("GET", "/api/v1/keys/" + "0" * 64, "DELETE"),
        ("HEAD", "/api/v1/keys/" + "0" * 64, "DELETE"),
        ("OPTIONS", "/ready", "GET, HEAD"),
        ("TRACE", "/api/v1/links", "GET, POST, HEAD"),
        ("BREW", "/api/v1/links", "GET, POST, HEAD"),
    ],
)
def test_other_method_is_told_which_are_allowed(with_stores: With, method: str, path: str, allowed: str) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            answer = await api.client.request(method, path)
            assert answer.status_code == 405
            assert answer.headers["Allow"] == allowed

    with_stores(scenario)


@pytest.mark.parametrize("path", ["/api", "/api/v1", "/api/v2/links", "/api/v1/links/a.b", "/api/v1/links/", "/docs/x"])
def test_unknown_path_is_a_problem_document(with_stores: With, path: str) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            answer = await api.client.get(path)
            assert answer.status_code == 404
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.json()["status"] == 404

    with_stores(scenario)


def test_head_is_a_get_without_a_body(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await api.make("one")
            answer = await api.client.head("/api/v1/links/one")
            assert (answer.status_code, answer.content) == (200, b"")
            assert int(answer.headers["Content-Length"]) > 0
            assert "ETag" in answer.headers

    with_stores(scenario)


def test_too_many_passwords_at_once_are_a_503_that_says_when_to_come_again(
    with_stores: With, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario(stores: Stores) -> None:
        services = make_services(stores, None, PasswordHasher(cost=4, waiting_max=0))
        await services.keys.add(ADMIN_KEY, "admin")
        async with serve(stores, services) as api:
            user = {"email": "ada@example.com", "role": "viewer", "password": "correct horse"}
            for path, wish in (("links", {"target": "https://example.com/", "password": "x"}), ("users", user)):
                answer = await api.client.post(f"/api/v1/{path}", json=wish)
                assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
                assert answer.json()["detail"] == "Too many passwords are being hashed right now."
            assert (await api.client.get("/api/v1/links")).json()["items"] == []

    with_stores(scenario)
    assert "request failed" not in capsys.readouterr().out


def test_mongodb_away_is_a_503_that_says_when_to_come_again(
    with_stores: With, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario(stores: Stores) -> None:
        nowhere = open_mongodb(replica_set_url(tmp_path / "none.sock").replace("/?", "/?serverSelectionTimeoutMS=100&"))
        async with serve(stores, make_services(stores, nowhere)) as api:
            answer = await api.client.get("/api/v1/links")
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) > 0
            ready = await api.client.get("/ready")
            assert ready.status_code == 503
            assert "mongodb" in ready.json()["reason"]
            assert (await api.client.get("/ready?degraded=ok")).status_code == 200
            health = await api.client.get("/health")
            assert health.status_code == 200
            assert health.json()["parts"]["redis"] == "ok"
            assert health.json()["parts"]["mongodb"] != "ok"
        await nowhere.client.close()

    with_stores(scenario)
    assert "request failed" in capsys.readouterr().out


def test_requests_are_counted_by_route_and_status(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await api.client.get("/health")
            await api.client.get("/api/v1/links/none")
            await api.client.get("/nowhere")
            assert api.requests == [("health", 200), ("link", 404), ("notfound", 404)]

    with_stores(scenario)


def test_answers_carry_what_browsers_and_caches_must_know(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            for path in ("/api/v1/links", "/health", "/nowhere"):
                answer = await api.client.get(path)
                assert answer.headers["Cache-Control"] == "no-store"
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.headers["X-Request-Id"]
                assert "Server" not in answer.headers

    with_stores(scenario)
