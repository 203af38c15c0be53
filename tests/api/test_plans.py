"""Every query of the API is answered by an index, in its order, and looks at little more than it returns.

Driven from the routing table: a route or a method without a call here fails. MongoDB's profiler (level 2) tells what
each operation did; the links are many beside what is asked for, so that a scan shows.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tornado import web

from app.accounts import USERS
from app.api import INDEXES, ROUTES
from app.api.handler import Handler
from app.jobs import JOBS
from app.links import LINKS, Broken, Link, LinkState
from app.links.rows import to_row
from app.webhooks import WEBHOOKS
from tests.api.service import Service, With, serve
from tests.conftest import Stores

MANY = 3_000
SPARE = 60  # documents that an operation may look at beyond what it returns or changes
#: Collections that are read as a whole and are bounded: 1,000 domains or webhooks, keys that people make, begun moves.
SMALL = {"domains", "api_keys", "tag_moves", "checkpoints", "salts", "schema", "webhooks", "webhooks_guard"}
METHODS = ("get", "post", "put", "patch", "delete")
SLUG = "/api/v1/links/{slug}"
USER, USER_0 = "/api/v1/users/{user_id}", "/api/v1/users/" + "0" * 16
HOOK, HOOK_0 = "/api/v1/webhooks/{webhook_id}", "/api/v1/webhooks/" + "0" * 16
BATCH = [{"slug": "b1", "title": "T"}, {"slug": "b2", "title": "T"}]

Call = tuple[str, str, Any]


def delivery(number: int) -> str:
    """The id of one of a hundred webhooks' deliveries."""
    return f"{number:024x}-{number % 100:016x}"


