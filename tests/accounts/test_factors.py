"""Second factors in a real MongoDB: of many who use one code at the same time, one is right."""

from __future__ import annotations

import asyncio
import secrets
import time

import pyotp
import pytest

from app.accounts import SYSTEM, AuditLog, Role, SecondFactors
from tests.accounts.test_users import PASSWORD, With, open_book
from tests.conftest import Stores

NOW_S = 2_000_000_000.0


@pytest.mark.parametrize("kind", ["time", "recovery"])
def test_of_uses_of_one_code_in_parallel_one_is_right(with_stores: With, kind: str) -> None:
    async def scenario(stores: Stores) -> None:
        user = await (await open_book(stores)).add("ada@example.com", Role.EDITOR, PASSWORD, SYSTEM)
        audit = AuditLog(stores.database, now_s=time.time, token_bytes=secrets.token_bytes)
        factors = SecondFactors(stores.database, audit, now_s=lambda: NOW_S, token_bytes=secrets.token_bytes)
        begun = await factors.begin(user)
        assert begun is not None
        make = pyotp.TOTP(begun.secret).at
        recovery = await factors.confirm(user, make(NOW_S, counter_offset=-1), SYSTEM)
        assert recovery is not None
        for code in (make(NOW_S), make(NOW_S, counter_offset=1)) if kind == "time" else recovery:
            found = await asyncio.gather(*(factors.use(user, code) for _ in range(10)))
            assert sorted(found) == [False] * 9 + [True]

    with_stores(scenario)
