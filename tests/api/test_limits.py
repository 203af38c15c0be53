"""What a key may do, at all and of a class; addresses without a key, and those that guess keys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from app.accounts import KeyRing
from app.accounts.keys import CACHE_S
from app.api import Services
from app.api.handler import FAILURES
from app.limits import Buckets, Limiter, Quota
from app.stores import Breaker, open_redis
from tests.api.service import ADMIN_KEY, With, make_services, serve
from tests.conftest import Stores


@asynccontextmanager
async def at_rest(stores: Stores, **settings: str) -> AsyncIterator[Services]:
    """Services whose buckets are those of this process, by a clock that stands: nothing comes back meanwhile."""
    nowhere = open_redis("unix:///nowhere/r.sock")
    limiter = Limiter(nowhere, Breaker("limits", time.monotonic), Buckets(lambda: 100.0))
    services = replace(make_services(stores, None, **settings), quota=Quota(limiter, lambda: 100.0))
    await services.keys.add(ADMIN_KEY, "admin")
    yield services
    await nowhere.aclose()


def test_a_key_has_its_rate_and_is_told_what_is_left(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        rates = {"BOLTLINK_API_RATE": "2/s", "BOLTLINK_CLASS_RATES": "off"}  # 20 at once
        async with at_rest(stores, **rates) as services, serve(stores, services) as api:
            other = "blk_another-key-of-the-tests"
            await services.keys.add(other, "other")
            for left in (19, 18):
                answer = await api.client.get("/api/v1/keys")
                assert answer.headers["RateLimit-Policy"] == '"key";q=20;w=10'
                assert answer.headers["RateLimit"].startswith(f'"key";r={left};t=')
            answer = await api.client.get("/api/v1/stats")
            assert answer.headers["RateLimit"].startswith('"key";r=13')
            made = await api.client.post("/api/v1/links/batch", json={"links": [{"target": "https://a.example/"}]})
            assert made.headers["RateLimit"].startswith('"key";r=3')
            refused = await api.client.get("/api/v1/stats")
            assert refused.status_code == 429
            assert refused.headers["Retry-After"] == "1"
            assert refused.headers["RateLimit"].startswith('"key";r=3')
            assert refused.json()["status"] == 429
            headers = {"Authorization": f"Bearer {other}"}
            assert (await api.client.get("/api/v1/stats", headers=headers)).status_code == 200
            assert (await api.client.get("/health")).status_code == 200

    with_stores(scenario)


def test_what_was_spent_comes_back(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        services = make_services(stores, BOLTLINK_API_RATE="2/s", BOLTLINK_CLASS_RATES="off")
        await services.keys.add(ADMIN_KEY, "admin")
        async with serve(stores, services) as api:
            while (await api.client.get("/api/v1/stats")).status_code == 200:
                pass
            async with asyncio.timeout(30.0):
                while (await api.client.get("/api/v1/stats")).status_code == 429:  # noqa: ASYNC110  the world is asked
                    await asyncio.sleep(0.1)

    with_stores(scenario)


def test_a_class_has_a_rate_of_its_own_and_leaves_a_key_the_others(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        rates = {"BOLTLINK_CLASS_RATES": "write=1/s, batch=1/s", "BOLTLINK_API_RATE": "50/s"}
        async with at_rest(stores, **rates) as services, serve(stores, services) as api:
            link = {"target": "https://a.example/"}
            for left in range(9, -1, -1):
                made = await api.client.post("/api/v1/links", json=link)
                assert made.status_code == 201
                assert made.headers["RateLimit-Policy"] == '"write";q=10;w=10, "key";q=500;w=10'
                assert made.headers["RateLimit"].startswith(f'"write";r={left};t={10 - left}, "key";r=4')
            refused = await api.client.post("/api/v1/links", json=link)
            assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
            assert refused.headers["RateLimit"].startswith('"write";r=0;t=10')
            assert '"key"' not in refused.headers["RateLimit"], "nothing was taken of it"
            assert "write" in refused.json()["detail"]
            assert (await api.client.post("/api/v1/links/batch", json={"links": [link]})).status_code == 200
            shown = await api.client.get("/api/v1/links")
            assert (shown.status_code, shown.headers["RateLimit-Policy"]) == (200, '"key";q=500;w=10')
            assert (await api.client.get("/api/v1/stats")).status_code == 200
            other = "blk_another-key-of-the-tests"
            await services.keys.add(other, "other")
            headers = {"Authorization": f"Bearer {other}"}
            assert (await api.client.post("/api/v1/links", json=link, headers=headers)).status_code == 201

    with_stores(scenario)


def test_an_address_without_a_key_may_call_so_often_and_keys_are_not_touched(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with at_rest(stores, BOLTLINK_ANONYMOUS_RATE="1/s") as services, serve(stores, services) as api:
            stranger = {"Authorization": ""}
            first = await api.client.get("/api/v1/openapi.json", headers=stranger)
            assert first.headers["RateLimit-Policy"] == '"address";q=10;w=10'
            assert first.headers["RateLimit"].startswith('"address";r=9;t=1')
            paths = ("/docs", "/api/v1/session", "/api/v1/links", "/api/v1/openapi.json")
            answers = [await api.client.get(path, headers=stranger) for path in paths * 3]
            assert [answer.status_code for answer in answers[:9]] == [200, 401, 401, 200] * 2 + [200]
            assert {answer.status_code for answer in answers[9:]} == {429}
            assert answers[-1].headers["Retry-After"] == "1"
            assert answers[-1].headers["RateLimit"].startswith('"address";r=0;t=')
            login = await api.client.post("/api/v1/session", json={"email": "a", "password": "b"}, headers=stranger)
            assert login.status_code == 429
            assert (await api.client.get("/api/v1/links")).status_code == 200
            for path in ("/health", "/ready", "/robots.txt", "/") * 5:
                assert (await api.client.get(path, headers=stranger)).status_code == 200

    with_stores(scenario)


def test_without_a_rate_nothing_is_counted(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        rates = ("API_RATE", "CLASS_RATES", "ANONYMOUS_RATE")
        services = make_services(stores, None, **{f"BOLTLINK_{name}": "off" for name in rates})
        await services.keys.add(ADMIN_KEY, "admin")
        async with serve(stores, services) as api:
            for path in ("/api/v1/keys", "/api/v1/stats", "/docs"):
                answer = await api.client.get(path)
                assert answer.status_code == 200
                assert "RateLimit" not in answer.headers
            assert [key async for key in stores.redis.scan_iter("rl:*")] == []

    with_stores(scenario)


def test_an_address_that_guesses_keys_must_wait_and_does_no_harm_to_known_ones(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        services, now_s = make_services(stores), 0.0
        ring = KeyRing(stores.database, services.audit, monotonic=lambda: now_s, now_s=lambda: 1)
        services = replace(services, keys=ring)
        await ring.add(ADMIN_KEY, "admin")
        async with serve(stores, services) as api:
            assert (await api.client.get("/api/v1/keys")).status_code == 200
            for number in range(FAILURES.burst):
                headers = {"Authorization": f"Bearer blk_guess-{number}"}
                assert (await api.client.get("/api/v1/keys", headers=headers)).status_code == 401
            answer = await api.client.get("/api/v1/keys", headers={"Authorization": "Bearer blk_guess"})
            assert answer.status_code == 429
            assert 1 <= int(answer.headers["Retry-After"]) <= 2
            assert (await api.client.get("/api/v1/keys", headers={"Authorization": ""})).status_code == 401
            now_s += CACHE_S
            assert ring.recall(ADMIN_KEY) is None
            assert (await api.client.get("/api/v1/keys")).status_code == 200, "a key that was right is looked up again"

    with_stores(scenario)


def test_limits_hold_while_redis_is_away(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        nowhere = open_redis("unix:///nowhere/r.sock")
        limiter = Limiter(nowhere, Breaker("limits", time.monotonic), Buckets(time.monotonic))
        services = replace(
            make_services(stores, BOLTLINK_API_RATE="2/s"), limiter=limiter, quota=Quota(limiter, time.monotonic)
        )
        await services.keys.add(ADMIN_KEY, "admin")
        async with serve(stores, services) as api:
            statuses = [(await api.client.get("/api/v1/keys")).status_code for _ in range(30)]
            assert statuses[:20] == [200] * 20
            assert 429 in statuses
            assert limiter.local > 0
        await nowhere.aclose()

    with_stores(scenario)
