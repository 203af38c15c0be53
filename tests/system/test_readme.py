"""The commands of README's first screen, run as they stand there."""

from __future__ import annotations

import re

import pytest

from tests import fetch
from tests.conftest import wait_for
from tests.system.conftest import ROOT, Tree

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

README = (ROOT / "README.md").read_text()


def test_a_first_link_and_its_statistics(running: Tree) -> None:
    words = re.search(r"^    \$ \.venv/bin/boltlink (shorten .*)$", README, re.MULTILINE)
    assert words is not None
    made = running.command(*words[1].split())
    assert (made.returncode, made.stdout) == (0, f"{running.url}/http\n"), made.stderr
    answer = fetch.get(made.stdout.strip(), headers={"User-Agent": "curl/8.5.0"})
    assert (answer.status_code, answer.headers["Location"]) == (302, "https://www.rfc-editor.org/rfc/rfc9110.html")
    shown = wait_for(lambda: shown_stats(running, "http  1 clicks  "))
    assert re.search(r"^browsers +curl 1$", shown, re.MULTILINE)
    assert "█" in shown


def shown_stats(tree: Tree, first: str) -> str:
    """What `boltlink stats http` prints, once it begins as expected."""
    assert "$ .venv/bin/boltlink stats http\n" in README
    done = tree.command("stats", "http")
    assert done.returncode == 0, done.stderr
    return done.stdout if done.stdout.startswith(first) else ""


def test_the_api_call_with_the_kept_key(running: Tree) -> None:
    assert "Authorization: Bearer $(cat var/admin-key)" in README
    answer = fetch.post(
        f"{running.url}/api/v1/links",
        content=b'{"target": "https://example.com/"}',
        headers={"Authorization": f"Bearer {running.key}", "Content-Type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == 201
    assert answer.json()["target"] == "https://example.com/"


def test_other_commands_answer(running: Tree) -> None:
    for words in (["links", "list"], ["keys", "list"], ["journal", "inspect"], ["logs", "web_0"], ["status"]):
        done = running.command(*words)
        assert done.returncode == 0, done.stderr
        assert done.stdout
