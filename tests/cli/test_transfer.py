"""`boltlink import` and `export` against a running API: nothing lost, nothing twice, whatever is cut off."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from app.links import LINKS, Broken
from tests.api.service import ADMIN_KEY, Service, With, serve
from tests.cli.command import boltlink
from tests.cli.test_links import environ_of
from tests.conftest import Stores, wait_until

ROOT = Path(__file__).parents[2]
TOLD = ("owner", "created_at", "version", "clicks", "visits", "short_url", "broken")


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def without_told(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(({k: v for k, v in row.items() if k not in TOLD} for row in rows), key=lambda row: str(row["slug"]))


async def count(stores: Stores) -> int:
    return await stores.database[LINKS].count_documents({"state": {"$ne": "deleted"}})


async def post(api: Service, **body: Any) -> None:
    answer = await api.client.post("/api/v1/links", json={"target": "https://example.com/", **body})
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("name", ["links.jsonl", "links.csv"])
def test_what_is_exported_is_imported_as_it_was(with_stores: With, tmp_path: Path, name: str) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await post(api, slug="plain", tags=["a", "b c"], title='with "quotes", and\na line', code=301)
            rules = [{"when": {"os": ["iOS"]}, "target": "https://example.com/i"}]
            await post(
                api, slug="rules", rules=rules, max_visits=7, expires_at="2090-01-01T00:00:00Z", forward_query=True
            )
            await post(api, slug="-formula", title="=HYPERLINK(1)", notes="'+1", tags=["@a", "'b"])
            await post(api, slug="banned")
            assert (await api.client.patch("/api/v1/links/banned", json={"state": "banned"})).status_code == 200
            link = await api.services.links.get("/plain")
            assert link is not None
            assert await api.services.catalog.change(link, {"broken": Broken(1_800_000_000, "it answers 404")})
            environ = environ_of(api)
            first, again = tmp_path / name, tmp_path / f"again-{name}"
            said = await boltlink("export", str(first), environ=environ)
            assert (said.status, said.out) == (0, "4 links\n"), said.err
            await stores.database[LINKS].delete_many({})
            said = await boltlink("import", str(first), environ=environ)
            assert (said.status, said.out) == (0, "4 rows, 4 made, 0 refused\n"), said.err
            assert (await boltlink("export", str(again), environ=environ)).status == 0
            if name.endswith("csv"):
                both = [list(csv.DictReader(io.StringIO(path.read_text()))) for path in (first, again)]
                cells = [cell for row in both[0] for cell in row.values()]
                assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
            else:
                both = [rows_of(first), rows_of(again)]
            assert without_told(both[0]) == without_told(both[1])
            assert {row["slug"]: row["state"] for row in both[1]}["banned"] == "banned"
            plain = (await api.client.get("/api/v1/links/plain")).json()
            assert ("it answers 404" in first.read_text(), plain["broken"]) == (True, None), "told, and found out anew"
            formula = (await api.client.get("/api/v1/links/-formula")).json()
            assert [formula[field] for field in ("title", "notes", "tags")] == ["=HYPERLINK(1)", "'+1", ["'b", "@a"]]
            assert sorted(os.listdir(tmp_path)) == sorted([first.name, again.name])

    with_stores(scenario)


def test_rows_that_are_refused_stand_in_a_file_and_the_others_are_made(with_stores: With, tmp_path: Path) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await api.make("taken")
            good = [{"target": f"https://example.com/{n}", "slug": f"s{n}"} for n in range(1_200)]
            bad = [{"target": "https://example.com/", "slug": "taken"}, {"target": "ftp://x"}, {"slug": "no-target"}]
            file = write(tmp_path / "in.jsonl", [*good, *bad, {"target": "https://example.com/", "password": True}])
            file.write_text(file.read_text() + "{\n")
            dry = await boltlink("import", str(file), "--dry-run", environ=environ_of(api))
            assert (dry.status, dry.out) == (1, "1205 rows, 0 made, 3 refused\n")
            assert await count(stores) == 1
            said = await boltlink("import", str(file), environ=environ_of(api))
            assert (said.status, said.out) == (1, "1205 rows, 1200 made, 5 refused\n"), said.err
            assert said.err.count("\n") == 1
            assert (tmp_path / "in.jsonl.errors.jsonl").stat().st_mode & 0o777 == 0o600, "a row may hold a password"
            told = {row["row"]: row["errors"][0] for row in rows_of(tmp_path / "in.jsonl.errors.jsonl")}
            assert told[1_201] == {"field": "slug", "message": "is taken"}
            assert told[1_202]["field"] == "target"
            assert set(told) == {1_201, 1_202, 1_203, 1_204, 1_205}
            assert await count(stores) == 1_201
            assert sum(route == "links_batch" or "batch" in route for route, _ in api.requests) == 2

    with_stores(scenario)


def test_a_table_as_spreadsheets_write_it_is_read_and_what_is_no_row_is_told(with_stores: With, tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text(
        f"\ufefftarget,rules\r\nhttps://a.example/,\r\nhttps://b.example/,{'[' * 100_000}\r\n{'x' * 2**20}y,\r\n"
    )

    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            said = await boltlink("import", str(file), environ=environ_of(api))
            assert (said.status, said.out) == (1, "3 rows, 1 made, 2 refused\n"), said.err
            told = [row["errors"][0]["message"] for row in rows_of(tmp_path / "in.csv.errors.jsonl")]
            assert [message[:10] for message in told] == ["is no JSON", "is no CSV:"]

    with_stores(scenario)


def test_an_import_that_is_killed_goes_on_and_makes_nothing_twice(with_stores: With, tmp_path: Path) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            file = write(tmp_path / "in.jsonl", [{"target": f"https://example.com/{n}"} for n in range(5_000)])
            progress = tmp_path / "in.jsonl.progress"
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "app.cli", "import", str(file)),
                env={**os.environ, **environ_of(api)},
                cwd=ROOT,
                stdout=asyncio.subprocess.DEVNULL,
            )
            await wait_until(lambda: progress.exists() and json.loads(progress.read_text())["rows"])
            process.kill()
            await process.wait()
            kept = json.loads(progress.read_text())
            assert 1_000 <= kept["rows"] < 5_000
            # As if it had been killed behind the answer of its last batch, and before that was noted.
            progress.write_text(json.dumps({**kept, "rows": kept["rows"] - 1_000, "made": kept["made"] - 1_000}))
            said = await boltlink("import", str(file), environ=environ_of(api))
            assert (said.status, said.out) == (0, "5000 rows, 5000 made, 0 refused\n"), said.err
            assert "goes on behind row" in said.err
            assert await count(stores) == 5_000
            assert os.listdir(tmp_path) == ["in.jsonl"]

    with_stores(scenario)


def test_a_file_that_was_changed_is_not_gone_on_with(with_stores: With, tmp_path: Path) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            file = write(tmp_path / "in.jsonl", [{"target": "https://example.com/"}])
            kept = {"id": "x", "mark": "another", "rows": 1, "made": 1, "refused": 0, "error_bytes": 0}
            (tmp_path / "in.jsonl.progress").write_text(json.dumps(kept))
            said = await boltlink("import", str(file), environ=environ_of(api))
            assert said.status == 1
            assert "--restart" in said.err
            said = await boltlink("import", str(file), "--restart", "--json", environ=environ_of(api))
            assert (json.loads(said.out)["made"], await count(stores)) == (1, 1)

    with_stores(scenario)


def test_an_export_that_was_cut_off_goes_on(with_stores: With, tmp_path: Path) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            rows = [{"target": f"https://example.com/{n}", "slug": f"s{n:04}"} for n in range(700)]
            assert (await api.client.post("/api/v1/links/batch", json={"links": rows})).status_code == 200
            whole, cut = tmp_path / "whole.csv", tmp_path / "cut.csv"
            assert (await boltlink("export", str(whole), environ=environ_of(api))).status == 0
            page = (await api.client.get("/api/v1/links", params={"sort": "created", "limit": "500"})).json()
            first = "".join(whole.read_text().splitlines(keepends=True)[:501])
            cut.write_text(first + "half a li")
            kept = {"cursor": page["next_cursor"], "links": 500, "bytes": len(first), "wanted": ["csv", {}]}
            (tmp_path / "cut.csv.progress").write_text(json.dumps(kept))
            said = await boltlink("export", str(cut), environ=environ_of(api))
            assert (said.status, said.out) == (0, "700 links\n")
            assert cut.read_text() == whole.read_text()
            refused = await boltlink("export", str(cut), environ=environ_of(api))
            assert (refused.status, refused.err.count("--yes")) == (1, 1)
            piped = await boltlink("export", environ=environ_of(api))
            assert len(piped.out.splitlines()) == 700

    with_stores(scenario)


def test_a_domain_without_case_takes_what_is_imported_in_lower_case(with_stores: With, tmp_path: Path) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            environ, of = environ_of(api), ("--domain", "go.example")
            assert (await boltlink("domains", "add", "go.example", environ=environ)).status == 0
            edit = ("domains", "edit", "go.example", "--case-insensitive", "--json")
            changed = await boltlink(*edit, environ=environ)
            assert json.loads(changed.out)["case_insensitive"] is True, changed.err
            rows = [{"target": "https://example.com/", "domain": "go.example", "slug": slug} for slug in ("One", "TWO")]
            done = await boltlink("import", str(write(tmp_path / "in.jsonl", rows)), environ=environ)
            assert done.status == 0, done.err
            assert (await boltlink("links", "show", "tWo", *of, environ=environ)).status == 0
            out = tmp_path / "out.jsonl"
            assert (await boltlink("export", str(out), environ=environ)).status == 0
            assert sorted(row["slug"] for row in rows_of(out)) == ["one", "two"]

    with_stores(scenario)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "target is missing"),
        (
            b"https://example.com/1,one\nhttps://example.com/2,two\n",
            "https://example.com/1, one is none; --map says what it is",
        ),
        (
            b"keyword,url,target\nabc,https://example.com/,https://example.com/\n",
            "keyword, url is none; --map says what it is",
        ),
        (b"\x00\xff" * 9, "is none; --map says what it is"),
        (b"target,slug,slug\nhttps://example.com/,a,b\n", "slug is there more than once"),
        (b'"' + b"x" * 2**21, "is no CSV"),
    ],
)
def test_a_table_whose_first_line_names_no_columns_is_no_empty_one(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "in.csv"
    file.write_bytes(content)
    environ = {"BOLTLINK_URL": "http://127.0.0.1:1", "BOLTLINK_API_KEY": ADMIN_KEY}
    said = asyncio.run(boltlink("import", str(file), environ=environ))
    assert (said.status, said.out) == (1, "")
    assert said.err.startswith(f"boltlink: {file}: the first line ")
    assert said.err.endswith(f"{reason}\n") or reason == "is no CSV"
    assert len(said.err) < 500
    assert list(tmp_path.iterdir()) == [file], "nothing is left of what never began"


def test_nothing_is_sent_where_it_cannot_be_noted_how_far_it_is(with_stores: With, tmp_path: Path) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            file = write(tmp_path / "in.jsonl", [{"target": "https://example.com/"}])
            (tmp_path / "in.jsonl.progress.new").mkdir()
            said = await boltlink("import", str(file), environ=environ_of(api))
            assert (said.status, said.err) == (1, f"boltlink: {file}.progress.new: Is a directory\n")
            assert await count(stores) == 0

    with_stores(scenario)


def test_a_table_of_another_shortener_is_read_by_what_its_columns_are(with_stores: With, tmp_path: Path) -> None:
    file = tmp_path / "yourls.csv"
    file.write_text('keyword,url,title,ip,clicks\nabc,https://example.com/a,"A, b",192.0.2.1,5\n')
    words = ["import", str(file), "--map", "keyword=slug", "--map", "url=target", "--map", "ip="]

    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            said = await boltlink(*words, environ=environ_of(api))
            assert (said.status, said.out) == (0, "1 rows, 1 made, 0 refused\n"), said.err
            link = (await api.client.get("/api/v1/links/abc")).json()
            assert (link["target"], link["title"], link["clicks"]) == ("https://example.com/a", "A, b", 0)

    with_stores(scenario)
    for wrong in (["--map", "url"], ["--map", "url=goal"], ["--map", "a=slug", "--format", "jsonl"]):
        assert asyncio.run(boltlink("import", str(file), *wrong, environ={})).status == 2
