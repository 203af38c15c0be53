"""Where visitors of a domain go who find nothing there, through real processes, sockets and stores."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from app.journal import NO_LINK, Outcome, flags_of
from app.links import DomainOptions
from tests.conftest import Engines, wait_for
from tests.front.harness import HOST, Front
from tests.front.processes import Web, run_web

LOST = "https://example.com/lost?a=b"
GO = "/api/v1/domains/go.example"
HOST_OF_GO = {"Host": "GO.example:8443"}


@pytest.fixture(scope="module")
def web(engines: Engines) -> Iterator[Web]:
    """Two processes, with a further domain."""
    with run_web(engines, 2, BOLTLINK_BASE_URL="https://sho.example") as web:
        assert web.api.post("/api/v1/domains", json={"name": "go.example"}).status_code == 201
        yield web


def set_options(web: Web, path: str = GO, **options: Any) -> None:
    answer = web.api.patch(path, json=options)
    assert answer.status_code == 200, answer.text


def found(client: httpx.Client, path: str, **headers: str) -> tuple[int, str | None]:
    answer = client.get(path, headers=HOST_OF_GO | headers)
    return answer.status_code, answer.headers.get("Location")


def test_every_process_leads_who_finds_nothing_where_the_domain_says(web: Web) -> None:
    now_s = time.time()
    past = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_s - 60))
    slugs = {
        name: web.make(domain="go.example", **fields)
        for name, fields in {
            "living": {},
            "ended": {"expires_at": past},
            "disabled": {"state": "disabled"},
            "banned": {"state": "banned"},
        }.items()
    }
    plain = {name: found(web.clients[0], f"/{slug}") for name, slug in slugs.items()}
    living = (302, "https://example.com/")
    assert plain == {"living": living, "ended": (410, None), "disabled": (404, None), "banned": (410, None)}
    set_options(web, not_found_target=LOST, root_target="https://example.com/home")
    for client in web.clients:
        wait_for(lambda client=client: found(client, "/none1") == (302, LOST))  # type: ignore[misc]
        for path in ("/none1", "/none1", "/no.slug", f"/{slugs['living']}/rest", *(f"/{slugs[n]}" for n in plain)):
            wanted = {f"/{slugs['living']}": living, f"/{slugs['banned']}": (410, None)}
            assert found(client, path) == wanted.get(path, (302, LOST)), path
        assert found(client, "/") == (302, "https://example.com/home")
        assert client.head("/none1", headers=HOST_OF_GO).headers["Location"] == LOST
        assert client.post("/none1", headers=HOST_OF_GO, data={"password": "x"}).status_code == 303
        assert client.get("/none1").status_code == 404, "the default domain has no such target"
        assert client.get("/api/none", headers=HOST_OF_GO).status_code == 404
    set_options(web, not_found_target=None, root_target=None)
    for client in web.clients:
        wait_for(lambda client=client: found(client, "/none1") == (404, None))  # type: ignore[misc]
        assert found(client, "/")[0] == 200


def test_the_default_domain_leads_on_too_under_whatever_name(web: Web) -> None:
    path = "/api/v1/domains/sho.example"
    set_options(web, path, not_found_target=LOST)
    for client in web.clients:
        wait_for(lambda client=client: client.get("/none2").status_code == 302)  # type: ignore[misc]
        assert client.get("/none2", headers={"Host": "other.example"}).headers["Location"] == LOST
        assert found(client, "/none2") == (404, None), "a further domain has its own options"
    set_options(web, path, not_found_target=None)


def test_who_is_led_on_is_no_click_and_stays_not_found() -> None:
    front = Front()
    front.gate.hosts.set_domains({"": DomainOptions(not_found_target=LOST)})
    connection, transport = front.connect()
    connection.data_received(b"GET /none HTTP/1.1\r\n" + HOST + b"\r\n")
    front.turn()
    assert transport.out.startswith(b"HTTP/1.1 302 Found\r\nLocation: " + LOST.encode() + b"\r\n")
    assert (front.gate.counts.redirects, front.gate.counts.not_found) == (0, 1)
    assert [record[1:] for record in front.records] == [(NO_LINK, flags_of(Outcome.NOT_FOUND, is_head=False))]
