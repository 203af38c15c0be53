"""The dashboard in a real browser, over a real tree: signing in, links and their visits, tags, domains, keys, users."""

from __future__ import annotations

import re
from datetime import datetime

import pyotp
from playwright.sync_api import Page, expect

from app.webhooks import EVENTS
from tests import fetch
from tests.dashboard.conftest import (
    IN_BROWSER,
    PASSWORD,
    accept,
    call,
    fault_of,
    field,
    sign_in,
    turned,
    use_key,
)
from tests.system.conftest import Tree

pytestmark = IN_BROWSER

HOSTILE = "<img src=x onerror=alert(1)>"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
#: What stands beyond the right edge of a page, but for columns of days, which scroll, and rows' hidden titles.
CUT_OFF = """[...document.querySelectorAll("body, main *:not(svg *, thead, thead *, .newest)")].filter(
    (element) => element.getBoundingClientRect().right > innerWidth).map((element) => element.outerHTML.slice(0, 80))"""


def test_a_link_is_made_visited_and_seen(page: Page, running: Tree) -> None:
    use_key(page, "blk_wrong")
    expect(page.get_by_role("alert").filter(has_text="not valid")).to_be_visible()
    field(page, "key").fill(running.key)
    page.get_by_role("button", name="Use this key").click()
    expect(page.get_by_text("No link yet.")).to_be_visible()

    field(page, "target").fill("ftp://example.com/")
    page.get_by_role("button", name="Shorten").click()
    expect(page.get_by_text("must start with http").first).to_be_visible()
    field(page, "target").fill("https://example.com/start")
    field(page, "slug").fill("seen")
    page.get_by_text("More", exact=True).click()
    field(page, "title").fill(HOSTILE)
    field(page, "tags").fill("news, spring")
    field(page, "expires_at").fill("2031-05-06T07:08:09")
    page.get_by_role("button", name="Shorten").click()
    page.get_by_role("status").get_by_role("button", name="Copy").click()
    assert page.evaluate("navigator.clipboard.readText()") == f"{running.url}/seen"
    made = call(running, "GET", "/links/seen")
    assert (made["title"], made["tags"]) == (HOSTILE, ["news", "spring"])
    ends = page.evaluate("new Date('2031-05-06T07:08:09').getTime()") / 1000
    assert datetime.fromisoformat(made["expires_at"]).timestamp() == ends
    expect(page.get_by_role("cell").get_by_text(HOSTILE)).to_be_visible()

    page.get_by_role("status").get_by_role("link").click()
    expect(page.get_by_text("Waiting for visits")).to_be_visible()
    page.get_by_text("QR code", exact=True).click()
    drawn = page.get_by_role("img", name=f"QR code of {running.url}/seen")
    expect(drawn).to_be_visible()
    assert drawn.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save as SVG").click()
    assert (saved.value.suggested_filename, saved.value.path().read_bytes()[:4]) == ("seen.svg", b"<svg")
    fetch.get(f"{running.url}/seen", headers={"User-Agent": FIREFOX, "Referer": "https://news.example/"})
    expect(page.get_by_role("log")).to_contain_text(re.compile(r"seen\s+Firefox\s+Linux\s+desktop\s+news.example"))
    page.get_by_label("Range").select_option("7 days")
    expect(page.get_by_role("img", name=re.compile("Clicks by hour: 1 in all"))).to_be_visible()
    expect(page.get_by_text("news.example").first).to_be_visible()

    page.get_by_role("link", name="Statistics").click()
    expect(page.get_by_role("img", name=re.compile("Clicks by day: 1 in all"))).to_be_visible()


def test_links_are_found_changed_deleted_and_restored(page: Page, running: Tree) -> None:
    rows = [{"target": f"https://example.com/{n}", "slug": f"many{n:02}", "tags": ["many"]} for n in range(60)]
    call(running, "POST", "/links/batch", json={"links": rows})
    asked = accept(page)
    use_key(page, running.key)
    field(page, "tag").fill("many")
    with turned(page):
        page.get_by_role("button", name="Find").click()
    expect(page.locator("tbody tr")).to_have_count(50)
    page.get_by_role("button", name="More").click()
    expect(page.locator("tbody tr")).to_have_count(60)
    with turned(page):
        field(page, "sort").select_option("-clicks")
    expect(page.locator("tbody tr")).to_have_count(50)
    field(page, "q").fill("many07")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("alert").filter(has_text="cannot be combined")).to_be_visible()
    field(page, "tag").fill("")
    field(page, "sort").select_option("")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("link", name="many07").click()

    page.get_by_role("button", name="Disable").click()
    expect(page.get_by_role("button", name="Enable")).to_be_visible()
    assert running.location("many07") is None
    page.get_by_role("button", name="Enable").click()
    expect(page.get_by_role("button", name="Disable")).to_be_visible()
    page.get_by_text("Change", exact=True).click()
    with page.expect_request(lambda request: request.method == "PATCH") as sent:
        field(page, "target").fill("https://example.com/elsewhere")
        page.get_by_role("button", name="Save").click()
    assert sent.value.post_data_json == {"target": "https://example.com/elsewhere"}
    assert "if-match" in sent.value.headers
    expect(page.get_by_role("link", name="https://example.com/elsewhere")).to_be_visible()
    page.get_by_text("History").click()
    expect(page.get_by_role("cell", name="link.update")).to_have_count(3)

    call(running, "PATCH", "/links/many07", json={"title": "by another"})
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("alert").filter(has_text="version")).to_be_visible()
    page.reload()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Links")).to_be_visible()
    assert asked == [f"Delete {running.url}/many07? It can be restored for a while."] * 2
    field(page, "state").select_option("deleted")
    page.get_by_role("button", name="Restore").click()
    expect(page.get_by_role("heading", name="many07")).to_be_visible()
    assert running.location("many07") == "https://example.com/elsewhere"


