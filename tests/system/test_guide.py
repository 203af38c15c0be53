"""docs/guide.md, run as it stands there; and what the logs of all programs then hold: nothing secret."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest

from tests.conftest import wait_for
from tests.system.conftest import ROOT, Tree

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

GUIDE = (ROOT / "docs" / "guide.md").read_text()
COMMANDS = re.findall(r"^    \$ (.*)\n    (.*)$", GUIDE, re.MULTILINE)
ANY = "…"


def matches(shown: Any, answered: Any) -> bool:
    """Whether an answer has the shape that is shown: all that is shown, and no more unless `…` says so."""
    if shown == ANY:
        return True
    if isinstance(shown, dict) and isinstance(answered, dict):
        named = shown.keys() - {ANY}
        is_whole = ANY in shown or named == answered.keys()
        return is_whole and all(name in answered and matches(shown[name], answered[name]) for name in named)
    if isinstance(shown, list) and isinstance(answered, list):
        first_fits = all(matches(one, other) for one, other in zip(shown, answered, strict=False))
        return first_fits and len(answered) >= len(shown)
    return type(shown) is type(answered) and (shown == answered or isinstance(shown, int))


def test_shapes_are_compared_by_what_is_shown() -> None:
    assert matches({"a": 1, ANY: ANY}, {"a": 2, "b": None})
    assert not matches({"a": 1}, {"a": 2, "b": None})
    assert not matches({"a": 1, ANY: ANY}, {"b": None})
    assert not matches({"a": "x"}, {"a": "y"})
    assert not matches([{"a": 1}], [])


def test_the_guide_does_what_it_shows_and_no_log_holds_a_secret(running: Tree) -> None:
    assert len(COMMANDS) > 15
    environ = {**running.environ, "BOLTLINK_URL": running.url, "BOLTLINK_API_KEY": running.key}
    made = []
    for command, shown in COMMANDS:
        done = subprocess.run(["/bin/sh", "-c", command], env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        answered = done.stdout.strip()
        made += re.findall(r"blk_[A-Za-z0-9_-]+", answered)
        if shown.startswith("{"):
            assert matches(json.loads(shown), json.loads(answered)), f"{command}\n{shown}\n{answered}"
        else:
            assert answered.splitlines()[0] == shown, command
    assert made
    refused = ["-H", "Authorization: Bearer blk_wrong-key", "-H", "Cookie: session=stolen-cookie"]
    subprocess.run(["curl", "-s", *refused, f"{running.url}/api/v1/links"], check=True, capture_output=True)
    logs = wait_for(lambda: "".join(path.read_text() for path in (running.state / "log").glob("*.log")))
    for secret in [running.key, *made, "blk_wrong-key", "open sesame", "stolen-cookie", "password=", "127.0.0.1:"]:
        assert secret not in logs, secret
