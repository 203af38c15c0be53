"""The form, who may try, and whether a try is right; bcrypt and Redis are real."""

from __future__ import annotations

import asyncio
import re
import time
import unicodedata
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.limits import Buckets, Limiter
from app.links import HasherBusyError, PasswordError, PasswordHasher, check_password
from app.redirect import PAGE_STATUSES, PasswordDesk, is_cross_site, password_page
from app.redirect.password import FORM_BYTES_MAX, SITE_TRIES, TRIES, read_password
from app.redirect.rules import PasswordWord
from app.stores import Breaker, open_redis
from tests.conftest import Stores
from tests.redirect.requests import request, visitor

With = Callable[[Callable[[Stores], Awaitable[None]]], None]
ID = bytes(7) + b"\x07"


def form(password: str) -> bytes:
    return urlencode({"password": password}).encode()


def desk_of(client: Any, hasher: PasswordHasher) -> PasswordDesk:
    return PasswordDesk(Limiter(client, Breaker("limits", time.monotonic), Buckets(time.monotonic)), hasher)


def test_passwords_are_hashed_with_a_salt_and_compared() -> None:
    async def scenario() -> None:
        hasher = PasswordHasher(cost=4)
        first, second = await asyncio.gather(hasher.hash("grün"), hasher.hash("grün"))
        assert first != second
        for hashed in (first, second):
            assert await hasher.is_right("grün", hashed)
            assert await hasher.is_right("gru\u0308n", hashed), "as another keyboard writes it"
            for wrong in ("gruen", "", "grün ", "grün\0", "x" * 100, "\ud800"):
                assert not await hasher.is_right(wrong, hashed)
        assert not await hasher.is_right("x", b"no hash")
        hasher.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("text", ["", "x" * 73, "ä" * 37, "a\0b", "a\nb", "\x7f", "\ud800"])
def test_a_password_that_bcrypt_would_cut_or_a_form_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(PasswordError):
        check_password(text)
    assert check_password("x" * 72) == b"x" * 72


@pytest.mark.timeout(30)
def test_a_password_is_not_normalised_beyond_what_one_may_have() -> None:
    with pytest.raises(PasswordError):
        check_password("a" + "\u0301\u0323" * 100_000)  # a minute, of which this test has half
    most = "\u1f82" * 24
    assert check_password(unicodedata.normalize("NFD", most)) == most.encode(), "of four characters each"


def test_so_many_wait_for_bcrypt_and_no_more() -> None:
    async def scenario() -> None:
        hasher = PasswordHasher(cost=4, waiting_max=3)
        results = await asyncio.gather(*(hasher.hash("x") for _ in range(5)), return_exceptions=True)
        assert [type(result) for result in results] == [bytes] * 3 + [HasherBusyError] * 2
        assert await hasher.hash("x")
        hasher.close()

    asyncio.run(scenario())