def test_people_have_what_their_role_gives(page: Page, running: Tree) -> None:
    asked = accept(page)
    use_key(page, running.key)
    page.get_by_role("link", name="Users").click()
    page.get_by_text("New user").click()
    field(page, "email").fill("vera@example.com")
    field(page, "role").select_option("viewer")
    field(page, "password").fill("short")
    page.get_by_role("button", name="Make").click()
    expect(page.get_by_text("must be 10 to 1000").first).to_be_visible()
    field(page, "password").fill(PASSWORD)
    page.get_by_role("button", name="Make").click()
    expect(page.get_by_role("cell", name="vera@example.com")).to_be_visible()
    page.get_by_role("button", name="Sign out").first.click()

    sign_in(page, "vera@example.com", "wrong horse battery")
    expect(page.get_by_role("alert").filter(has_text="not right")).to_be_visible()
    sign_in(page, "vera@example.com")
    expect(page.get_by_role("heading", name="Links")).to_be_visible()
    expect(page.get_by_role("button", name="Shorten")).to_have_count(0)
    expect(page.get_by_role("link", name="API keys")).to_have_count(0)
    call(running, "POST", "/links", json={"target": "https://example.com/", "tags": ["role"]})
    for view, shown, makes in (("Tags", "role", "Rename"), ("Domains", "127.0.0.1", "New domain")):
        page.get_by_role("link", name=view).click()
        expect(page.get_by_role("cell", name=shown)).to_be_visible()
        expect(page.get_by_text(makes)).to_have_count(0)
    page.get_by_role("link", name="127.0.0.1").click()
    expect(page.get_by_role("definition").first).to_be_visible()
    expect(page.get_by_text("Change", exact=True)).to_have_count(0)
    page.goto(f"{running.url}/dashboard#/keys")
    expect(page.get_by_role("alert").filter(has_text="no right")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("E-mail")).to_be_visible()
    assert page.context.cookies() == []

    user = call(running, "GET", "/users?email=vera@example.com")["items"][0]
    sign_in(page, "vera@example.com")
    expect(page.get_by_role("heading")).to_be_visible()
    call(running, "PATCH", f"/users/{user['id']}", json={"disabled": True})
    page.goto(f"{running.url}/dashboard#/overview")
    expect(page.get_by_label("E-mail")).to_be_visible()
    assert asked == []


def test_a_second_factor_is_set_up_and_asked_for(page: Page, running: Tree) -> None:
    call(running, "POST", "/users", json={"email": "ed@example.com", "role": "editor", "password": PASSWORD})
    sign_in(page, "ed@example.com")
    page.get_by_role("link", name="Account").click()
    field(page, "password").fill(PASSWORD)
    page.get_by_role("button", name="Set up").click()
    secret = page.locator("main code").inner_text()
    field(page, "code").fill(pyotp.TOTP(secret).now())
    page.get_by_role("button", name="Confirm").click()
    codes = page.locator("pre").inner_text().split()
    assert len(codes) == 10
    page.get_by_role("button", name="Sign out").click()

    sign_in(page, "ed@example.com")
    field(page, "code").fill("000000")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert").filter(has_text="not right")).to_be_visible()
    field(page, "code").fill(codes[0])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Shorten")).to_be_visible()


