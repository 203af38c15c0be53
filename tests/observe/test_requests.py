"""Ids of requests: a client's own where it is harmless, and in every line that is written for the request."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from app.observe import bind_request, request_id_of

HARMLESS = ["a", "x" * 128, "3f0e7c1e-8f5d-4f0a-9d55-000000000000", "Root=1-67891233-abcdef", "a.b_c:d+e/f="]
HARMFUL = ["", " ", "x" * 129, "a b", 'a"b', "a\nb", "a,b", "ü", "a;b", "a\x00"]


@pytest.mark.parametrize("offered", HARMLESS)
def test_a_harmless_id_is_taken_over(offered: str) -> None:
    assert request_id_of(offered) == offered


@pytest.mark.parametrize("offered", [None, *HARMFUL])
def test_any_other_is_replaced_by_a_new_one(offered: str | None) -> None:
    first, second = request_id_of(offered), request_id_of(offered)
    assert first != second
    assert len(first) == 16


def test_an_id_is_bound_to_its_task_and_those_it_starts() -> None:
    async def request(name: str) -> tuple[object, object]:
        bind_request(name)
        inner = await asyncio.create_task(asyncio.to_thread(structlog.contextvars.get_contextvars))
        return structlog.contextvars.get_contextvars(), inner

    async def both() -> list[tuple[object, object]]:
        return list(await asyncio.gather(request("a"), request("b")))

    assert asyncio.run(both()) == [({"request_id": name},) * 2 for name in ("a", "b")]
    assert structlog.contextvars.get_contextvars() == {}
