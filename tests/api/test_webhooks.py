"""`/api/v1/webhooks` as its callers see it: who sees which, what is refused, versions, limits, the audit log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from app.accounts import Scope
from app.api.webhooks import WebhookView
from app.webhooks import EVENTS
from tests.api.service import Service, serve
from tests.conftest import Stores

With = Callable[..., None]
PATH = "/api/v1/webhooks"
URL = "https://hooks.example.com/in"


async def make(api: Service, headers: dict[str, str] | None = None, **wish: Any) -> dict[str, Any]:
    answer = await api.client.post(PATH, json={"url": URL, **wish}, headers=headers)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == f"{PATH}/{made['id']}"
    return made


async def key(api: Service, name: str, **rights: Any) -> dict[str, str]:
    await api.services.keys.add(f"blk_{name}", name, **{"scopes": [Scope.LINKS_WRITE], **rights})
    return {"Authorization": f"Bearer blk_{name}"}


def test_a_webhook_is_made_shown_listed_changed_and_ended(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            made = await make(api, events=["link.deleted", "link.deleted"], description="chat")
            secret = made.pop("secret")
            assert secret.startswith("whsec_")
            assert set(made) == set(WebhookView.__struct_fields__)
            assert (made["events"], made["state"], made["version"]) == (["link.deleted"], "active", 1)
            shown = await api.client.get(f"{PATH}/{made['id']}")
            assert (shown.json(), shown.headers["ETag"]) == (made, '"1"')
            assert (await api.client.get(PATH)).json() == {"items": [made], "next_cursor": None}
            stale = await api.client.patch(f"{PATH}/{made['id']}", json={"tag": "a"}, headers={"If-Match": '"9"'})
            assert stale.status_code == 412
            changed = await api.client.patch(
                f"{PATH}/{made['id']}", json={"tag": "a", "events": []}, headers={"If-Match": '"1"'}
            )
            assert changed.json() == {**made, "tag": "a", "events": [], "version": 2}
            stale = await api.client.delete(f"{PATH}/{made['id']}", headers={"If-Match": '"1"'})
            assert stale.status_code == 412
            assert (await api.client.delete(f"{PATH}/{made['id']}")).status_code == 204
            assert (await api.client.get(f"{PATH}/{made['id']}")).status_code == 404
            entries = (await api.client.get("/api/v1/audit", params={"subject": f"webhook:{made['id']}"})).json()
            told = {entry["what"]: entry["fields"] for entry in entries["items"]}
            assert list(told) == ["webhook.delete", "webhook.update", "webhook.create"]
            assert told["webhook.update"] == {
                "tag": {"old": "", "new": "a"},
                "events": {"old": ["link.deleted"], "new": []},
            }
            assert secret.removeprefix("whsec_") not in str(entries)

    with_stores(scenario)


def test_only_its_maker_and_admins_see_a_webhook(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            ann, bob = await key(api, "ann"), await key(api, "bob")
            hers = await make(api, ann)
            for method, path, body in (
                ("GET", "", None),
                ("PATCH", "", {"state": "disabled"}),
                ("DELETE", "", None),
                ("POST", "/secret", None),
                ("POST", "/test", None),
                ("GET", "/deliveries", None),
            ):
                answer = await api.client.request(method, f"{PATH}/{hers['id']}{path}", json=body, headers=bob)
                assert answer.status_code == 404, (method, path)
            assert (await api.client.get(PATH, headers=bob)).json()["items"] == []
            assert len((await api.client.get(PATH, headers=ann)).json()["items"]) == 1
            assert len((await api.client.get(PATH)).json()["items"]) == 1
            test = (await api.client.post(f"{PATH}/{hers['id']}/test", headers=ann)).json()
            his = await make(api, bob)
            other = f"{PATH}/{his['id']}/deliveries/{test['id']}"  # another's delivery, by one's own webhook
            assert (await api.client.get(other, headers=bob)).status_code == 404
            assert (await api.client.post(other, headers=bob)).status_code == 404

    with_stores(scenario)


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"url": "http://hooks.example.com/"}, "url"),
        ({"url": "https://127.0.0.1/"}, "url"),
        ({"url": "https://[::ffff:169.254.169.254]/"}, "url"),
        ({"url": "https://localhost:8001/metrics"}, "url"),
        ({"url": "https://a.example/\r\nX-Injected: 1"}, "url"),
        ({"url": "https://a.example/ b"}, "url"),
        ({"url": "https://ann:word@a.example/"}, "url"),
        ({"url": "https://a.example/" + "x" * 2048}, "url"),
        ({"url": "file:///etc/passwd"}, "url"),
        ({"url": 5}, "url"),
        ({"events": ["link.clicked"]}, "events[0]"),
        ({"events": "link.created"}, "events"),
        ({"domain": "not a domain"}, "domain"),
        ({"secret": "mine"}, "secret"),
        ({"description": "x" * 501}, "description"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_by_its_field(with_stores: With, wish: dict[str, Any], field: str) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            refused = await api.client.post(PATH, json={"url": URL, **wish})
            assert refused.status_code == 422
            assert [error["field"] for error in refused.json()["errors"]] == [field]
            made = await make(api)
            assert (await api.client.patch(f"{PATH}/{made['id']}", json=wish)).status_code == 422

    with_stores(scenario)


def test_a_narrowed_key_makes_webhooks_that_are_narrowed_as_it_is(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            narrow = await key(api, "narrow", tag="news", own=True, domain="")
            made = await make(api, narrow)
            assert (made["tag"], made["own"], made["domain"]) == ("news", True, "")
            assert (await make(api, narrow, tag="news"))["tag"] == "news"
            for wish in ({"tag": "other"}, {"domain": "go.example"}):
                refused = await api.client.post(PATH, json={"url": URL, **wish}, headers=narrow)
                assert refused.status_code == 422
            wider = await api.client.patch(
                f"{PATH}/{made['id']}", json={"tag": "", "own": False, "domain": None}, headers=narrow
            )
            assert (wider.json()["tag"], wider.json()["own"], wider.json()["domain"]) == ("news", True, "")

    with_stores(scenario)


def test_no_owner_has_more_than_the_limit_however_many_ask_at_once(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores, None, BOLTLINK_WEBHOOKS_MAX="3") as api:
            ann = await key(api, "ann")
            answers = await asyncio.gather(*(api.client.post(PATH, json={"url": URL}, headers=ann) for _ in range(8)))
            assert sorted(answer.status_code for answer in answers) == [201, 201, 201, 409, 409, 409, 409, 409]
            assert "3 webhooks" in next(one for one in answers if one.status_code == 409).json()["detail"]
            await make(api)  # another's
            first = (await api.client.get(PATH, params={"limit": 2}, headers=ann)).json()
            rest = (await api.client.get(PATH, params={"limit": 2, "cursor": first["next_cursor"]}, headers=ann)).json()
            ids = [one["id"] for one in first["items"] + rest["items"]]
            assert (ids, len(ids), rest["next_cursor"]) == (sorted(ids), 3, None)

    with_stores(scenario)


def test_tests_of_a_webhook_do_not_pile_up(with_stores: With, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(stores: Stores) -> None:
        monkeypatch.setattr("app.api.deliveries.WAITING_MAX", 3)
        async with serve(stores) as api:
            path = f"{PATH}/{(await make(api))['id']}/test"
            assert [(await api.client.post(path)).status_code for _ in range(4)] == [202, 202, 202, 409]

    with_stores(scenario)


def test_changes_at_the_same_time_are_all_made(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            path = f"{PATH}/{(await make(api))['id']}"
            wishes: list[dict[str, Any]] = [{"tag": "a"}, {"events": [EVENTS[0]]}, {"description": "d"}]
            answers = await asyncio.gather(*(api.client.patch(path, json=wish) for wish in wishes))
            assert [answer.status_code for answer in answers] == [200] * 3
            shown = (await api.client.get(path)).json()
            assert (shown["tag"], shown["events"], shown["description"], shown["version"]) == ("a", [EVENTS[0]], "d", 4)

    with_stores(scenario)


def test_deliveries_and_jobs_are_listed_page_by_page_and_go_with_the_webhook(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            made = await make(api)
            path = f"{PATH}/{made['id']}"
            ids = [(await api.client.post(f"{path}/test")).json()["id"] for _ in range(5)]
            for listed, params in ((f"{path}/deliveries", {}), ("/api/v1/jobs", {"state": "ready"})):
                seen = list[str]()
                cursor: Any = ""
                while cursor is not None:
                    page = (await api.client.get(listed, params={"limit": 2, "cursor": cursor, **params})).json()
                    seen += [one["id"] for one in page["items"]]
                    cursor = page["next_cursor"]
                assert seen == ids[::-1]
            waits = await api.client.post(f"{path}/deliveries/{ids[0]}")
            assert waits.status_code == 409
            assert (await api.client.post(f"/api/v1/jobs/{ids[0]}/retry")).status_code == 409
            assert (await api.client.get("/api/v1/jobs", params={"cursor": "x"})).status_code == 422
            assert (await api.client.delete(path)).status_code == 204
            assert (await api.client.get("/api/v1/jobs", params={"state": "ready"})).json()["items"] == []

    with_stores(scenario)
