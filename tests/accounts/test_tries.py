"""Tries of signing in: guesses are slow, wherever they come from, and nobody is locked out by others' guesses."""

from __future__ import annotations

import time

import pytest
from pymongo.errors import AutoReconnect

from app.accounts import ProviderError, TooManyTriesError, Tries
from app.accounts.tries import ACCOUNT, ADDRESS, BEGINS, BOTH
from app.limits import Buckets, Limiter
from app.stores import Breaker, open_redis
from tests.api.service import With
from tests.conftest import Stores

ADA = "ada@example.com"


def tries_of(stores: Stores) -> Tries:
    return Tries(Limiter(stores.redis, Breaker("limits", time.monotonic), Buckets(time.monotonic)), stores.redis)


async def make(tries: Tries, network: str, email: str = ADA, *, is_right: bool = False) -> bool:
    """Whether a try may be made."""
    try:
        async with tries.one(network, email) as made:
            made.is_right = is_right
    except TooManyTriesError as error:
        return error.grant.wait_s <= 0
    return True


async def count(tries: Tries, network: str, email: str = ADA) -> int:
    """How many tries in a row may be made."""
    number = 0
    while await make(tries, network, email):
        number += 1
    return number


def test_an_address_has_few_tries_at_an_account_and_more_at_all(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        tries = tries_of(stores)
        assert await count(tries, "192.0.2.1") == BOTH.burst
        assert not await make(tries, "192.0.2.1", "ADA@example.com"), "the same, in another case"
        found = [await count(tries, "192.0.2.1", f"{n}@example.com") for n in range(6)]
        assert found == [BOTH.burst] * 4 + [0, 0]
        assert sum(found) + BOTH.burst == ADDRESS.burst

    with_stores(scenario)


def test_guesses_from_everywhere_are_slow_and_lock_no_known_address_out(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        tries = tries_of(stores)
        assert await make(tries, "198.51.100.7", is_right=True)
        guesses = [await count(tries, f"192.0.2.{n}") for n in range(ACCOUNT.burst // BOTH.burst + 2)]
        assert sum(guesses) == ACCOUNT.burst
        assert not await make(tries, "203.0.113.9"), "a stranger, also with the right password"
        assert await make(tries, "198.51.100.7"), "somebody has signed in from there"
        assert await count(tries, "198.51.100.7") == BOTH.burst - 1, "but guesses from there are slow, too"

    with_stores(scenario)


def test_right_tries_and_those_that_a_store_ended_are_given_back(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        tries = tries_of(stores)
        for _ in range(ACCOUNT.burst + 5):
            assert await make(tries, "192.0.2.1", is_right=True)
        for error in (AutoReconnect("gone"), ProviderError("gone")):
            for _ in range(BOTH.burst + 5):
                with pytest.raises(type(error)):
                    async with tries.one("192.0.2.1", ADA):
                        raise error
        assert await count(tries, "192.0.2.1") == BOTH.burst

    with_stores(scenario)


def test_an_office_sets_out_at_once_and_nobody_fills_redis(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        tries = tries_of(stores)
        for _ in range(BEGINS.burst):
            await tries.begin("192.0.2.1")
        with pytest.raises(TooManyTriesError):
            await tries.begin("192.0.2.1")
        await tries.begin("192.0.2.2")
        assert await make(tries, "192.0.2.1"), "to set out is no guess"

    with_stores(scenario)


def test_tries_are_limited_while_redis_is_away(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        nowhere = open_redis("unix:///nowhere/r.sock")
        limiter = Limiter(nowhere, Breaker("limits", time.monotonic), Buckets(time.monotonic))
        tries = Tries(limiter, nowhere)
        assert await make(tries, "192.0.2.1", is_right=True)
        assert await count(tries, "192.0.2.1") == BOTH.burst
        await nowhere.aclose()

    with_stores(scenario)
