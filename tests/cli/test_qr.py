"""`boltlink qr` and `/api/v1/links/{slug}/qr`: the short URL to scan, in the terminal and drawn."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from app.cli.qr import lines_of
from app.qr import QUIET, draw_svg, encode
from tests.api.service import With, serve
from tests.cli.command import boltlink
from tests.cli.test_links import environ_of
from tests.conftest import Stores


def test_the_short_url_is_shown_and_drawn(with_stores: With, tmp_path: Path) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores) as api:
            await api.make("scan")
            short_url = (await api.client.get("/api/v1/links/scan")).json()["short_url"]
            rows = encode(short_url)
            answer = await api.client.get("/api/v1/links/scan/qr")
            assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/svg+xml")
            assert answer.text == draw_svg(short_url)
            known = await api.client.get("/api/v1/links/scan/qr", headers={"If-None-Match": answer.headers["ETag"]})
            assert (known.status_code, known.content) == (304, b"")

            shown = await boltlink("qr", "scan", environ=environ_of(api))
            assert (shown.status, shown.out.splitlines()) == (0, [*lines_of(rows), short_url]), shown.err
            drawn = tmp_path / "scan.svg"
            said = await boltlink("qr", "scan", "--svg", str(drawn), environ=environ_of(api))
            assert (said.status, said.out) == (0, f"{drawn} leads to {short_url}\n")
            assert drawn.read_text() == answer.text
            told = json.loads((await boltlink("qr", "scan", "--json", environ=environ_of(api))).out)
            assert told == {"short_url": short_url, "rows": [[int(is_dark) for is_dark in row] for row in rows]}
            missing = await boltlink("qr", "none", environ=environ_of(api))
            assert (missing.status, missing.err) == (1, "boltlink: There is no such link.\n")

    with_stores(scenario)


def test_two_rows_of_modules_are_a_line() -> None:
    rows = [[True, True, False], [True, False, True], [False, True, False]]
    lines = lines_of(rows)
    assert [line[QUIET:-QUIET] for line in lines] == ["   ", "   ", "█▀▄", " ▀ ", "   ", "   "]


def test_codes_that_are_drawn_at_once_hold_up_nobody(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        base, slug = "https://" + ".".join("abcdefghi" for _ in range(23)) + ".example", "s" * 64
        draw_svg(slug)  # loads what draws
        began_s = time.thread_time()
        whole = draw_svg(f"{base}/{slug}")
        whole_s = time.thread_time() - began_s
        async with serve(stores, None, BOLTLINK_BASE_URL=base) as api:
            await api.make(slug)
            asked = [asyncio.create_task(api.client.get(f"/api/v1/links/{slug}/qr")) for _ in range(8)]
            longest_s = 0.0
            while not all(task.done() for task in asked):
                at_s = time.thread_time()
                await asyncio.sleep(0)
                longest_s = max(longest_s, time.thread_time() - at_s)
            assert {task.result().text for task in asked} == {whole}
            assert longest_s < whole_s  # not even one was drawn on the loop

    with_stores(scenario)
