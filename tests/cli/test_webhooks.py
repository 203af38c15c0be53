"""`boltlink webhooks` and `boltlink jobs`: all that the API does, by command."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.api.service import ADMIN_KEY
from tests.cli.command import Result, boltlink
from tests.conftest import Stores
from tests.webhooks.receiver import answer_of
from tests.webhooks.world import World, worlds

With = Callable[..., None]


def test_webhooks_are_added_tried_listed_changed_and_removed(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with worlds(stores) as world:
            await play(world)

    async def play(world: World) -> None:
        environ = {"BOLTLINK_URL": str(world.api.client.base_url).rstrip("/"), "BOLTLINK_API_KEY": ADMIN_KEY}

        async def run(*words: str) -> Result:
            return await boltlink(*words, environ=environ)

        added = await run("webhooks", "add", world.receiver.url, "--event", "link.created", "--description", "chat")
        assert added.status == 0, added.err
        id_, secret = added.out.split()
        assert secret.startswith("whsec_")
        listed = await run("webhooks", "list")
        assert all(word in listed.out for word in (id_, "active", "link.created", world.receiver.url))
        assert secret not in listed.out
        async with world.working():
            tried = await run("webhooks", "test", id_)
            assert tried.out.startswith("delivered: 204 within "), tried.err
            world.receiver.answer = lambda got: answer_of(410)
            failed = await run("webhooks", "test", id_)
            assert (failed.status, failed.err) == (1, "boltlink: not delivered: it answered 410\n")
        assert (await run("webhooks", "edit", id_, "--enable", "--tag", "news")).status == 0
        again = json.loads((await run("webhooks", "secret", id_, "--yes", "--json")).out)
        assert again["secret"] != secret
        assert again["tag"] == "news"
        dead = json.loads((await run("jobs", "list", "--json")).out)["items"]
        assert [job["error"] for job in dead] == ["it answered 410"]
        deliveries = await run("webhooks", "deliveries", id_, "--limit", "2")
        assert dead[0]["id"] in deliveries.out
        assert "failed" in deliveries.out
        world.receiver.answer = lambda got: answer_of(200)
        retried = await run("jobs", "retry", "--dead", "--yes")
        assert retried.out == "1 of 1 jobs are done again\n", retried.err
        async with world.working():
            await world.received(len(world.receiver.got) + 1)
        done = json.loads((await run("webhooks", "deliveries", id_, "--json")).out)["items"]
        delivered = next(one["id"] for one in done if one["state"] == "delivered")
        assert (await run("webhooks", "redeliver", id_, delivered)).status == 0
        assert (await run("webhooks", "remove", id_, "--yes")).status == 0
        assert id_ not in (await run("webhooks", "list")).out

    with_stores(scenario)
