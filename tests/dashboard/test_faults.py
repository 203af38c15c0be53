"""The dashboard where something fails, is late or is not allowed: in a real browser, over a real tree."""

from __future__ import annotations

import re

from playwright.sync_api import Page, Request, Route, expect

from app.webhooks import EVENTS
from tests.dashboard.conftest import IN_BROWSER, PASSWORD, PLAIN, accept, call, field, sign_in, use_key
from tests.system.conftest import Tree

pytestmark = IN_BROWSER


def test_a_webhook_of_no_event_is_none_and_one_with_a_new_secret_can_be_changed(page: Page, running: Tree) -> None:
    accept(page)
    use_key(page, running.key)
    page.get_by_role("link", name="Webhooks").click()
    page.get_by_text("New webhook").click()
    field(page, "url").fill("https://hooks.invalid/none")
    for event in EVENTS:
        field(page, event).uncheck()
    page.get_by_role("button", name="Make").click()
    expect(page.get_by_role("alert").filter(has_text="at least one event")).to_be_visible()
    assert call(running, "GET", "/webhooks")["items"] == []
    field(page, EVENTS[0]).check()
    page.get_by_role("button", name="Make").click()
    page.get_by_role("button", name="New secret").click()
    expect(page.locator("tbody").get_by_role("status").locator("code")).to_have_text(re.compile("^whsec_"))
    page.get_by_role("button", name="Disable").click()
    expect(page.get_by_role("button", name="Enable")).to_be_visible()
    page.get_by_role("button", name="End", exact=True).click()
    expect(page.get_by_text("There is none.")).to_be_visible()


def test_who_asks_a_server_that_is_away_is_told_so_and_not_that_they_are_signed_out(page: Page, running: Tree) -> None:
    expect(field(page, "email")).to_be_visible()
    page.route("**/api/v1/session", lambda route: route.abort())
    page.reload()
    expect(page.get_by_role("alert").filter(has_text="does not answer")).to_be_visible()
    expect(field(page, "email")).to_have_count(0)
    page.unroute("**/api/v1/session")
    page.get_by_role("button", name="Try again").click()
    expect(field(page, "email")).to_be_visible()


def test_statistics_are_of_the_range_that_was_chosen_last(page: Page, running: Tree) -> None:
    use_key(page, running.key)
    page.get_by_role("link", name="Statistics").click()
    held: list[Route] = []
    page.route("**/api/v1/stats?*unit=month*", lambda route: held.append(route))  # noqa: PLW0108  playwright looks at it
    choose = page.get_by_label("Range")
    choose.select_option("12 months")
    choose.select_option("12 weeks")
    chart = page.get_by_role("img", name="Clicks by week")
    expect(chart).to_be_visible()
    with page.expect_response("**/api/v1/stats?*unit=month*"):
        held[0].continue_()
    page.wait_for_function("new Promise((done) => setTimeout(() => done(true)))")  # what the answer sets off
    expect(chart).to_be_visible()


def test_visits_that_cannot_be_followed_are_said_once_and_the_title_names_the_view(page: Page, running: Tree) -> None:
    use_key(page, running.key)
    tried: list[Route] = []

    def refuse(route: Route) -> None:
        tried.append(route)
        route.abort()

    page.route("**/api/v1/live*", refuse)
    page.get_by_role("link", name="Statistics").click()
    expect(page).to_have_title("Statistics – BoltLink")
    said = page.get_by_role("log").get_by_text("does not answer")
    expect(said).to_be_visible()
    while len(tried) < 2:
        page.wait_for_event("requestfailed")
    expect(said).to_have_count(1)


def test_a_key_that_may_not_change_domains_or_see_tags_is_told_so(page: Page, running: Tree) -> None:
    key = call(running, "POST", "/keys", json={"name": "own", "scopes": ["links:write"], "own": True})["key"]
    use_key(page, key)
    page.get_by_role("link", name="Tags").click()
    expect(page.get_by_role("alert").filter(has_text="this key may see some alone")).to_be_visible()
    page.get_by_role("link", name="Domains").click()
    page.get_by_text("New domain").click()
    field(page, "name").fill("go.example")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("alert").filter(has_text="no right")).to_be_visible()


def test_a_key_without_statistics_sees_links_and_their_whole_history(page: Page, running: Tree) -> None:
    call(running, "POST", "/links", json={"target": "https://example.com/", "slug": "told"})
    for number in range(55):
        call(running, "PATCH", "/links/told", json={"title": f"title {number}"})
    key = call(running, "POST", "/keys", json={"name": "narrow", "scopes": ["links:write"]})["key"]
    use_key(page, key)
    page.get_by_role("cell", name="told").get_by_role("link").click()
    expect(page.get_by_role("alert").filter(has_text="stats:read")).to_be_visible()
    page.get_by_text("History").click()
    told = page.locator("details", has_text="History").locator("tbody tr")
    expect(told).to_have_count(50)
    page.get_by_role("button", name="More", exact=True).click()
    expect(told).to_have_count(56)


def test_a_page_without_tls_works_as_well(page: Page, running: Tree) -> None:
    call(running, "POST", "/users", json={"email": "ida@example.com", "role": "editor", "password": PASSWORD})
    page.goto(f"http://{PLAIN}:{running.port}/dashboard")
    assert page.evaluate("window.isSecureContext") is False
    sign_in(page, "ida@example.com")
    sent: list[str] = []
    page.on("request", lambda asked: sent.append(asked.headers.get("idempotency-key", "")) if _makes(asked) else None)
    page.route(
        "**/api/v1/links",
        lambda route: route.abort() if _makes(route.request) and len(sent) == 1 else route.continue_(),
    )
    field(page, "target").fill("https://example.com/plain")
    page.get_by_role("button", name="Shorten").click()
    expect(page.get_by_role("alert").filter(has_text="does not answer")).to_be_visible()
    lists: list[Route] = []
    page.route("**/api/v1/links?*", lambda route: lists.append(route))  # noqa: PLW0108  playwright looks at it
    page.get_by_role("button", name="Shorten").click()
    page.get_by_role("status").get_by_role("button", name="Copy").click()
    expect(page.get_by_text("Copied")).to_be_visible()
    expect(field(page, "target")).to_have_value("")
    field(page, "target").fill("https://example.com/plain")
    page.unroute("**/api/v1/links?*")
    lists[0].continue_()  # what was typed before the list came is still there
    page.get_by_role("button", name="Shorten").click()
    expect(page.locator("tbody tr").filter(has_text="example.com/plain")).to_have_count(2)
    assert len(sent) == 3
    assert len(set(sent)) == 2
    assert sent[0] == sent[1] != ""


def _makes(request: Request) -> bool:
    """Whether a request makes a link."""
    return request.method == "POST" and request.url.endswith("/links")
