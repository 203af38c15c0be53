"""The audit log in a real MongoDB: pages by an index, retention, writes that are shared, and changes that happen with
their note or not at all."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pymongo import DESCENDING
from pymongo.errors import PyMongoError

from app.accounts import AUDIT, INDEXES, SYSTEM, WHATS, AuditLog, AuditSearch, Author, time_of
from app.links import INDEXES as LINK_INDEXES
from app.links import LINKS, Link, LinkStore, StoredLink
from app.stores import Session, Shape, make_schema, transact
from tests.conftest import Stores

With = Callable[[Callable[[Stores], Awaitable[None]]], None]
NOW_S = 1_700_000_000
BEN, EVE = Author("key:ben", "r1"), Author("user:eve", "r2", "192.0.2.1")
SEARCHES = (
    AuditSearch(),
    AuditSearch(who="key:ben"),
    AuditSearch(who="key:ben", what="link.update"),
    AuditSearch(what="link.update"),
    AuditSearch(subject="link:/s3"),
    AuditSearch(subject="link:/s3", who="key:ben", what="link.update", link=3),
    AuditSearch(since=NOW_S + 10, until=NOW_S + 20),
    AuditSearch(who="key:ben", since=NOW_S + 10, until=NOW_S + 20),
)


class Clock:
    """Seconds that pass when told to."""

    now = float(NOW_S)

    def __call__(self) -> float:
        return self.now


async def open_log(stores: Stores, clock: Callable[[], float]) -> AuditLog:
    await make_schema(stores.database, Shape({LINKS: LINK_INDEXES, **INDEXES}))
    return AuditLog(stores.database, now_s=clock, token_bytes=secrets.token_bytes)


async def fill(log: AuditLog, clock: Clock, rows: int) -> None:
    for number in range(rows):
        clock.now = NOW_S + number
        what = ("link.create", "link.update", "link.delete")[number % 3]
        link = StoredLink(link=number % 7, target="", version=1)
        await log.add(log.note((BEN, EVE)[number % 2], what, f"link:/s{number % 7}", link=link))


def test_entries_come_newest_first_page_by_page(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        clock = Clock()
        log = await open_log(stores, clock)
        await fill(log, clock, 45)
        seen: list[Any] = []
        after: str | None = ""
        while after is not None:
            rows, after = await log.page(AuditSearch(), limit=10, after=after)
            assert len(rows) <= 10
            seen += [time_of(row) for row in rows]
        assert len(seen) == 45
        assert seen == sorted(seen, reverse=True)

    with_stores(scenario)


def test_search_finds_what_it_names_and_nothing_else(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        clock = Clock()
        log = await open_log(stores, clock)
        await fill(log, clock, 60)
        everything = (await log.page(AuditSearch(), limit=100))[0]
        for search in SEARCHES:
            expected = [
                row
                for row in everything
                if (not search.who or row["who"] == search.who)
                and (not search.what or row["what"] == search.what)
                and (not search.subject or row["subject"] == search.subject)
                and (search.since is None or time_of(row) >= search.since)
                and (search.until is None or time_of(row) < search.until)
            ]
            assert (await log.page(search, limit=100))[0] == expected, search
            assert expected, search

    with_stores(scenario)


@pytest.mark.parametrize("search", SEARCHES)
def test_page_costs_what_is_shown_however_long_the_log_is(with_stores: With, search: AuditSearch) -> None:
    async def scenario(stores: Stores) -> None:
        clock = Clock()
        log = await open_log(stores, clock)
        await asyncio.gather(*(fill(log, Clock(), 60) for _ in range(10)))
        query = stores.database[AUDIT].find(search.query(None)).sort("_id", DESCENDING).limit(6)
        plan = await query.explain()
        stats = plan["executionStats"]
        assert "'SORT'" not in str(plan["queryPlanner"]["winningPlan"])
        assert "COLLSCAN" not in str(plan["queryPlanner"]["winningPlan"])
        assert stats["totalDocsExamined"] <= 6 * (6 if search.link else 1)
        assert stats["totalKeysExamined"] <= 6 * 6 + 2 * len(WHATS)

    with_stores(scenario)


def test_entries_of_one_turn_share_a_write(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        log = await open_log(stores, Clock())

        async def inserts() -> int:
            status = await stores.database.client.admin.command("serverStatus")
            return int(status["metrics"]["commands"]["insert"]["total"])

        before = await inserts()
        await asyncio.gather(*(log.add(log.note(SYSTEM, "link.erase", f"link:/s{n}")) for n in range(20)))
        assert await inserts() - before == 1
        assert await stores.database[AUDIT].count_documents({}) == 20

    with_stores(scenario)


def test_old_entries_are_removed_and_no_others(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        clock = Clock()
        log = await open_log(stores, clock)
        await fill(log, clock, 30)
        assert not await log.remove_before(NOW_S + 12)
        left = [time_of(row) async for row in stores.database[AUDIT].find().sort("_id")]
        assert len(left) == 18
        assert left[0] == NOW_S + 12
        assert not await log.remove_before(-5)
        assert await stores.database[AUDIT].count_documents({}) == 18

    with_stores(scenario)


def test_a_change_whose_note_cannot_be_written_does_not_happen(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        log = await open_log(stores, Clock())
        note = log.note(SYSTEM, "link.create", "link:/a")
        await log.add(note)  # whoever writes it once more is refused by MongoDB
        store = LinkStore(stores.database, write_notes=log.write)
        link = Link(domain="", slug="a", link=1, target="https://example.com/", version=1)
        (result,) = await store.insert_many([link], lambda link: note)
        assert isinstance(result, PyMongoError)
        assert await store.get("/a") is None
        await store.insert(link)
        with pytest.raises(PyMongoError):
            await store.change("/a", {"title": "new"}, now_ms=2, version=None, tell=lambda link: note)
        unchanged = await store.get("/a")
        assert unchanged is not None
        assert (unchanged.title, unchanged.version) == ("", 1)

    with_stores(scenario)


def test_changes_at_once_each_happen_once_with_their_note(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        log = await open_log(stores, Clock())
        store = LinkStore(stores.database, write_notes=log.write)
        await store.insert(Link(domain="", slug="a", link=1, target="https://example.com/", version=1))

        async def change(number: int) -> bool:
            fields = {"title": str(number)}
            note = log.note(BEN, "link.update", "link:/a", new={"title": str(number)})
            try:
                return await store.change("/a", fields, now_ms=2, version=None, tell=lambda link: note) is not None
            except PyMongoError:
                return False  # others kept writing

        done = await asyncio.gather(*map(change, range(12)))
        link = await store.get("/a")
        assert link is not None
        assert any(done)
        assert link.version == 1 + sum(done)
        rows, _ = await log.page(AuditSearch(), limit=50)
        assert {row["new"]["title"] for row in rows} == {str(n) for n, is_done in enumerate(done) if is_done}

    with_stores(scenario)


def test_what_ends_a_transaction_leaves_nothing(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        log = await open_log(stores, Clock())

        async def work(session: Session) -> None:
            await log.write([log.note(SYSTEM, "link.create", "link:/a")], session)
            raise KeyError("the process dies here")

        with pytest.raises(KeyError):
            await transact(stores.database, work)
        assert await stores.database[AUDIT].count_documents({}) == 0

    with_stores(scenario)
