"""A link that is made without a title gets that of its page from the tree's own program of jobs."""

from __future__ import annotations

import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests import fetch
from tests.conftest import wait_for
from tests.system.conftest import Tree, make_tree

pytestmark = [pytest.mark.system, pytest.mark.timeout(200)]


class Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>Semantics</title>")

    def log_request(self, *about: object) -> None:
        """Says nothing."""


def test_a_link_is_called_by_its_page() -> None:
    settings = {"BOLTLINK_TITLES": "on", "BOLTLINK_WEBHOOK_NETWORKS": "127.0.0.0/8", "BOLTLINK_WEB_PROCESSES": "1"}
    with HTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for tree in make_tree(**settings):
            tree.up()
            wait_for(partial(has_title, tree, tree.shorten(f"http://127.0.0.1:{server.server_port}/")))
        server.shutdown()


def has_title(tree: Tree, slug: str) -> bool:
    answer = fetch.get(f"{tree.url}/api/v1/links/{slug}", headers={"Authorization": f"Bearer {tree.key}"})
    return bool(answer.json()["title"] == "Semantics")
