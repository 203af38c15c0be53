"""`boltlink shorten`, `links` and `keys` against a running API."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from app.links import Broken
from tests.api.service import ADMIN_KEY, PUBLIC_URL, Service, With, serve
from tests.cli.command import boltlink
from tests.conftest import Stores

TARGET = "https://example.com/[/a]?x=[bold]"


def environ_of(api: Service) -> dict[str, str]:
    return {"BOLTLINK_URL": str(api.client.base_url).rstrip("/"), "BOLTLINK_API_KEY": ADMIN_KEY}


def test_nothing_that_somebody_wrote_is_a_command_to_the_terminal(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            text = "a\x1b]0;b\x07\x9b31m\u202ec"
            wish = {"target": TARGET, "slug": "s", "title": text, "notes": text, "tags": [text]}
            assert (await api.client.post("/api/v1/links", json=wish)).status_code == 201
            user = {"email": "\x9b31m\u202e@example.com", "role": "viewer", "password": "correct horse"}
            assert (await api.client.post("/api/v1/users", json=user)).status_code == 201
            for command in ("links list", "links show s", "links history s", "tags list", "users list"):
                shown = await boltlink(*command.split(), environ=environ_of(api))
                assert shown.status == 0, shown.err
                assert not set("\x1b\x07\x9b\u202e") & set(shown.out), command
            told = await boltlink("links", "show", "s", "--json", environ=environ_of(api))
            assert json.loads(told.out)["title"] == text

    with_stores(scenario)


def test_shorten_prints_the_short_url_and_links_show_it(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            environ = environ_of(api)
            made = await boltlink("shorten", TARGET, "--slug", "mine", "--tag", "a", environ=environ)
            assert (made.status, made.out, made.err) == (0, f"{PUBLIC_URL}/mine\n", "")
            other = await boltlink("shorten", TARGET, "--json", environ=environ)
            assert json.loads(other.out)["target"] == TARGET
            listed = await boltlink("links", "list", "--tag", "a", environ=environ)
            assert TARGET in listed.out
            assert len(listed.out.splitlines()) == 2
            shown = await boltlink("links", "show", "mine", environ=environ)
            assert TARGET in shown.out
            assert (await boltlink("links", "delete", "mine", "--yes", environ=environ)).status == 0
            gone = await boltlink("links", "show", "mine", environ=environ)
            assert (gone.status, gone.err) == (1, "boltlink: There is no such link.\n")

    with_stores(scenario)


def test_a_terminal_of_another_encoding_gets_what_it_can_show_and_exports_are_utf_8(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            environ = environ_of(api) | {"PYTHONIOENCODING": "latin-1"}
            wish = {"target": TARGET, "slug": "s", "tags": ["日本"]}
            assert (await api.client.post("/api/v1/links", json=wish)).status_code == 201
            shown = await boltlink("tags", "list", environ=environ)
            assert (shown.status, shown.err) == (0, "")
            assert "??" in shown.out
            exported = await boltlink("export", environ=environ)
            assert json.loads(exported.out)["tags"] == ["日本"]

    with_stores(scenario)


def test_history_says_who_changed_what(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            environ = environ_of(api)
            await api.make("mine")
            assert (await boltlink("links", "edit", "mine", "--title", "New", environ=environ)).status == 0
            shown = (await boltlink("links", "history", "mine", environ=environ)).out.splitlines()
            assert ["link.update" in shown[1], "link.create" in shown[2]] == [True, True]
            assert 'title: "New"' in shown[1]
            first = await boltlink("links", "history", "mine", "--limit", "1", environ=environ)
            cursor = first.out.split("--cursor ")[1].strip()
            rest = await boltlink("links", "history", "mine", "--cursor", cursor, "--json", environ=environ)
            assert [entry["what"] for entry in json.loads(rest.out)["items"]] == ["link.create"]

    with_stores(scenario)


def test_links_whose_page_is_gone_are_marked_and_listed_alone(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            environ = environ_of(api)
            for slug in ("well", "lost"):
                await api.make(slug)
            link = await api.services.links.get("/lost")
            assert link is not None
            assert await api.services.catalog.change(link, {"broken": Broken(1_800_000_000, "it answers 404")})
            listed = (await boltlink("links", "list", "--broken", environ=environ)).out.splitlines()
            assert ["slug" in listed[0], "lost" in listed[1], "active (page gone)" in listed[1]] == [True] * 3
            assert len(listed) == 2
            shown = (await boltlink("links", "show", "lost", environ=environ)).out
            assert '{"since": "2027-01-15T08:00:00Z", "reason": "it answers 404"}' in shown
            for kind in ("jsonl", "csv"):
                exported = await boltlink("export", "--broken", "--format", kind, environ=environ)
                assert exported.status == 0, exported.err
                assert exported.out.count("it answers 404") == 1
                assert "well" not in exported.out

    with_stores(scenario)


def test_pages_of_links_go_on_with_the_cursor(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            assert (await api.client.post("/api/v1/domains", json={"name": "go.example.com"})).status_code == 201
            there = {"target": TARGET, "slug": "there", "domain": "go.example.com"}
            assert (await api.client.post("/api/v1/links", json=there)).status_code == 201
            for slug in ("a", "b", "c"):
                await api.make(slug)
            words = ("links", "list", "--limit", "2", "--domain", "")  # the default one
            first = await boltlink(*words, environ=environ_of(api))
            cursor = first.out.split("more: the same with --cursor ")[1].strip()
            rest = await boltlink(*words, "--cursor", cursor, "--json", environ=environ_of(api))
            assert [link["slug"] for link in json.loads(rest.out)["items"]] == ["a"]

    with_stores(scenario)


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["shorten", "ftp://example.com/"], 1, "boltlink: target must start with http:// or https://\n"),
        (["shorten", "https://example.com/", "--slug", "API"], 1, "boltlink: slug 'API' is reserved\n"),
        (["shorten", "https://example.com/", "--slug", "taken"], 1, "boltlink: slug is taken\n"),
        (["links", "show", "no/such?link"], 1, "boltlink: There is nothing here.\n"),
        (
            ["links", "list", "--created-from", "7d", "--sort", "slug"],
            1,
            "boltlink: created_from cannot be combined with sort=slug\n",
        ),
        (["keys", "revoke", "--yes", "0" * 64], 1, "boltlink: There is no such key.\n"),
    ],
)
def test_refusal_is_one_clear_line(with_stores: With, arguments: list[str], status: int, line: str) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await api.make("taken")
            result = await boltlink(*arguments, environ=environ_of(api))
            assert (result.status, result.out, result.err) == (status, "", line)

    with_stores(scenario)


@pytest.mark.parametrize("arguments", [["shorten"], ["links", "list", "--limit", "0"], ["links", "frobnicate"], ["x"]])
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    result = asyncio.run(boltlink(*arguments, environ={}))
    assert (result.status, result.out) == (2, "")


def test_key_made_by_command_works_until_it_is_revoked(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            environ = environ_of(api)
            made = await boltlink("keys", "create", "laptop", "--json", environ=environ)
            key = json.loads(made.out)
            as_laptop = {**environ, "BOLTLINK_API_KEY": key["key"]}
            assert (await boltlink("links", "list", environ=as_laptop)).status == 0
            listed = await boltlink("keys", "list", environ=environ)
            assert "laptop" in listed.out
            assert key["key"] not in listed.out
            assert (await boltlink("keys", "revoke", key["id"], "-y", environ=environ)).status == 0
            refused = await boltlink("links", "list", environ=as_laptop)
            assert (refused.status, refused.err) == (1, "boltlink: This API key is not valid.\n")

    with_stores(scenario)


def test_local_key_is_read_from_the_state_folder_and_goes_nowhere_else(with_stores: With, tmp_path: Path) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            port = str(api.client.base_url.port)
            local = {"BOLTLINK_STATE_DIR": str(tmp_path), "BOLTLINK_PORT": port, "http_proxy": "http://127.0.0.1:1"}
            missing = await boltlink("links", "list", environ=local)
            assert missing.status == 1
            assert missing.err.startswith(f"boltlink: no API key: boltlink up makes {tmp_path}/admin-key, or ")
            (tmp_path / "admin-key").write_text(ADMIN_KEY + "\n")
            assert (await boltlink("links", "list", environ=local)).status == 0
            remote = {"BOLTLINK_STATE_DIR": str(tmp_path), "BOLTLINK_URL": f"http://127.0.0.1:{port}"}
            kept = await boltlink("links", "list", environ=remote)
            assert (kept.status, kept.err.split(":")[1].strip()) == (1, "BOLTLINK_API_KEY")

    with_stores(scenario)


def test_api_that_is_not_up_is_one_clear_line() -> None:
    environ = {"BOLTLINK_URL": "http://127.0.0.1:1", "BOLTLINK_API_KEY": ADMIN_KEY}
    result = asyncio.run(boltlink("links", "list", environ=environ))
    assert result.status == 1
    assert "is it up?" in result.err
    assert len(result.err.splitlines()) == 1
