"""Users in a real MongoDB: unique e-mails, passwords of any length, and an administrator that always stays."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable

import bcrypt
import pytest

from app.accounts import INDEXES, SYSTEM, USERS, AuditLog, LastAdminError, Role, UserBook, UserError
from app.links import PasswordHasher
from app.stores import Shape, make_schema
from tests.conftest import Stores

With = Callable[[Callable[[Stores], Awaitable[None]]], None]
PASSWORD = "correct horse battery"


async def open_book(stores: Stores) -> UserBook:
    await make_schema(stores.database, Shape(INDEXES))
    audit = AuditLog(stores.database, now_s=time.time, token_bytes=secrets.token_bytes)
    hasher = PasswordHasher(cost=4)
    return UserBook(
        stores.database,
        audit,
        hasher,
        cost=5,
        monotonic=time.monotonic,
        now_s=time.time,
        token_hex=secrets.token_hex,
    )


def test_an_email_belongs_to_one_user_whatever_its_case(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        book = await open_book(stores)
        ada = await book.add("Ada@Example.com", Role.EDITOR, PASSWORD, SYSTEM)
        for same in ("ada@example.com", "ADA@EXAMPLE.COM", "Ada@Example.com"):
            with pytest.raises(UserError, match="another user"):
                await book.add(same, Role.VIEWER, PASSWORD, SYSTEM)
            assert await book.named(same) == ada
        assert ada.email == "Ada@Example.com"
        for wrong in (
            "",
            "ada",
            "ada@",
            "@example.com",
            "a b@example.com",
            "ada@example",
            "a@b.c\n",
            "x" * 250 + "@b.cd",
        ):
            with pytest.raises(UserError):
                await book.add(wrong, Role.VIEWER, PASSWORD, SYSTEM)

    with_stores(scenario)


def test_every_character_of_a_password_counts_and_its_hash_alone_is_stored(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        book = await open_book(stores)
        long = "x" * 100
        user = await book.add("ada@example.com", Role.VIEWER, long + "a", SYSTEM)
        assert await book.is_right(user, long + "a")
        assert not await book.is_right(user, long + "b")
        assert not await book.is_right(user, "")
        composed = await book.change(user.id, SYSTEM, password="p\u00e4ssword-long")
        assert composed is not None
        assert await book.is_right(composed, "pa\u0308ssword-long")
        assert user.password.startswith(b"$2b$05$")
        rows = str([row async for row in stores.database["audit"].find()] + [await stores.database[USERS].find_one()])
        assert long not in rows
        for wrong in ("short", "x" * 1001):
            with pytest.raises(UserError):
                await book.change(user.id, SYSTEM, password=wrong)

    with_stores(scenario)


def test_nobody_costs_what_somebody_costs(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        book = await open_book(stores)
        user = await book.add("ada@example.com", Role.VIEWER, PASSWORD, SYSTEM)
        assert bcrypt.checkpw(b"anything", book._nobody) is False, "a hash that bcrypt computes, not one it refuses"
        assert book._nobody[:7] == user.password[:7]
        assert len(book._nobody) == len(user.password)
        assert not await book.is_right(None, PASSWORD)

    with_stores(scenario)


@pytest.mark.timeout(30)
def test_what_nobody_can_have_is_not_normalised(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        book = await open_book(stores)
        user = await book.add("ada@example.com", Role.VIEWER, PASSWORD, SYSTEM)
        accents = "\u0301\u0323" * 100_000  # a minute, of which this test has half
        assert await book.named(f"ada@example.com{accents}") is None
        assert not await book.is_right(user, PASSWORD + accents)
        long = "x" * 1_000
        changed = await book.change(user.id, SYSTEM, password=long)
        assert changed is not None
        assert await book.is_right(changed, long)
        assert not await book.is_right(changed, long + "x")
        longest = "a" * 64 + "@" + ("b" * 61 + ".") * 3 + "cde"
        made = await book.add(longest, Role.VIEWER, PASSWORD, SYSTEM)
        assert (await book.named(longest.upper())) == made
        assert await book.named(longest + "x") is None

    with_stores(scenario)


def test_the_last_administrator_stays(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        book = await open_book(stores)
        ada = await book.add("ada@example.com", Role.ADMIN, PASSWORD, SYSTEM)
        await book.add("ben@example.com", Role.EDITOR, PASSWORD, SYSTEM)
        changes: list[Callable[[], Awaitable[object]]] = [
            lambda: book.remove(ada.id, SYSTEM),
            lambda: book.change(ada.id, SYSTEM, role=Role.EDITOR),
            lambda: book.change(ada.id, SYSTEM, disabled=True),
        ]
        for change in changes:
            with pytest.raises(LastAdminError):
                await change()
            assert await book.find(ada.id) == ada
        cy = await book.add("cy@example.com", Role.ADMIN, PASSWORD, SYSTEM)
        assert await book.change(ada.id, SYSTEM, disabled=True)
        with pytest.raises(LastAdminError):
            await book.remove(cy.id, SYSTEM)
        assert await book.remove(ada.id, SYSTEM)

    with_stores(scenario)


@pytest.mark.parametrize("turn", range(5))
def test_of_administrators_that_are_removed_in_parallel_one_stays(with_stores: With, turn: int) -> None:
    async def scenario(stores: Stores) -> None:
        book = await open_book(stores)
        admins = [await book.add(f"a{n}@example.com", Role.ADMIN, PASSWORD, SYSTEM) for n in range(3)]
        works = (
            book.remove(admins[0].id, SYSTEM),
            book.change(admins[1].id, SYSTEM, role=Role.VIEWER),
            book.change(admins[2].id, SYSTEM, disabled=True),
        )
        results = await asyncio.gather(*works, return_exceptions=True)
        left = await stores.database[USERS].count_documents({"role": "admin", "disabled": False})
        assert left == sum(isinstance(result, Exception) for result in results) >= 1
        assert any(isinstance(result, LastAdminError) for result in results)

    with_stores(scenario)
