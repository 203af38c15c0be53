"""A real browser on the dashboard of a real tree, and what tests do in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Locator, Page, expect, sync_playwright

from tests import fetch
from tests.needs import find, needs
from tests.system.conftest import Tree, running

__all__ = [
    "IN_BROWSER",
    "PASSWORD",
    "PLAIN",
    "accept",
    "browser",
    "call",
    "fault_of",
    "field",
    "page",
    "running",
    "sign_in",
    "turned",
    "use_key",
]

CHROMIUM = find("chromium")
IN_BROWSER = [
    pytest.mark.system,
    pytest.mark.timeout(300),
    needs("chromium"),
]

PASSWORD = "correct horse battery"
WAIT_MS = 20_000
PLAIN = "links.intranet.example"  # to a browser an address of this machine is as good as TLS, and this one is not


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-background-networking", f"--host-resolver-rules=MAP {PLAIN} 127.0.0.1"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, running: Tree) -> Iterator[Page]:
    """A page of the dashboard in a browser profile of its own, which must not fail on the way."""
    faults: list[str] = []
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    context.set_default_timeout(WAIT_MS)
    expect.set_options(timeout=WAIT_MS)
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))

    def on_console(said: ConsoleMessage) -> None:  # the browser itself notes each refusal of the API
        if said.type in ("error", "warning") and "Failed to load resource" not in said.text:
            faults.append(said.text)

    page.on("console", on_console)
    page.goto(f"{running.url}/dashboard")
    yield page
    context.close()
    assert faults == []


def call(tree: Tree, method: str, path: str, **fields: Any) -> Any:
    with fetch.Client(headers={"Authorization": f"Bearer {tree.key}"}) as client:
        answer = client.request(method, f"{tree.url}/api/v1{path}", **fields)
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


def use_key(page: Page, key: str) -> None:
    page.get_by_text("Use an API key").click()
    field(page, "key").fill(key)
    page.get_by_role("button", name="Use this key").click()


def sign_in(page: Page, email: str, password: str = PASSWORD) -> None:
    field(page, "email").fill(email)
    field(page, "password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def field(page: Page, name: str) -> Locator:
    """An input by its name."""
    return page.locator(f"main [name='{name}']")


def fault_of(page: Page, name: str) -> Locator:
    """What stands beside an input that cannot be used."""
    return page.locator("label", has=page.locator(f"[name='{name}']")).locator(".bad")


@contextmanager
def turned(page: Page) -> Iterator[None]:
    """Waits until another view is shown; the former one may look the same."""
    page.locator("main").evaluate("view => { view.dataset.former = '' }")
    yield
    expect(page.locator("main[data-former]")).to_have_count(0)


def accept(page: Page) -> list[str]:
    """Says yes to every question; what was asked."""
    asked: list[str] = []

    def on_dialog(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.accept()

    page.on("dialog", on_dialog)
    return asked