#: (method, path, body) of each route that is not open to everyone. Placeholders are as in the routes.
CALLS: dict[tuple[str, str], list[Call]] = {
    ("GET", "/api/v1/links"): [
        ("GET", "/api/v1/links?limit=20" + query, None)
        for query in (
            *("", "&count=true", "&q=winter", "&q=winter+sale", "&tag=rare", "&owner=ann", "&domain=go.example"),
            *("&tag=rare&owner=ann&q=winter", "&state=disabled", "&state=deleted", "&sort=clicks", "&sort=-expires"),
            *("&sort=slug", "&sort=-slug&prefix=s12", "&sort=expires&expires_from=2031-01-01T00:00:00Z"),
            *("&created_from=2020-01-01T00:00:00Z&created_to=2030-01-01T00:00:00Z&sort=created", "&state=active"),
            *("&sort=clicks&tag=rare&state=disabled", "&broken=true", "&broken=true&sort=clicks&owner=ann"),
        )
    ],
    ("POST", "/api/v1/links"): [
        ("POST", "/api/v1/links", {"target": "https://example.com/new"}),
        ("POST", "/api/v1/links", {"target": "https://example.com/new", "find_existing": True}),
        ("POST", "/api/v1/links", {"target": "https://example.com/new", "slug": "s1"}),
    ],
    ("POST", "/api/v1/links/batch"): [("POST", "/api/v1/links/batch", {"links": [{"target": "https://a.example/"}]})],
    ("PATCH", "/api/v1/links/batch"): [("PATCH", "/api/v1/links/batch", {"links": BATCH})],
    ("POST", "/api/v1/links/batch/delete"): [("POST", "/api/v1/links/batch/delete", {"links": [{"slug": "s9"}]})],
    ("GET", SLUG): [("GET", "/api/v1/links/s5", None)],
    ("PATCH", SLUG): [("PATCH", "/api/v1/links/s5", {"title": "New"})],
    ("DELETE", SLUG): [("DELETE", "/api/v1/links/s6", None)],
    ("POST", SLUG + "/restore"): [("POST", "/api/v1/links/s6/restore", None)],
    ("GET", SLUG + "/history"): [("GET", "/api/v1/links/s5/history", None)],
    ("GET", SLUG + "/qr"): [("GET", "/api/v1/links/s5/qr", None)],
    ("GET", SLUG + "/stats"): [("GET", "/api/v1/links/s5/stats", None)],
    ("DELETE", SLUG + "/stats"): [("DELETE", "/api/v1/links/s5/stats", None)],
    ("GET", "/api/v1/stats"): [("GET", "/api/v1/stats" + query, None) for query in ("", "?tag=rare", "?user=ann")],
    ("GET", "/api/v1/live"): [],  # a stream; it asks MongoDB for one link by its key
    ("POST", "/api/v1/domains"): [("POST", "/api/v1/domains", {"name": "new.example"})],
    ("GET", "/api/v1/domains"): [("GET", "/api/v1/domains", None)],
    ("GET", "/api/v1/domains/{domain}"): [("GET", "/api/v1/domains/new.example", None)],
    ("PATCH", "/api/v1/domains/{domain}"): [("PATCH", "/api/v1/domains/new.example", {"robots": "disallow"})],
    ("DELETE", "/api/v1/domains/{domain}"): [("DELETE", "/api/v1/domains/new.example", None)],
    ("GET", "/api/v1/tags"): [("GET", "/api/v1/tags", None)],
    ("PATCH", "/api/v1/tags/{tag}"): [("PATCH", "/api/v1/tags/rare", {"name": "rarer"})],
    ("DELETE", "/api/v1/tags/{tag}"): [("DELETE", "/api/v1/tags/rarer", None)],
    ("POST", "/api/v1/keys"): [("POST", "/api/v1/keys", {"name": "k"})],
    ("GET", "/api/v1/keys"): [("GET", "/api/v1/keys", None)],
    ("DELETE", "/api/v1/keys/{key_id}"): [("DELETE", "/api/v1/keys/" + "0" * 64, None)],
    ("POST", "/api/v1/users"): [
        ("POST", "/api/v1/users", {"email": "new@example.com", "role": "viewer", "password": "correct horse battery"})
    ],
    ("GET", "/api/v1/users"): [
        ("GET", "/api/v1/users" + query, None) for query in ("", "?email=u5@example.com", "?limit=5")
    ],
    ("GET", USER): [("GET", USER_0, None)],
    ("PATCH", USER): [("PATCH", USER_0, {"role": "viewer"})],
    ("DELETE", USER): [("DELETE", USER_0, None)],
    ("DELETE", USER + "/sessions"): [("DELETE", USER_0 + "/sessions", None)],
    ("DELETE", USER + "/totp"): [("DELETE", USER_0 + "/totp", None)],
    ("GET", "/api/v1/webhooks"): [("GET", "/api/v1/webhooks?limit=5", None)],
    ("POST", "/api/v1/webhooks"): [("POST", "/api/v1/webhooks", {"url": "https://hooks.example.com/"})],
    ("GET", HOOK): [("GET", HOOK_0, None)],
    ("PATCH", HOOK): [("PATCH", HOOK_0, {"tag": "rare"})],
    ("POST", HOOK + "/secret"): [("POST", HOOK_0 + "/secret", None)],
    ("POST", HOOK + "/test"): [("POST", HOOK_0 + "/test", None)],
    ("GET", HOOK + "/deliveries"): [("GET", HOOK_0 + "/deliveries?limit=5", None)],
    ("GET", HOOK + "/deliveries/{delivery_id}"): [("GET", f"{HOOK_0}/deliveries/{delivery(0)}", None)],
    ("POST", HOOK + "/deliveries/{delivery_id}"): [("POST", f"{HOOK_0}/deliveries/{delivery(0)}", None)],
    ("GET", "/api/v1/jobs"): [
        ("GET", "/api/v1/jobs?limit=5" + query, None)
        for query in ("", "&state=ready", f"&cursor=1700000100000.{delivery(100)}")
    ],
    ("POST", "/api/v1/jobs/{job_id}/retry"): [("POST", f"/api/v1/jobs/{delivery(2)}/retry", None)],
    ("DELETE", HOOK): [("DELETE", HOOK_0, None)],
    ("GET", "/api/v1/audit"): [
        ("GET", "/api/v1/audit" + query, None) for query in ("", "?what=link.create", "?subject=link:/s5")
    ],
}


def routes() -> set[tuple[str, str]]:
    """Every method of every route that needs a key."""
    found = set()
    for path, handler in ROUTES:
        assert issubclass(handler, Handler)
        if not handler.is_public:
            own = [name for name in METHODS if getattr(handler, name) is not getattr(web.RequestHandler, name)]
            found |= {(name.upper(), path) for name in own}
    return found