def test_keys_are_made_shown_once_and_revoked(page: Page, running: Tree) -> None:
    asked = accept(page)
    use_key(page, running.key)
    page.get_by_role("link", name="API keys").click()
    page.get_by_text("New key").click()
    field(page, "name").fill("ci")
    field(page, "tag").fill("ci")
    page.get_by_role("button", name="Make").click()
    key = page.get_by_role("status").locator("code").inner_text()
    answer = fetch.post(
        f"{running.url}/api/v1/links",
        json={"target": "https://example.com/ci", "tags": ["ci"]},
        headers={"Authorization": f"Bearer {key}"},
    )
    assert answer.status_code == 201
    expect(page.get_by_role("cell", name="links:write stats:read; tag ci")).to_be_visible()
    page.get_by_role("row", name="ci blk").get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("cell", name="revoked")).to_be_visible()
    assert len(asked) == 1
    page.reload()
    expect(page.get_by_role("cell", name="revoked")).to_be_visible()  # the tab still holds its key
    expect(page.get_by_text(key)).to_have_count(0)


def test_webhooks_are_made_tried_and_ended(page: Page, running: Tree) -> None:
    asked = accept(page)
    use_key(page, running.key)
    page.get_by_role("link", name="Webhooks").click()
    page.get_by_text("New webhook").click()
    field(page, "url").fill("https://10.0.0.1/hook")
    page.get_by_role("button", name="Make").click()
    expect(page.get_by_role("alert").filter(has_text="url")).to_be_visible()
    field(page, "url").fill("https://hooks.invalid/boltlink")
    field(page, "link.banned").uncheck()
    page.get_by_role("button", name="Make").click()
    expect(page.get_by_role("status").locator("code")).to_have_text(re.compile("^whsec_"))
    made = call(running, "GET", "/webhooks")["items"]
    assert [len(webhook["events"]) for webhook in made] == [len(EVENTS) - 1]
    page.get_by_role("button", name="Test").click()
    page.get_by_role("button", name="Deliveries").click()
    expect(page.get_by_role("cell", name="webhook.test", exact=True)).to_be_visible()
    page.get_by_role("button", name="Disable").click()
    expect(page.get_by_role("button", name="Enable")).to_be_visible()
    page.get_by_role("button", name="End", exact=True).click()
    expect(page.get_by_text("There is none.")).to_be_visible()
    assert asked == ["End the webhook to https://hooks.invalid/boltlink?"]
    assert call(running, "GET", "/webhooks")["items"] == []


def test_domains_are_added_changed_and_removed(page: Page, running: Tree) -> None:
    use_key(page, running.key)
    page.get_by_role("link", name="Domains").click()
    expect(page.get_by_role("row", name="127.0.0.1 the default one")).to_be_visible()
    page.get_by_text("New domain").click()
    field(page, "name").fill("127.0.0.1")
    page.get_by_role("button", name="Add").click()
    expect(fault_of(page, "name")).to_have_text("must be a name, not an address")
    field(page, "name").fill("go.example")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("heading", name="go.example")).to_be_visible()

    page.get_by_text("Change", exact=True).click()
    field(page, "root_target").fill("ftp://example.com/")
    page.get_by_role("button", name="Save").click()
    expect(fault_of(page, "root_target")).to_contain_text("must start with http")
    field(page, "root_target").fill("https://example.com/root")
    with turned(page):
        page.get_by_role("button", name="Save").click()
    page.get_by_role("link", name="Domains").click()
    row = page.get_by_role("row", name="go.example")
    expect(row).to_contain_text("/ → https://example.com/root")

    row.get_by_role("link").click()
    page.get_by_text("Change", exact=True).click()
    page.once("dialog", lambda dialog: dialog.dismiss())
    field(page, "case_insensitive").check()
    page.get_by_role("button", name="Save").click()
    field(page, "case_insensitive").uncheck()
    field(page, "root_target").fill("")
    field(page, "slug_length").fill("3")
    page.get_by_role("button", name="Save").click()
    expect(fault_of(page, "slug_length")).to_contain_text("5")
    field(page, "slug_length").fill("9")
    with page.expect_request(lambda request: request.method == "PATCH") as sent, turned(page):
        page.get_by_role("button", name="Save").click()
    assert sent.value.post_data_json == {"root_target": None, "slug_length": 9}
    expect(page.get_by_role("definition").filter(has_text="9 of")).to_be_visible()
    assert call(running, "GET", "/domains/go.example")["case_insensitive"] is False

    asked = accept(page)
    for place in ({}, {"domain": "go.example"}):
        call(running, "POST", "/links", json={"target": "https://example.com/", "slug": "theirs", **place})
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("alert").filter(has_text="still has links")).to_be_visible()
    page.get_by_role("link", name="all of this domain").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.get_by_role("link", name="go.example/theirs")).to_be_visible()
    call(running, "DELETE", "/links/theirs?domain=go.example")
    page.go_back()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("heading", name="Domains")).to_be_visible()
    expect(row).to_have_count(0)
    assert [question.partition("? ")[0] for question in asked] == ["Remove go.example"] * 2


