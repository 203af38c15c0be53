"""The dashboard's files: what names what, and how long a browser keeps them."""

from __future__ import annotations

import re

import pytest

from app.dashboard.assets import FOLDER, MEDIA, Assets
from tests.api.service import With, serve
from tests.conftest import Stores

FOR_GOOD = "public, max-age=31536000, immutable"


def test_every_file_is_named_by_another_and_every_name_is_a_file() -> None:
    texts = {path.name: path.read_text() for path in FOLDER.iterdir()}
    named = set(re.findall(r"/dashboard/\{digest\}/([a-z.]+)", texts["index.html"]))
    for name, text in texts.items():
        if name.endswith(".js"):
            named |= {found.removeprefix("./") for found in re.findall(r'from "([^"]+)"', text)}
    assert named == set(texts) - {"index.html"}
    assert {path.suffix for path in FOLDER.iterdir()} == set(MEDIA)


def test_text_never_becomes_a_page() -> None:
    for path in FOLDER.glob("*.js"):
        found = re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|\.style\b", path.read_text())
        assert found is None, (path.name, found)


@pytest.mark.parametrize(("has_sign_on", "word"), [(True, "on"), (False, "off")])
def test_the_page_tells_of_an_identity_provider(has_sign_on: bool, word: str) -> None:
    assert f'data-sign-on="{word}"'.encode() in Assets(has_sign_on=has_sign_on).page.body


def test_files_are_kept_for_good_and_the_page_is_asked_for_again(with_stores: With) -> None:
    async def scene(stores: Stores) -> None:
        async with serve(stores) as service:
            page = await service.client.get("/dashboard", headers={"Authorization": ""})
            assert (page.status_code, page.headers["Cache-Control"]) == (200, "no-cache")
            policy = page.headers["Content-Security-Policy"]
            assert "unsafe" not in policy
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            known = await service.client.get("/dashboard", headers={"If-None-Match": page.headers["ETag"]})
            assert (known.status_code, known.content) == (304, b"")
            paths = re.findall(r'(?:src|href)="(/dashboard/[^"]+)"', page.text)
            assert len(paths) == 3
            for path in paths:
                answer = await service.client.get(path)
                assert (answer.status_code, answer.headers["Cache-Control"]) == (200, FOR_GOOD), path
                assert answer.headers["Content-Type"] == MEDIA[f".{path.rpartition('.')[2]}"]
            other = await service.client.get("/dashboard/0123456789abcdef/main.js")
            assert (other.status_code, other.headers["Cache-Control"]) == (200, "no-cache")
            for path in ("/dashboard/", "/dashboard/0123456789abcdef/none.js", "/dashboard/0123456789abcdef/..%2f"):
                assert (await service.client.get(path)).status_code == 404, path

    with_stores(scene)
