"""What becomes of a delivery, whatever the receiver does; and that nobody is told a secret."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from app.jobs import JOBS
from app.webhooks import WEBHOOKS
from app.webhooks.delivery import DISABLE_S
from tests.conftest import Stores
from tests.webhooks.receiver import Got, answer_of
from tests.webhooks.world import World, until, worlds

With = Callable[..., None]


async def over(world: World, hook: dict[str, Any], state: str) -> dict[str, Any]:
    """The one delivery of a webhook, when it is in this state."""

    async def look() -> Any:
        return next((one for one in await world.deliveries(hook) if one["state"] == state), None)

    found: dict[str, Any] = await until(look)
    return found


def test_what_fails_comes_again_with_the_same_id_and_bytes_and_is_listed(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with worlds(stores) as world, world.working():
            answers = [
                answer_of(500, b"oh"),
                answer_of(302, fields=b"Location: http://169.254.169.254/\r\n"),
                b"nonsense",
            ]
            world.receiver.answer = lambda got: answers.pop(0) if answers else answer_of(200, b"x" * 5000)
            hook = await world.hook()
            await world.api.make("s")
            done = await over(world, hook, "delivered")
            got = world.receiver.got
            assert len(got) == done["attempts"] == 4
            assert len({(one.id, one.body) for one in got}) == 1
            assert all(one.is_signed_by(hook["secret"]) for one in got)
            assert abs(int(got[0].headers["webhook-timestamp"]) - time.time()) < 60
            assert (done["status"], done["response"], done["error"]) == (200, "x" * 1024, "")
            assert done["webhook_id"] == got[0].id
            path = f"/api/v1/webhooks/{hook['id']}/deliveries/{done['id']}"
            assert (await world.api.client.get(path)).json() == {**done, "payload": got[0].body.decode()}
            assert got[0].headers["content-type"] == "application/json"
            assert "traceparent" not in got[0].headers

    with_stores(scenario)


def test_what_always_fails_is_given_up_and_sent_again_by_hand(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with worlds(stores) as world, world.working():
            world.first_s = 0.001
            world.receiver.answer = lambda got: answer_of(503, b"later")
            hook = await world.hook()
            await world.api.make("s")
            await world.received(1)
            await stores.database[JOBS].update_many({}, {"$set": {"attempts": 11}})
            failed = await over(world, hook, "failed")
            assert (failed["status"], failed["error"], failed["response"]) == (503, "it answered 503", "later")
            dead = (await world.api.client.get("/api/v1/jobs")).json()["items"]
            assert [(job["id"], job["state"], job["kind"]) for job in dead] == [(failed["id"], "dead", "webhook")]
            world.receiver.answer = lambda got: answer_of(204)
            path = f"/api/v1/webhooks/{hook['id']}/deliveries/{failed['id']}"
            again = await world.api.client.post(path)
            assert (again.status_code, again.json()["attempts"]) == (202, 0)
            done = await over(world, hook, "delivered")
            assert done["attempts"] == 1
            assert len({one.id for one in world.receiver.got}) == 1
            again = await world.api.client.post(f"/api/v1/jobs/{failed['id']}/retry")  # also what was taken
            assert again.status_code == 202
            await over(world, hook, "delivered")

    with_stores(scenario)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        answer_of(200, b"x" * 100_000),
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"8000\r\n" + b"x" * 0x8000 + b"\r\n") * 3,
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx",
        b"",
    ],
    ids=["never", "long", "announced", "chunked", "head", "cut", "nothing"],
)
def test_an_answer_that_is_none_is_a_failure_within_its_time(with_stores: With, answer: bytes | None) -> None:
    async def scenario(stores: Stores) -> None:
        async with worlds(stores) as world, world.working():
            world.receiver.answer = lambda got: answer if len(world.receiver.got) == 1 else answer_of(204)
            hook = await world.hook()
            await world.api.make("s")
            done = await over(world, hook, "delivered")
            assert done["attempts"] == 2

    with_stores(scenario)


def test_a_receiver_that_is_gone_ends_its_webhook(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with worlds(stores) as world, world.working():
            world.receiver.answer = lambda got: answer_of(410)
            hook = await world.hook()
            await world.api.make("s")
            await over(world, hook, "failed")
            shown = (await world.api.client.get(f"/api/v1/webhooks/{hook['id']}")).json()
            assert (shown["state"], shown["reason"]) == ("disabled", "it answered 410")
            path = f"/api/v1/webhooks/{hook['id']}"
            assert (await world.api.client.post(f"{path}/test")).status_code == 409
            again = await world.api.client.patch(path, json={"state": "active"})
            assert (again.json()["state"], again.json()["reason"]) == ("active", "")

    with_stores(scenario)


def test_days_without_any_success_end_a_webhook_and_what_waits_is_dropped(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with worlds(stores) as world:
            world.receiver.answer = lambda got: answer_of(500)
            hook, path = await world.hook(), "/api/v1/webhooks/"
            async with world.working():
                await world.api.make("s")
                await world.received(1)
                shown = await until(lambda: failing(world, hook))
                assert shown["state"] == "active"
            world.now_s = lambda: time.time() + DISABLE_S + 60
            async with world.working():
                await over(world, hook, "dropped")
            shown = (await world.api.client.get(path + hook["id"])).json()
            assert (shown["state"], shown["reason"]) == ("disabled", "for 5 days it has taken nothing")

    async def failing(world: World, hook: dict[str, Any]) -> Any:
        shown = (await world.api.client.get(f"/api/v1/webhooks/{hook['id']}")).json()
        return shown if shown["failing_since"] else None

    with_stores(scenario)


def test_what_waits_for_a_webhook_that_is_removed_is_forgotten(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with worlds(stores) as world:
            hook = await world.hook()
            for _ in range(3):
                assert (await world.api.client.post(f"/api/v1/webhooks/{hook['id']}/test")).status_code == 202
            await stores.database[WEBHOOKS].delete_one({"_id": hook["id"]})  # as when its deliveries stayed behind
            async with world.working():
                await until(lambda: forgotten(stores))
            assert world.receiver.got == []

    async def forgotten(stores: Stores) -> bool:
        return await stores.database[JOBS].count_documents({}) == 0

    with_stores(scenario)


def test_one_success_forgives_all_failures(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with worlds(stores) as world, world.working():
            world.receiver.answer = lambda got: answer_of(500) if len(world.receiver.got) == 1 else answer_of(200)
            hook = await world.hook()
            await world.api.make("s")
            await over(world, hook, "delivered")
            row = await stores.database[WEBHOOKS].find_one({})
            assert row is not None
            assert row["failing"] is None

    with_stores(scenario)


def test_events_of_one_link_come_in_their_order_while_none_fails(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with worlds(stores) as world, world.working():
            await world.hook()
            for slug in ("a", "b", "c"):
                await world.api.make(slug)
            await asyncio.gather(*(change(world, slug) for slug in ("a", "b", "c")))
            await world.received(33)
            for slug in ("a", "b", "c"):
                data = [got.event["data"] for got in world.receiver.got if got.event["data"]["slug"] == slug]
                versions = [one["version"] for one in data]
                assert versions == sorted(versions)
                assert len(versions) == 11

    async def change(world: World, slug: str) -> None:
        for n in range(10):
            await world.api.client.patch(f"/api/v1/links/{slug}", json={"title": f"t{n}"})

    with_stores(scenario)


def test_a_secret_is_replaced_while_both_sign_for_a_day(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with worlds(stores) as world:
            hook = await world.hook()
            fresh = (await world.api.client.post(f"/api/v1/webhooks/{hook['id']}/secret")).json()
            assert fresh["secret"] != hook["secret"]
            async with world.working():
                await world.api.make("s")
                await world.received(1)
            world.now_s = lambda: time.time() + 86_401
            async with world.working():
                await world.api.make("later")
                await world.received(2)
            signed = [
                (got.is_signed_by(hook["secret"]), got.is_signed_by(fresh["secret"])) for got in world.receiver.got
            ]
            assert signed == [(True, True), (False, True)]

    with_stores(scenario)


def test_a_test_is_delivered_as_any_other_event(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with worlds(stores) as world, world.working():
            hook = await world.hook(events=["link.deleted"])
            asked = await world.api.client.post(f"/api/v1/webhooks/{hook['id']}/test")
            assert (asked.status_code, asked.json()["event"]) == (202, "webhook.test")
            await world.received(1)
            got: Got = world.receiver.got[0]
            assert (got.event["type"], got.event["data"]) == ("webhook.test", {"webhook": hook["id"]})
            assert got.is_signed_by(hook["secret"])
            path = f"/api/v1/webhooks/{hook['id']}/deliveries/{asked.json()['id']}"
            await over(world, hook, "delivered")
            assert (await world.api.client.get(path)).json()["state"] == "delivered"

    with_stores(scenario)


def test_secrets_are_in_no_job_entry_log_or_answer(with_stores: With, capfd: pytest.CaptureFixture[str]) -> None:
    async def scenario(stores: Stores) -> None:
        async with worlds(stores) as world, world.working():
            world.receiver.answer = lambda got: (
                answer_of(500, got.body) if len(world.receiver.got) < 3 else answer_of(200)
            )
            hook = await world.hook()
            fresh = (await world.api.client.post(f"/api/v1/webhooks/{hook['id']}/secret")).json()
            await world.api.make("s")
            await over(world, hook, "delivered")
            texts = [
                (await world.api.client.get(path)).text
                for path in (
                    "/api/v1/webhooks",
                    f"/api/v1/webhooks/{hook['id']}",
                    f"/api/v1/webhooks/{hook['id']}/deliveries",
                    "/api/v1/audit",
                    "/api/v1/jobs?state=done",
                )
            ]
            jobs = str(await stores.database[JOBS].find({}).to_list())
            entries = str(await stores.database["audit"].find({}).to_list())
            row = await stores.database[WEBHOOKS].find_one({})
            assert row is not None
            kept = [one["key"] for one in row["secrets"]]
            for text in (*texts, jobs, entries, "".join(capfd.readouterr())):
                for secret in (hook["secret"], fresh["secret"], *(str(key)[2:-1] for key in kept)):
                    assert secret.removeprefix("whsec_") not in text

    with_stores(scenario)


def test_a_change_that_the_audit_log_does_not_hold_any_more_is_given_up(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with worlds(stores) as world:
            hook = await world.hook()
            world.receiver.answer = lambda got: answer_of(500)
            async with world.working():
                await world.api.make("s")
                await world.received(1)
                await stores.database["audit"].delete_many({"what": "link.create"})
                failed = await over(world, hook, "failed")
            assert failed["error"] == "the audit log does not hold the change any more"
            path = f"/api/v1/webhooks/{hook['id']}/deliveries/{failed['id']}"
            assert (await world.api.client.get(path)).json()["payload"] is None

    with_stores(scenario)