def test_a_client_has_so_many_tries_and_another_client_has_its_own(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        hasher = PasswordHasher(cost=4)
        hashed = await hasher.hash("right")
        desks = [desk_of(stores.redis, hasher) for _ in range(2)]

        async def judge(text: str, address: str = "203.0.113.7", link_id: bytes = ID) -> PasswordWord:
            asked = request(form=form(text), visitor=visitor(address=address))
            return (await desks[len(text) % 2].judge(link_id, hashed, asked))[0]

        # Right ones give their try back, however many there are.
        assert {await judge("right") for _ in range(2 * TRIES.burst)} == {PasswordWord.RIGHT}
        tries = await asyncio.gather(*(judge("wrong" + "x" * (n % 2)) for n in range(3 * TRIES.burst)))
        assert (tries.count(PasswordWord.WRONG), tries.count(PasswordWord.LIMITED)) == (TRIES.burst, 2 * TRIES.burst)
        assert await judge("right") is PasswordWord.LIMITED
        assert await judge("right", address="203.0.113.8") is PasswordWord.RIGHT
        assert await judge("right", link_id=bytes(8)) is PasswordWord.RIGHT
        hasher.close()

    with_stores(scenario)


def test_who_has_many_networks_of_ipv6_has_tries_for_one_site(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        hasher = PasswordHasher(cost=4)
        hashed = await hasher.hash("right")
        desk = desk_of(stores.redis, hasher)

        async def judge(text: str, address: str) -> PasswordWord:
            return (await desk.judge(ID, hashed, request(form=form(text), visitor=visitor(address=address))))[0]

        assert {await judge("right", "2001:db8:1:ffff::1") for _ in range(SITE_TRIES.burst + 1)} == {PasswordWord.RIGHT}
        tries = [await judge("wrong", f"2001:db8:1:{n % 64:x}::{n}") for n in range(SITE_TRIES.burst + 10)]
        assert tries == [PasswordWord.WRONG] * SITE_TRIES.burst + [PasswordWord.LIMITED] * 10
        assert await judge("right", "2001:db8:2::1") is PasswordWord.RIGHT
        hasher.close()

    with_stores(scenario)


def test_without_redis_tries_are_limited_all_the_same() -> None:
    async def scenario() -> None:
        client = open_redis("unix:///nowhere/r.sock")
        hasher = PasswordHasher(cost=4)
        hashed = await hasher.hash("right")
        desk = desk_of(client, hasher)
        words = [await desk.judge(ID, hashed, request(form=form("wrong"))) for _ in range(TRIES.burst + 1)]
        assert [word for word, _ in words] == [PasswordWord.WRONG] * TRIES.burst + [PasswordWord.LIMITED]
        assert 0 < words[-1][1] <= TRIES.every_s
        hasher.close()
        await client.aclose()

    asyncio.run(scenario())


def test_a_busy_hasher_costs_no_try(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        hasher = PasswordHasher(cost=4, waiting_max=0)
        desk = desk_of(stores.redis, hasher)
        for _ in range(2 * TRIES.burst):
            assert (await desk.judge(ID, b"", request(form=form("x"))))[0] is PasswordWord.BUSY
        hasher.close()

    with_stores(scenario)


@pytest.mark.parametrize(
    ("body", "password"),
    [
        (b"password=a", "a"),
        (b"x=1&password=a+b%26%C3%A4", "a b&ä"),
        (b"password=", ""),
        (b"", ""),
        (b"pass=a", ""),
        (b"password=%ff", ""),
        (b"\xff", ""),
        (b"&".join([b"a=1"] * 20) + b"&password=a", ""),
        (b"password=" + b"a" * FORM_BYTES_MAX, ""),
    ],
)
def test_a_form_is_read(body: bytes, password: str) -> None:
    assert read_password(body) == password


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_as_some_text(body: bytes) -> None:
    assert isinstance(read_password(body), str)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("", False),
        ("Sec-Fetch-Site: same-origin\r\n", False),
        ("Sec-Fetch-Site: none\r\n", False),
        ("Sec-Fetch-Site: cross-site\r\n", True),
        ("sec-fetch-site: same-site\r\n", True),
        ("Origin: https://evil.example\r\nSec-Fetch-Site: same-origin\r\n", False),
        ("Origin: https://Sho.rt\r\n", False),
        ("Origin: http://sho.rt:8000\r\n", False),
        ("Origin: https://evil.example\r\n", True),
        ("Origin: https://sho.rt.evil.example\r\n", True),
        ("Origin: null\r\n", True),
    ],
)
def test_a_form_sent_by_another_site_is_known(lines: str, expected: bool) -> None:
    head = f"POST /a HTTP/1.1\r\nHost: sho.rt\r\n{lines}\r\n"
    assert is_cross_site(head.encode()) is expected


@pytest.mark.parametrize("status", sorted(PAGE_STATUSES))
@pytest.mark.parametrize("close", [False, True])
def test_the_page_is_a_whole_answer_that_nothing_may_keep_frame_or_index(status: int, close: bool) -> None:
    date = b"Date: Tue, 14 Nov 2023 22:13:20 GMT\r\n"
    page = password_page(status, date, wait_s=4.2, is_head=False, close=close)
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(page)
    response = client.next_event()
    assert isinstance(response, h11.Response)
    headers = dict(response.headers)
    body = client.next_event()
    assert isinstance(body, h11.Data)
    assert isinstance(client.next_event(), h11.EndOfMessage)
    assert response.status_code == status
    assert headers[b"cache-control"] == b"private, no-store"
    assert b"frame-ancestors 'none'" in headers[b"content-security-policy"]
    assert b"form-action" not in headers[b"content-security-policy"], "it would stop the redirect behind the form"
    assert headers[b"referrer-policy"] == b"same-origin"
    assert headers.get(b"retry-after") == (b"5" if status == 429 else None)
    assert headers.get(b"connection") == (b"close" if close else None)
    assert re.search(rb'<form method="post"><label', body.data), "it posts to the address that it came from"
    assert page.startswith(password_page(status, date, wait_s=4.2, is_head=True, close=close))