def test_tags_are_counted_followed_renamed_merged_and_taken_away(page: Page, running: Tree) -> None:
    tags = (["old"], ["old"], ["old", "other"])
    rows = [{"target": "https://example.com/", "slug": f"t{n}", "tags": given} for n, given in enumerate(tags)]
    call(running, "POST", "/links/batch", json={"links": rows})
    asked = accept(page)
    use_key(page, running.key)
    page.get_by_role("link", name="Tags").click()
    page.get_by_role("row", name="old 3").get_by_role("link").click()
    expect(page.locator("tbody tr")).to_have_count(3)
    expect(field(page, "tag")).to_have_value("old")
    page.go_back()

    page.get_by_role("row", name="old 3").get_by_role("button", name="Rename").click()
    page.keyboard.type("fresh/er")  # over the old name, which is selected
    page.keyboard.press("Enter")
    page.get_by_role("row", name="fresh/er 3").get_by_role("button", name="Rename").click()
    page.keyboard.type("o" * 65)
    assert field(page, "name").input_value() == "o" * 64
    field(page, "name").fill("")
    page.keyboard.press("Enter")
    expect(fault_of(page, "name")).to_contain_text("1")
    assert asked == []
    page.keyboard.type("other")
    page.keyboard.press("Enter")
    merged = page.get_by_role("row", name="other 3")
    expect(merged).to_be_visible()
    assert len(asked) == 1
    assert "Make fresh/er and other one?" in asked[0]
    merged.get_by_role("button", name="Remove").click()
    expect(merged).to_have_count(0)
    assert asked[1:] == ["Take the tag other from all its links? The links stay."]
    assert call(running, "GET", "/links/t2")["tags"] == []


def test_a_telephone_shows_all_of_every_view(page: Page, running: Tree) -> None:
    link = {"target": f"https://example.com/{'long/' * 60}", "slug": "p" * 64, "title": "T " * 90, "notes": "one\ntwo"}
    call(running, "POST", "/links", json=link | {"tags": ["g" * 64]})
    name = f"{'d' * 60}.example"
    call(running, "POST", "/domains", json={"name": name})
    call(running, "PATCH", f"/domains/{name}", json={"root_target": link["target"]})
    call(running, "POST", "/users", json={"email": "phone@example.com", "role": "viewer", "password": PASSWORD})
    page.set_viewport_size({"width": 360, "height": 700})
    use_key(page, running.key)
    for view in ("Links", "Tags", "Domains", "Statistics", "Webhooks", "API keys", "Users"):
        page.get_by_role("link", name=view).click()
        expect(page.get_by_role("link", name=view)).to_have_attribute("aria-current", "page")
        assert page.evaluate(CUT_OFF) == [], view
    hook = call(running, "POST", "/webhooks", json={"url": "https://hooks.invalid/phone"})
    call(running, "POST", f"/webhooks/{hook['id']}/test")
    page.get_by_role("link", name="Webhooks").click()
    page.get_by_role("button", name="Deliveries").click()
    expect(page.get_by_text("webhook.test")).to_be_visible()
    assert page.evaluate(CUT_OFF) == []
    call(running, "DELETE", f"/webhooks/{hook['id']}")
    page.get_by_role("link", name="Domains").click()
    page.get_by_role("link", name=name).click()
    page.get_by_text("Change", exact=True).click()
    assert page.evaluate(CUT_OFF) == []
    page.get_by_role("link", name="Users").click()
    expect(page.get_by_text("phone@example.com")).to_be_visible()  # until then it is the former view
    assert page.get_by_role("combobox").last.evaluate("chosen => chosen.clientWidth") > 100
    page.get_by_role("link", name="Links").click()
    page.get_by_role("link", name=link["slug"], exact=True).click()
    expect(page.get_by_text("one two")).to_have_css("white-space-collapse", "preserve-breaks")
    expect(page.get_by_role("link", name="Links")).to_have_attribute("aria-current", "page")
    assert page.evaluate(CUT_OFF) == []
    newest = page.locator(".columns rect.touch").last.evaluate("column => column.getBoundingClientRect().right")
    assert 300 < newest < 361, "the newest day is seen first"


def test_pages_for_visitors_have_the_colours_that_they_chose(page: Page, running: Tree) -> None:
    call(running, "POST", "/links", json={"target": "https://example.com/", "slug": "locked", "password": PASSWORD})
    page.emulate_media(color_scheme="dark")
    for path in ("/", "/nothing-here", "/locked"):
        page.goto(f"{running.url}{path}")
        assert page.evaluate("getComputedStyle(document.body).fontFamily") == "system-ui, sans-serif"
        # What is written in the colour of the canvas' text is light where the canvas is dark.
        assert page.locator("h1").evaluate("title => getComputedStyle(title).color") == "rgb(255, 255, 255)"
