"""A link whose page goes away is broken, and mended when it is back, by the tree's own program of jobs."""

from __future__ import annotations

import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest

from app.checks.judging import GONE_LOOKS
from tests import fetch
from tests.conftest import wait_for
from tests.system.conftest import Tree, make_tree

pytestmark = [pytest.mark.system, pytest.mark.timeout(200)]


class Pages(BaseHTTPRequestHandler):
    status = 404
    agents: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.agents.append(self.headers["User-Agent"])
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_request(self, *about: object) -> None:
        """Says nothing."""


def call(tree: Tree, method: str, path: str) -> Any:
    headers = {"Authorization": f"Bearer {tree.key}"}
    with fetch.Client(headers=headers) as client:
        answer = client.request(method, f"{tree.url}/api/v1{path}")
    assert answer.status_code < 300, answer.text
    return answer.json()


def is_looked_at(tree: Tree, state: str, looks: int) -> bool:
    """Whether so many looks were had, and the job has come to this."""
    return len(Pages.agents) == looks and len(call(tree, "GET", f"/jobs?state={state}")["items"]) == 1


def look_again(tree: Tree, state: str) -> None:
    """What waits for minutes, or for the next round, is done now."""
    (job,) = call(tree, "GET", f"/jobs?state={state}")["items"]
    assert (job["kind"], job["lane"]) == ("check", "127.0.0.1/check")
    call(tree, "POST", f"/jobs/{job['id']}/retry")


def test_a_link_is_broken_and_mended() -> None:
    settings = {"BOLTLINK_CHECKS": "on", "BOLTLINK_WEBHOOK_NETWORKS": "127.0.0.0/8", "BOLTLINK_WEB_PROCESSES": "1"}
    with HTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for tree in make_tree(**settings):
            tree.up()
            slug = tree.shorten(f"http://127.0.0.1:{server.server_port}/")
            for looks in range(1, GONE_LOOKS):
                wait_for(partial(is_looked_at, tree, "delayed", looks))
                assert call(tree, "GET", f"/links/{slug}")["broken"] is None
                look_again(tree, "delayed")
            wait_for(partial(is_looked_at, tree, "done", GONE_LOOKS))
            assert call(tree, "GET", f"/links/{slug}")["broken"]["reason"] == "it answers 404"
            assert [link["slug"] for link in call(tree, "GET", "/links?broken=true")["items"]] == [slug]
            Pages.status = 200
            look_again(tree, "done")
            wait_for(partial(is_looked_at, tree, "done", GONE_LOOKS + 1))
            assert call(tree, "GET", f"/links/{slug}")["broken"] is None
            assert set(Pages.agents) == {"BoltLink"}
        server.shutdown()
