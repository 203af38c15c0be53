"""Redirects of a domain on which the case of a slug means nothing, through real processes, sockets and stores."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import httpx
import pytest

from app.links import DomainOptions
from tests.conftest import Engines, wait_for
from tests.front.harness import Front
from tests.front.processes import Web, run_web

HOST_OF_FOLD = {"Host": "FOLD.example:8443"}
FOLD = "/api/v1/domains/fold.example"


@pytest.fixture(scope="module")
def web(engines: Engines) -> Iterator[Web]:
    """Two processes, with a further domain."""
    with run_web(engines, 2, BOLTLINK_BASE_URL="https://sho.example") as web:
        assert web.api.post("/api/v1/domains", json={"name": "fold.example"}).status_code == 201
        yield web


def leads(client: httpx.Client, path: str, host: str = "FOLD.example:8443") -> tuple[int, str | None]:
    answer = client.get(path, headers={"Host": host})
    return answer.status_code, answer.headers.get("Location")


def test_a_link_is_found_in_any_spelling_and_an_old_one_all_the_while(web: Web) -> None:
    web.make("https://example.com/old", slug="Launch", domain="fold.example")
    web.make("https://example.com/default", slug="Launch")
    old = 302, "https://example.com/old"
    for client in web.clients:
        wait_for(lambda client=client: leads(client, "/Launch") == old)  # type: ignore[misc]
        assert leads(client, "/launch") == (404, None)
    turning = threading.Thread(target=lambda: web.api.patch(FOLD, json={"case_insensitive": True}).raise_for_status())
    turning.start()
    asked = 0
    while turning.is_alive():
        for client in web.clients:
            assert leads(client, "/Launch") == old, "while it is turned on"
            asked += 1
    turning.join()
    assert asked > 100
    web.make("https://example.com/new", slug="NEW", domain="fold.example")
    for client in web.clients:
        for path in ("/launch", "/LAUNCH", "/Launch", "/lAUNCH?utm=A"):
            wait_for(lambda client=client, path=path: leads(client, path) == old)  # type: ignore[misc]
        for path in ("/new", "/New", "/%4eew"):
            wait_for(lambda client=client, path=path: leads(client, path)[1] == "https://example.com/new")  # type: ignore[misc]
        assert client.head("/LAUNCH", headers=HOST_OF_FOLD).headers["Location"] == old[1]
        assert leads(client, "/NOWHERE") == (404, None)
        assert leads(client, "/L%C3%84UNCH") == (404, None), "no slug has other letters"
        assert leads(client, "/Launch", "sho.example") == (302, "https://example.com/default")
        assert leads(client, "/launch", "sho.example") == (404, None)


def test_only_a_spelling_with_capitals_leaves_the_fast_lane() -> None:
    front = Front()
    front.gate.hosts.set_domains({"": DomainOptions(case_insensitive=True)})
    front.add_link(b"sale", b"https://example.com/")
    for path, hits in ((b"/SALE", 0), (b"/sale", 1), (b"/SALE", 1), (b"/sale", 2)):
        connection, transport = front.connect()
        connection.data_received(b"GET " + path + b" HTTP/1.1\r\nHost: s.example\r\n\r\n")
        front.turn()
        assert transport.out.startswith(b"HTTP/1.1 302 Found\r\n"), path
        assert front.gate.lane.hits == hits, path
