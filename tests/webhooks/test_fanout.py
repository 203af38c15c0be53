"""Every change of an acknowledged request is told once to each webhook that hears of it, and nothing else is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from bson import ObjectId

from app.accounts import AUDIT, SYSTEM, Scope
from app.checks import Checker, make_page_reader
from app.jobs import JOBS
from app.links import Broken
from app.stores import LEASES
from tests.conftest import Stores
from tests.webhooks.world import World, until, worlds

With = Callable[..., None]
TARGET = "https://example.com/"


async def told(stores: Stores) -> Counter[tuple[str, str]]:
    """(webhook, event type) of all deliveries that were written."""
    rows = stores.database[JOBS].find({}, {"payload": 1})
    return Counter([(row["payload"]["webhook"], row["payload"]["type"]) async for row in rows])


async def count(stores: Stores) -> int:
    return await stores.database[JOBS].count_documents({})


def test_each_change_of_a_link_is_an_event_that_says_what_changed(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with worlds(stores) as world, world.working():
            client, hook = world.api.client, await world.hook()
            made = await client.post("/api/v1/links", json={"target": TARGET, "slug": "s", "tags": ["a"]})
            await client.patch("/api/v1/links/s", json={"title": "t", "expires_at": "2040-01-01T00:00:00Z"})
            await client.patch("/api/v1/links/s", json={"password": "secret-word"})
            await client.patch("/api/v1/links/s", json={"state": "banned"})
            await client.delete("/api/v1/links/s")
            await client.post("/api/v1/links/s/restore")
            await world.received(6)
            got = world.receiver.got
            types = [one.event["type"] for one in got]
            assert types == [
                *("link.created", "link.updated", "link.updated", "link.banned", "link.deleted", "link.restored")
            ]
            versions = [one.event["data"]["version"] for one in got]
            assert versions == sorted(set(versions))
            assert got[0].event["data"] == {
                "slug": "s",
                "domain": "",
                "short_url": "https://sho.rt/s",
                "version": made.json()["version"],
                "fields": {"target": {"old": None, "new": TARGET}, "tags": {"old": None, "new": ["a"]}},
            }
            assert got[1].event["data"]["fields"] == {
                "title": {"old": "", "new": "t"},
                "expires_at": {"old": None, "new": "2040-01-01T00:00:00Z"},
            }
            assert got[2].event["data"]["fields"] == {"password": {"old": False, "new": True}}
            assert b"secret-word" not in b"".join(one.body for one in got)
            assert all(one.is_signed_by(hook["secret"]) for one in got)
            assert len({one.id for one in got}) == 6

    with_stores(scenario)


def test_a_link_that_is_broken_or_mended_is_an_event_of_its_own(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with worlds(stores) as world, world.working():
            client, services = world.api.client, world.api.services
            await world.hook(events=["link.broken", "link.mended"])
            await world.api.make("s", TARGET)
            checker = Checker(services.catalog, services.audit, make_page_reader(services.settings), is_on=True)
            broken = Broken(1_800_000_000, "it answers 404")
            for now in (broken, None):
                link = await services.links.get("/s")
                assert link is not None
                assert await checker.call(link, now) is not None
            await client.patch("/api/v1/links/s", json={"title": "t"})
            await world.received(2)
            first, second = (one.event for one in world.receiver.got)
            told = {"since": "2027-01-15T08:00:00Z", "reason": "it answers 404"}
            assert (first["type"], first["data"]["fields"]) == ("link.broken", {"broken": {"old": None, "new": told}})
            assert (second["type"], second["data"]["fields"]) == ("link.mended", {"broken": {"old": told, "new": None}})
            assert first["data"]["version"] < second["data"]["version"]

    with_stores(scenario)


def test_a_batch_is_as_many_events_and_a_refused_change_is_none(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with worlds(stores) as world, world.working():
            await world.hook()
            client = world.api.client
            links = [{"target": TARGET, "slug": f"s{n % 60}"} for n in range(61)]  # one of them is taken
            answer = await client.post("/api/v1/links/batch", json={"links": links})
            assert Counter(row["status"] for row in answer.json()["results"]) == {201: 60, 409: 1}
            assert (await client.post("/api/v1/links", json={"target": "nonsense"})).status_code == 422
            await world.received(60)
            assert {one.event["data"]["slug"] for one in world.receiver.got} == {f"s{n}" for n in range(60)}
            assert len(world.receiver.got) == 60

    with_stores(scenario)


def test_a_webhook_hears_of_what_it_wishes_for_and_its_maker_may_see(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with worlds(stores) as world:
            keys, client = world.api.services.keys, world.api.client
            wide = [Scope.LINKS_WRITE]
            rights: dict[str, dict[str, Any]] = {
                "wide": {"scopes": wide},
                "tag": {"scopes": wide, "tag": "news"},
                "own": {"scopes": wide, "own": True},
                "stats": {"scopes": [Scope.STATS_READ]},
            }
            who = {name: {"Authorization": f"Bearer blk_{name}"} for name in rights}
            for name, given in rights.items():
                await keys.add(f"blk_{name}", name, **given)
            hooks = {
                "all": await world.hook(),
                "deletions": await world.hook(events=["link.deleted"]),
                "tagged": await world.hook(tag="news"),
                "mine": await world.hook(own=True),
                "elsewhere": await world.hook(domain="go.example"),
                "of tag": await world.hook(who["tag"]),
                "of own": await world.hook(who["own"]),
                "of wide": await world.hook(who["wide"], domain=""),
            }
            assert (hooks["of tag"]["tag"], hooks["of own"]["own"]) == ("news", True)
            async with world.working():
                await client.post("/api/v1/links", json={"target": TARGET, "slug": "a"})
                await client.post(
                    "/api/v1/links", json={"target": TARGET, "slug": "b", "tags": ["news"]}, headers=who["tag"]
                )
                await client.post("/api/v1/links", json={"target": TARGET, "slug": "c"}, headers=who["own"])
                await client.delete("/api/v1/links/a")
                await client.patch("/api/v1/links/b", json={"tags": []})
                await until(lambda: _has(stores, 17))
            names = {hook["id"]: name for name, hook in hooks.items()}
            found = Counter({names[one]: 0 for one in names})
            for (one, _), n in (await told(stores)).items():
                found[names[one]] += n
            assert sum(found.values()) == 17
            assert found == {
                "all": 5,
                "deletions": 1,
                "tagged": 2,  # also that it has the tag no more
                "mine": 2,
                "elsewhere": 0,
                "of tag": 1,
                "of own": 1,
                "of wide": 5,
            }

    async def _has(stores: Stores, most: int) -> bool:
        return await count(stores) >= most

    with_stores(scenario)


def test_nothing_is_lost_or_doubled_however_often_the_program_begins_anew(with_stores: With) -> None:
    """What is kept of the place may be old or gone, and the stream's token of no use."""

    async def scenario(stores: Stores) -> None:
        async with worlds(stores) as world:
            hook, client = await world.hook(), world.api.client
            slugs: list[str] = []
            kept = {"_id": "webhooks"}

            async def make(number: int) -> None:
                slug = f"n{number}"
                assert (await client.post("/api/v1/links", json={"target": TARGET, "slug": slug})).status_code == 201
                slugs.append(slug)

            for turn in range(6):
                await asyncio.gather(*(make(10 * turn + n) for n in range(5)))
                async with world.working():
                    await asyncio.gather(*(make(10 * turn + 5 + n) for n in range(5)))
                    await world.received(10 * turn + 3)
                    if turn == 3:
                        await until(lambda: _keeps_a_token(stores))
                if turn == 1:
                    await stores.database[LEASES].delete_one(kept)
                elif turn == 2:
                    await stores.database[LEASES].update_one(kept, {"$unset": {"kept.token": ""}})
                elif turn == 3:
                    row = await stores.database[LEASES].find_one(kept)
                    assert row is not None
                    ancient = row["kept"]["token"][:2] + "00000001" + row["kept"]["token"][10:]  # of the year 1970
                    await stores.database[LEASES].update_one(kept, {"$set": {"kept.token": ancient}})
            async with world.working():
                await until(lambda: _all(world, 60))
                await asyncio.sleep(0.3)
            found = [one.event["data"]["slug"] for one in world.receiver.got]
            assert sorted(found) == sorted(slugs)
            assert await told(stores) == {(hook["id"], "link.created"): 60}

    async def _all(world: World, most: int) -> bool:
        return len({one.id for one in world.receiver.got}) >= most

    async def _keeps_a_token(stores: Stores) -> bool:
        return await stores.database[LEASES].find_one({"_id": "webhooks", "kept.token": {"$exists": True}}) is not None

    with_stores(scenario)


