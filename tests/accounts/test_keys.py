"""API keys in a real MongoDB: only the hash is stored, and what was revoked stays so."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable

import pytest

from app.accounts import INDEXES, KEYS, AuditLog, KeyRing, Scope, hash_key, make_key
from app.accounts.keys import CACHE_MAX, CACHE_S, USED_S
from app.stores import Shape, make_schema
from tests.conftest import Stores, wait_until

With = Callable[[Callable[[Stores], Awaitable[None]]], None]
KEY = "blk_0123456789abcdefghij"


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


async def open_ring(stores: Stores, clock: Clock) -> KeyRing:
    await make_schema(stores.database, Shape(INDEXES))
    audit = AuditLog(stores.database, now_s=clock, token_bytes=secrets.token_bytes)
    return KeyRing(stores.database, audit, monotonic=clock, now_s=lambda: int(clock.now))


def test_made_key_has_256_random_bits_and_its_mark() -> None:
    keys = {make_key(secrets.token_urlsafe) for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith("blk_") and len(key) == len("blk_") + 43 for key in keys)


def test_key_is_found_and_stored_as_its_hash_alone(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        ring = await open_ring(stores, Clock())
        stored = await ring.add(KEY, "mine")
        assert (stored.id, stored.prefix) == (hashlib.sha256(KEY.encode()).hexdigest(), KEY[:8])
        assert await ring.find(KEY) == stored
        assert KEY not in str([row async for row in stores.database[KEYS].find()])

    with_stores(scenario)


def test_unknown_key_is_nobody_also_a_hash_used_as_a_key(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        ring = await open_ring(stores, Clock())
        await ring.add(KEY, "mine")
        for wrong in ("", KEY[:-1], KEY + "x", KEY.upper(), hash_key(KEY), "é" * 20):
            assert await ring.find(wrong) is None

    with_stores(scenario)


def test_revoked_key_is_refused_everywhere_within_a_second(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        clock = Clock()
        here, elsewhere = await open_ring(stores, clock), await open_ring(stores, clock)
        key = await here.add(KEY, "mine")
        assert await elsewhere.find(KEY) is not None
        assert await here.revoke(key.id)
        assert await here.find(KEY) is None
        clock.now += CACHE_S
        assert await elsewhere.find(KEY) is None
        assert not await here.revoke(key.id)
        assert not await here.revoke("0" * 64)

    with_stores(scenario)


def test_revoked_admin_key_is_not_given_life_again_at_the_next_start(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        ring = await open_ring(stores, Clock())
        first = await ring.add(KEY, "admin")
        await ring.revoke(first.id)
        again = await ring.add(KEY, "admin")
        assert again.revoked is not None
        assert await ring.find(KEY) is None

    with_stores(scenario)


def test_keys_are_listed_newest_first_by_an_index(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        clock = Clock()
        ring = await open_ring(stores, clock)
        for number in range(3):
            clock.now += 1
            await ring.add(f"{KEY}{number}", str(number))
        first, place = await ring.page(2)
        assert [key.name for key in first] == ["2", "1"]
        rest, end = await ring.page(2, place or "")
        assert ([key.name for key in rest], end) == (["0"], None)
        assert len((await ring.page(3))[0]) == 3
        with pytest.raises(LookupError):
            await ring.page(2, "0" * 64)
        plan = (await stores.database[KEYS].find().sort([("created", -1), ("_id", -1)]).explain())["queryPlanner"]
        assert "'IXSCAN'" in str(plan["winningPlan"])
        assert "'SORT'" not in str(plan["winningPlan"])

    with_stores(scenario)


def test_memory_of_known_keys_is_bounded(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        ring = await open_ring(stores, Clock())
        rows = [
            {"_id": hash_key(f"{KEY}{n}"), "name": "n", "prefix": KEY[:8], "created": n, "revoked": None}
            for n in range(CACHE_MAX + 5)
        ]
        await stores.database[KEYS].insert_many(rows)
        for number in range(CACHE_MAX + 5):
            assert await ring.find(f"{KEY}{number}") is not None
        assert ring.known_count <= CACHE_MAX

    with_stores(scenario)


def test_key_ends_when_it_expires_also_where_it_is_remembered(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        clock = Clock()
        ring = await open_ring(stores, clock)
        await ring.add(KEY, "mine", expires=int(clock.now) + 10)
        clock.now += 9.5
        assert await ring.find(KEY) is not None
        clock.now += 0.6
        assert ring.recall(KEY) is None
        assert await ring.find(KEY) is None

    with_stores(scenario)


def test_use_is_written_once_a_minute_by_all_together_and_nobody_waits(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        clock = Clock()
        rings = [await open_ring(stores, clock) for _ in range(2)]
        key = await rings[0].add(KEY, "mine")

        async def used() -> int | None:
            await wait_until(lambda: not any(ring._writing for ring in rings))
            return (await rings[0].page(1))[0][0].used

        assert await used() is None
        first = int(clock.now)
        for _ in range(3):
            for ring in rings:
                ring.note_use(key)
        assert await used() == first
        clock.now += USED_S - 1
        rings[1].note_use(key)
        assert await used() == first
        clock.now += 1
        rings[1].note_use(key)
        assert await used() == first + USED_S

    with_stores(scenario)


def test_row_without_scopes_has_all_rights(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        ring = await open_ring(stores, Clock())
        row = {"_id": hash_key(KEY), "name": "old", "prefix": KEY[:8], "created": 1, "revoked": None}
        await stores.database[KEYS].insert_one(row)
        found = await ring.find(KEY)
        assert found is not None
        assert found.caller().may(Scope.ADMIN)

    with_stores(scenario)
