"""The dashboard tells of links whose page is gone: in a real browser, over a real tree."""

from __future__ import annotations

from urllib.parse import quote

from playwright.sync_api import Page, expect
from pymongo import MongoClient

from tests.dashboard.conftest import IN_BROWSER, call, field, turned, use_key
from tests.system.conftest import Tree

pytestmark = IN_BROWSER

HOSTILE = "<img src=x onerror=alert(1)>"


def test_a_link_whose_page_is_gone_is_marked_and_found(page: Page, running: Tree) -> None:
    for slug in ("lost", "well"):
        call(running, "POST", "/links", json={"target": f"https://example.com/{slug}", "slug": slug, "tags": ["gone"]})
    socket = quote(str(running.state / "run" / "mongod.sock"), safe="")
    with MongoClient[dict[str, object]](f"mongodb://{socket}/?directConnection=true") as client:
        broken = {"broken": {"since": 1_800_000_000, "reason": f"it answers 404 {HOSTILE}"}}
        found = client["boltlink"]["links"].update_one(
            {"_id": "/lost"}, {"$set": broken, "$push": {"labels": "?broken"}}
        )
        assert found.modified_count == 1
    use_key(page, running.key)
    field(page, "tag").fill("gone")
    with turned(page):
        page.get_by_role("button", name="Find").click()
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.get_by_text("page gone", exact=True).and_(page.locator("span"))).to_have_count(1)
    with turned(page):
        field(page, "broken").select_option("page gone")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("link", name="lost").click()
    expect(page.get_by_text("gone since 2027-01-15")).to_contain_text(HOSTILE)