def test_what_was_before_a_webhook_or_a_restore_is_not_told(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with worlds(stores) as world:
            client, services = world.api.client, world.api.services
            await client.post("/api/v1/links", json={"target": TARGET, "slug": "old"})
            oldest = await stores.database[AUDIT].find_one({"what": "link.create"})
            assert oldest is not None
            ancient = ObjectId(
                (int.from_bytes(oldest["_id"].binary[:6]) - 10_000).to_bytes(6) + oldest["_id"].binary[6:]
            )
            await stores.database[AUDIT].delete_one({"_id": oldest["_id"]})
            await stores.database[AUDIT].insert_one({**oldest, "_id": ancient})  # ten seconds before the webhook
            async with world.working():
                await world.hook()
                await client.post("/api/v1/links", json={"target": TARGET, "slug": "new"})
                await world.received(1)
            assert [one.event["data"]["slug"] for one in world.receiver.got] == ["new"]
            await stores.database[LEASES].delete_many({})  # as a restore does
            await services.audit.add(services.audit.note(SYSTEM, "database.restore", "database:x"))
            await stores.database[JOBS].delete_many({})
            async with world.working():
                await client.post("/api/v1/links", json={"target": TARGET, "slug": "newer"})
                await world.received(2)
                await asyncio.sleep(0.2)
            assert [one.event["data"]["slug"] for one in world.receiver.got] == ["new", "newer"]

    with_stores(scenario)


def test_a_maker_whose_key_is_revoked_hears_nothing_more(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with worlds(stores) as world, world.working():
            client, services = world.api.client, world.api.services
            key = await services.keys.add("blk_leaver", "leaver", scopes=[Scope.LINKS_WRITE])
            await world.hook({"Authorization": "Bearer blk_leaver"})
            await client.post("/api/v1/links", json={"target": TARGET, "slug": "a"})
            await world.received(1)
            await services.keys.revoke(key.id)
            stays = await world.hook()
            await client.post("/api/v1/links", json={"target": TARGET, "slug": "b"})
            await world.received(2)
            assert {webhook for (webhook, _), n in (await told(stores)).items() if n == 1} >= {stays["id"]}
            assert await count(stores) == 2

    with_stores(scenario)


def test_a_webhook_that_is_too_far_behind_is_disabled_and_the_log_says_so(with_stores: With, monkeypatch: Any) -> None:
    async def scenario(stores: Stores) -> None:
        monkeypatch.setattr("app.webhooks.fanout.WAITING_MAX", 5)
        monkeypatch.setattr("app.webhooks.fanout.COUNT_S", 0.0)
        async with worlds(stores) as world:
            world.first_s = 60.0
            world.receiver.answer = lambda got: b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
            hook = await world.hook()
            async with world.working():
                for n in range(5):
                    await world.api.make(f"s{n}")
                await world.received(5)
                await world.api.make("last")
                one = f"/api/v1/webhooks/{hook['id']}"
                shown = await until(lambda: _disabled(world, one))
            assert shown["reason"] == "5 deliveries wait for it"
            entries = (await world.api.client.get("/api/v1/audit", params={"what": "webhook.disable"})).json()["items"]
            assert [(entry["who"]["kind"], entry["subject"]["id"]) for entry in entries] == [("system", hook["id"])]

    async def _disabled(world: World, path: str) -> Any:
        shown = (await world.api.client.get(path)).json()
        return shown if shown["state"] == "disabled" else None

    with_stores(scenario)
