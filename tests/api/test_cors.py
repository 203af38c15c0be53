"""Pages of other origins: who may call, and what a browser is told."""

from __future__ import annotations

import pytest

from app.api.cors import allowed_origin
from tests.api.service import ADMIN_KEY, With, make_services, serve
from tests.conftest import Stores

OURS = "https://app.example.com"
PREFLIGHT = {"Authorization": "", "Access-Control-Request-Method": "PATCH"}


@pytest.mark.parametrize(
    ("origin", "allowed", "answer"),
    [
        (OURS, (OURS,), OURS),
        ("https://APP.example.com", (OURS,), "https://APP.example.com"),
        ("http://app.example.com", (OURS,), None),
        ("https://app.example.com:444", (OURS,), None),
        ("https://app.example.com.evil.example", (OURS,), None),
        ("null", (OURS,), None),
        (None, (OURS,), None),
        (OURS, (), None),
        ("null", ("*",), "*"),
    ],
)
def test_an_origin_is_allowed_as_a_whole_or_not(
    origin: str | None, allowed: tuple[str, ...], answer: str | None
) -> None:
    assert allowed_origin(origin, allowed) == answer


def test_allowed_pages_read_answers_and_errors_and_ask_first(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        services = make_services(stores, BOLTLINK_CORS_ORIGINS=f"{OURS}, http://localhost:3000")
        await services.keys.add(ADMIN_KEY, "admin")
        async with serve(stores, services) as api:
            for path, status in (("/api/v1/keys", 200), ("/api/v1/links/none", 404), ("/health", 200), ("/none", 404)):
                answer = await api.client.get(path, headers={"Origin": OURS})
                assert answer.status_code == status
                assert answer.headers["Access-Control-Allow-Origin"] == OURS
                assert "RateLimit" in answer.headers["Access-Control-Expose-Headers"]
                assert answer.headers["Vary"] == "Origin"
                assert "Access-Control-Allow-Credentials" not in answer.headers
            answer = await api.client.options(
                "/api/v1/links/a", headers={**PREFLIGHT, "Origin": "http://localhost:3000"}
            )
            assert (answer.status_code, answer.content) == (204, b"")
            assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
            assert answer.headers["Access-Control-Allow-Methods"] == "GET, PATCH, DELETE, HEAD"
            for field in ("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match"):
                assert field in answer.headers["Access-Control-Allow-Headers"].split(", ")
            answer = await api.client.options("/api/v1/links/batch", headers={**PREFLIGHT, "Origin": OURS})
            assert answer.headers["Access-Control-Allow-Methods"] == "POST, PATCH"

    with_stores(scenario)


def test_other_pages_are_told_nothing(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        services = make_services(stores, BOLTLINK_CORS_ORIGINS=OURS)
        await services.keys.add(ADMIN_KEY, "admin")
        async with serve(stores, services) as api:
            for origin in ("https://evil.example", "null"):
                answer = await api.client.get("/api/v1/keys", headers={"Origin": origin})
                assert "Access-Control-Allow-Origin" not in answer.headers
                assert answer.headers["Vary"] == "Origin"
                answer = await api.client.options("/api/v1/links", headers={**PREFLIGHT, "Origin": origin})
                assert answer.status_code == 403
                assert "Access-Control-Allow-Origin" not in answer.headers
        async with serve(stores, make_services(stores)) as api:
            answer = await api.client.get("/api/v1/keys", headers={"Origin": OURS})
            assert "Vary" not in answer.headers
            answer = await api.client.options("/api/v1/links", headers={**PREFLIGHT, "Origin": OURS})
            assert answer.status_code == 405

    with_stores(scenario)
