"""Health says that the process works, readiness that traffic may come."""

from __future__ import annotations

import asyncio

from app.observe import Health


async def works() -> None:
    return None


async def fails() -> None:
    raise ConnectionError("redis://user:secret@10.0.0.1: refused")


async def hangs() -> None:
    await asyncio.Event().wait()


def make_health(*, is_serving: bool = True) -> Health:
    health = Health(lambda: {"program": "web_0"})
    health.is_serving = is_serving
    health.add("redis", works)
    return health


def test_working_process_is_healthy_and_ready() -> None:
    health = make_health()
    assert asyncio.run(health.report()) == {"status": "ok", "parts": {"redis": "ok"}, "program": "web_0"}
    assert asyncio.run(health.ready(degraded_ok=False)) == (True, {"ready": True})


def test_process_is_not_ready_before_it_serves_nor_while_it_drains() -> None:
    health = make_health(is_serving=False)
    for degraded_ok in (False, True):
        assert asyncio.run(health.ready(degraded_ok=degraded_ok)) == (False, {"ready": False, "reason": "starting"})
    health.is_serving = health.is_draining = True
    for degraded_ok in (False, True):
        assert asyncio.run(health.ready(degraded_ok=degraded_ok)) == (False, {"ready": False, "reason": "draining"})
    assert asyncio.run(health.report())["status"] == "draining"


def test_failed_part_is_named_without_its_address() -> None:
    health = make_health()
    health.add("mongodb", fails)
    is_ready, body = asyncio.run(health.ready(degraded_ok=False))
    assert (is_ready, body["reason"]) == (False, "mongodb: does not answer (ConnectionError)")
    assert asyncio.run(health.ready(degraded_ok=True))[0]
    assert asyncio.run(health.report())["parts"]["redis"] == "ok"


def test_part_that_hangs_holds_up_nobody() -> None:
    health = make_health()
    health.add("mongodb", hangs)
    assert asyncio.run(health.parts()) == {"redis": "ok", "mongodb": "no answer within 1 s"}


def test_process_without_what_the_api_needs_is_ready_for_redirects_alone() -> None:
    health = make_health()
    health.is_prepared = False
    assert asyncio.run(health.ready(degraded_ok=False)) == (
        False,
        {"ready": False, "reason": "preparing the database"},
    )
    assert asyncio.run(health.ready(degraded_ok=True))[0]
