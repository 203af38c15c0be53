"""Links with every field, changed, stopped and of other domains, by command."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.api.service import ADMIN_KEY, Service, With, serve
from tests.cli.command import boltlink
from tests.conftest import Stores

TARGET = "https://example.com/"


def environ_of(api: Service) -> dict[str, str]:
    return {"BOLTLINK_URL": str(api.client.base_url).rstrip("/"), "BOLTLINK_API_KEY": ADMIN_KEY}


def test_every_field_is_made_shown_changed_and_taken_away(with_stores: With, tmp_path: Path) -> None:
    rules = [{"when": {"os": ["iOS"]}, "target": "https://apps.example/"}]
    (tmp_path / "rules.json").write_text(json.dumps(rules))

    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            environ = environ_of(api)
            words = ["--slug", "a", "--title", "T", "--notes", "N", "--tag", "x", "--tag", "y", "--code", "307"]
            words += ["--starts", "2030-01-01T00:00:00Z", "--expires", "2031-01-01T01:00:00+01:00"]
            words += ["--max-visits", "5", "--password", "secret", "--forward-query", "--forward-path"]
            words += ["--rules", str(tmp_path / "rules.json")]
            words += ["--variant", "3:https://b.example/?a=1", "--variant", "https://c.example/"]
            made = await boltlink("shorten", TARGET, *words, "--json", environ=environ)
            assert made.status == 0, made.err
            link = json.loads(made.out)
            assert {name: link[name] for name in ("title", "notes", "tags", "code")} == {
                "title": "T",
                "notes": "N",
                "tags": ["x", "y"],
                "code": 307,
            }
            assert (link["starts_at"], link["expires_at"]) == ("2030-01-01T00:00:00Z", "2031-01-01T00:00:00Z")
            assert (link["max_visits"], link["password"], link["forward_query"], link["forward_path"]) == (
                5,
                True,
                True,
                True,
            )
            assert link["rules"] == rules
            assert [variant["weight"] for variant in link["variants"]] == [3, 1]
            words = ["--target", "https://new.example/", "--no-forward-path", "--if-version", str(link["version"])]
            words += [word for name in ("starts", "expires", "password", "tags", "rules") for word in ("--clear", name)]
            changed = await boltlink("links", "edit", "a", *words, "--json", environ=environ)
            assert changed.status == 0, changed.err
            after = json.loads(changed.out)
            assert after == link | {
                "target": "https://new.example/",
                "forward_path": False,
                "starts_at": None,
                "expires_at": None,
                "password": False,
                "tags": [],
                "rules": [],
                "version": after["version"],
            }
            outdated = await boltlink("links", "edit", "a", "--title", "X", "--if-version", "1", environ=environ)
            assert (outdated.status, outdated.err) == (1, f"boltlink: The link is at version {after['version']}.\n")

    with_stores(scenario)


def test_a_link_is_disabled_enabled_and_banned(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await api.make("a")
            for verb, state in (("disable", "disabled"), ("enable", "active"), ("ban", "banned")):
                result = await boltlink("links", verb, "a", environ=environ_of(api))
                assert result.status == 0, result.err
                assert (await api.client.get("/api/v1/links/a")).json()["state"] == state

    with_stores(scenario)


def test_links_of_a_domain_are_reached_by_its_name(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            environ, of = environ_of(api), ["--domain", "go.example"]
            assert (await boltlink("domains", "add", "Go.Example", environ=environ)).out == "go.example added\n"
            made = await boltlink("shorten", TARGET, "--slug", "a", *of, environ=environ)
            assert made.out == "https://go.example/a\n"
            assert "go.example" in (await boltlink("domains", "list", environ=environ)).out
            assert "go.example/a" in (await boltlink("links", "list", *of, environ=environ)).out
            assert TARGET in (await boltlink("links", "show", "a", *of, environ=environ)).out
            assert (await boltlink("links", "edit", "a", "--title", "T", *of, environ=environ)).status == 0
            assert (await boltlink("links", "show", "a", environ=environ)).status == 1, "the default domain has no a"
            refused = await boltlink("domains", "delete", "go.example", "--yes", environ=environ)
            assert (refused.status, refused.err) == (1, "boltlink: go.example still has links: delete them first.\n")
            assert (await boltlink("links", "delete", "a", "--yes", *of, environ=environ)).status == 0
            assert (await boltlink("domains", "delete", "go.example", "--yes", environ=environ)).status == 0

    with_stores(scenario)


def test_options_of_a_domain_are_changed_shown_and_cleared(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            environ, edit = environ_of(api), ("domains", "edit", "go.example")
            await api.client.post("/api/v1/domains", json={"name": "go.example"})
            options = ("--not-found-target", TARGET, "--robots", "disallow", "--slug-length", "9")
            changed = await boltlink(*edit, *options, "--json", environ=environ)
            stored = (await api.client.get("/api/v1/domains/go.example")).json()
            assert json.loads(changed.out) == stored
            assert (stored["not_found_target"], stored["robots"], stored["slug_length"]) == (TARGET, "disallow", 9)
            shown = await boltlink("domains", "show", "go.example", environ=environ)
            assert TARGET in shown.out
            cleared = await boltlink(*edit, "--clear", "not-found-target", "--root-target", TARGET, environ=environ)
            assert cleared.out == "go.example changed\n"
            stored = (await api.client.get("/api/v1/domains/go.example")).json()
            assert (stored["not_found_target"], stored["root_target"], stored["slug_length"]) == (None, TARGET, 9)
            refused = await boltlink(*edit, "--slug-length", "3", "--root-target", "x", environ=environ)
            assert refused.status == 1
            assert "slug_length" in refused.err
            assert "root_target" in refused.err
            assert (await boltlink(*edit, environ=environ)).status == 2

    with_stores(scenario)


def test_many_links_are_changed_deleted_and_one_restored(with_stores: With, tmp_path: Path) -> None:
    changes, old = tmp_path / "changes.jsonl", tmp_path / "old.jsonl"
    heavy = "".join(json.dumps({"slug": f"h{n}", "notes": "x" * 10_000}) + "\n" for n in range(900))  # 9 MB
    changes.write_text('{"slug": "a", "title": "A"}\n\n{"slug": "none", "title": "N"}\n' + heavy)
    old.write_text('{"slug": "a"}\n{"slug": "b"}\n')

    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            environ = environ_of(api)
            for slug in ("a", "b"):
                await api.make(slug)
            changed = await boltlink("links", "change-many", str(changes), environ=environ)
            assert changed.status == 1
            assert changed.err.startswith("row 2: slug There is no such link.\nrow 3: ")
            assert changed.err.endswith(
                "row 902: slug There is no such link.\nboltlink: 901 of 902 rows were refused\n"
            )
            assert (await api.client.get("/api/v1/links/a")).json()["title"] == "A"
            gone = await boltlink("links", "delete-many", str(old), "--yes", environ=environ)
            assert (gone.status, gone.out) == (0, "2 done\n")
            listed = await boltlink("links", "list", "--state", "deleted", "--count", environ=environ)
            assert "2 in all" in listed.out
            back = await boltlink("links", "restore", "a", environ=environ)
            assert back.out.endswith("/a restored\n")
            again = await boltlink("shorten", TARGET, "--find-existing", environ=environ)
            assert again.out.endswith("/a\n")

    with_stores(scenario)


def test_links_are_searched_and_ordered(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            for slug in ("b", "a", "spring-sale"):
                await api.make(slug)
            found = await boltlink("links", "list", "--search", "spring", "--json", environ=environ_of(api))
            assert [link["slug"] for link in json.loads(found.out)["items"]] == ["spring-sale"]
            ordered = await boltlink("links", "list", "--sort", "slug", "--json", environ=environ_of(api))
            assert [link["slug"] for link in json.loads(ordered.out)["items"]] == ["a", "b", "spring-sale"]

    with_stores(scenario)


def test_a_time_from_now_on_is_that_much_later(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            made = await boltlink("shorten", TARGET, "--expires", "7d", "--json", environ=environ_of(api))
            expires = datetime.fromisoformat(json.loads(made.out)["expires_at"])
            assert timedelta(days=6, hours=23) < expires - datetime.now(UTC) <= timedelta(days=7)

    with_stores(scenario)


@pytest.mark.parametrize(
    "words",
    [
        ["shorten", TARGET, "--expires", "soon"],
        ["shorten", TARGET, "--starts", "9999999999w"],
        ["shorten", TARGET, "--code", "200"],
        ["shorten", TARGET, "--max-visits", "0"],
        ["shorten", TARGET, "--rules", "/nowhere.json"],
        ["shorten", TARGET, "--rules", "README.md"],
        ["links", "edit", "a"],
        ["links", "edit", "a", "--clear", "target"],
        ["domains", "add"],
    ],
)
def test_wrong_usage_is_status_2(words: list[str]) -> None:
    result = asyncio.run(
        boltlink(*words, environ={"BOLTLINK_URL": "http://127.0.0.1:9", "BOLTLINK_API_KEY": ADMIN_KEY})
    )
    assert (result.status, result.out) == (2, ""), result.err