async def fill(stores: Stores) -> None:
    def link_of(n: int) -> Link:
        return Link(
            domain="go.example" if n % 100 == 0 else "",
            slug=f"b{n}" if n < 5 else f"s{n}",
            link=n,
            target=f"https://example.com/{n}",
            version=n,
            created=1_700_000_000 + n,
            clicks=n % 50,
            expires=2_000_000_000 + n if n % 10 == 0 else None,
            owner="ann" if n % 50 == 0 else "bob",
            state=LinkState.DISABLED if n % 200 == 0 else LinkState.ACTIVE,
            broken=Broken(n, "it answers 404") if n % 100 == 1 else None,
            tags=["rare"] if n % 100 == 0 else ["often"],
            title="Winter Sale" if n % 100 == 0 else "Spring",
        )

    await stores.database[LINKS].insert_many([to_row(link_of(n)) for n in range(1, MANY)])
    users = [{"email": f"u{n}@example.com", "role": "viewer", "password": b"", "created": n} for n in range(300)]
    await stores.database[USERS].insert_many(
        [{"_id": f"{n + 1:016x}", "folded": u["email"], **u} for n, u in enumerate(users)]
    )
    await stores.database[WEBHOOKS].insert_many([hook_of(n) for n in range(100)])
    await stores.database[JOBS].insert_many([job_of(n) for n in range(MANY)])


def hook_of(n: int) -> dict[str, Any]:
    return {
        "_id": f"{n:016x}",
        "owner": f"o{n}",
        "who": "key:x",
        "url": "https://a.example/",
        "created": n,
        "version": 1,
        "state": "active",
        "secrets": [{"key": b"k", "until": None}],
    }


def job_of(n: int) -> dict[str, Any]:
    begin = datetime(2023, 11, 14, tzinfo=UTC)
    return {
        "_id": delivery(n),
        "kind": "webhook",
        "lane": f"o{n % 100}/{n % 100:016x}",
        "order": n,
        "claim": 1,
        "state": ("dead", "delayed")[n // 100 % 2],
        "attempts": 12,
        "due": begin + timedelta(seconds=n),
        "created": begin,
        "payload": {"webhook": f"{n % 100:016x}", "id": "0" * 24, "type": "link.created"},
    }


async def answer_all(api: Service) -> None:
    for calls in CALLS.values():
        for method, path, body in calls:
            answer = await api.client.request(method, path, json=body, timeout=30)
            assert answer.status_code < 500, (method, path, answer.text)
            assert answer.status_code < 400 or "s1" in str(body) or "0000" in path, (method, path, answer.text)


def test_every_route_has_a_call() -> None:
    assert set(CALLS) == routes()


def faults_of(operation: Any) -> list[str]:
    """What is wrong with how an operation was done."""
    examined = operation.get("docsExamined", 0)
    wanted = max(operation.get("nreturned", 0), operation.get("nMatched", 0), operation.get("nModified", 0))
    faults = ["scans a collection"] if "COLLSCAN" in operation.get("planSummary", "") else []
    if operation.get("hasSortStage"):
        faults.append("sorts in memory")
    if examined > wanted + SPARE:
        faults.append(f"looks at {examined} documents for {wanted}")
    return faults


def test_no_query_scans_sorts_or_looks_at_much_more_than_it_returns(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            for collection, models in INDEXES.items():
                await stores.database[collection].create_indexes(models)
            await fill(stores)
            await stores.database.command("profile", 2)
            try:
                await answer_all(api)
            finally:
                await stores.database.command("profile", 0)
            seen, found = 0, []
            async for operation in stores.database["system.profile"].find({}):
                collection = operation["ns"].partition(".")[2]
                if collection in SMALL or collection.startswith("system."):
                    continue
                seen += 1
                command = operation.get("command", {})
                found += [(collection, fault, str(command)[:300]) for fault in faults_of(operation)]
            assert not found
            assert seen > len(CALLS)
            # The same judgement finds what is wrong where something is.
            await stores.database.command("profile", 2)
            await stores.database[LINKS].find({"title": "Winter Sale"}).sort("notes").to_list()
            await stores.database.command("profile", 0)
            bad = await stores.database["system.profile"].find_one({"command.filter.title": "Winter Sale"})
            assert len(faults_of(bad)) == 3

    with_stores(scenario)
