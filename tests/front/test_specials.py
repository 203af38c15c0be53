"""Links that need a decision, through real processes, sockets and stores."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import redis

from app.stores import redis_socket
from tests.conftest import Engines, wait_for
from tests.front.processes import ADMIN_KEY, Web, run_web
from tests.redirect.requests import CHROME, GOOGLEBOT, IPHONE

HUMAN = {"User-Agent": CHROME}


@pytest.fixture(scope="module")
def web(engines: Engines) -> Iterator[Web]:
    """Two processes, behind a proxy that is trusted: the tests themselves."""
    with run_web(engines, 2) as web:
        yield web


def statuses(web: Web, slug: str, count: int) -> list[int]:
    """What `count` visitors at once are answered with, over both processes."""

    def visit(number: int) -> int:
        with socket.socket(socket.AF_UNIX) as visitor:
            visitor.settimeout(30)
            visitor.connect(str(web.sockets[number % 2]))
            visitor.sendall(f"GET /{slug} HTTP/1.1\r\nHost: h\r\nUser-Agent: {CHROME}\r\n\r\n".encode())
            return int(visitor.recv(4096).split()[1])

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(visit, range(count)))


def test_max_visits_is_exact_over_processes_and_a_lost_redis(web: Web, engines: Engines) -> None:
    slug = web.make(max_visits=60)
    is_over = threading.Event()

    def flush() -> None:
        with redis.Redis(unix_socket_path=str(redis_socket(engines.settings))) as store:
            while not is_over.wait(0.005):
                store.flushall()

    with ThreadPoolExecutor(1) as pool:
        flushing = pool.submit(flush)
        try:
            found = statuses(web, slug, 200)
        finally:
            is_over.set()
        flushing.result()
    # A 503 says that MongoDB's answer came too late; its visit may have been counted.
    assert 60 - found.count(503) <= found.count(302) <= 60
    assert set(found) <= {302, 410, 503}
    assert {client.get(f"/{slug}", headers=HUMAN).status_code for client in web.clients} == {410}
    assert web.api.get(f"/api/v1/links/{slug}").json()["visits"] == 60


def test_bots_and_heads_see_the_target_while_visits_remain_and_spend_none(web: Web) -> None:
    slug = web.make(max_visits=1)
    (client, other) = web.clients
    for _ in range(3):
        assert client.head(f"/{slug}", headers=HUMAN).status_code == 302
        assert other.get(f"/{slug}", headers={"User-Agent": GOOGLEBOT}).status_code == 302
        assert client.get(f"/{slug}", headers={**HUMAN, "Sec-Purpose": "prefetch"}).status_code == 503
    assert client.get(f"/{slug}", headers=HUMAN).status_code == 302
    assert other.head(f"/{slug}", headers=HUMAN).status_code == 410
    assert client.get(f"/{slug}", headers={"User-Agent": GOOGLEBOT}).status_code == 410


def test_without_mongodb_such_links_say_come_again_and_others_go_on(web: Web, engines: Engines) -> None:
    limited, plain = web.make(max_visits=5), web.make()
    (client, _) = web.clients
    assert [client.get(f"/{slug}", headers=HUMAN).status_code for slug in (limited, plain)] == [302, 302]
    with engines.frozen("mongod"):
        answer = client.get(f"/{limited}", headers=HUMAN)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
        assert client.get(f"/{plain}", headers=HUMAN).status_code == 302
    wait_for(lambda: client.get(f"/{limited}", headers=HUMAN).status_code == 302)
    seen = web.api.get(f"/api/v1/links/{limited}").json()["visits"]
    assert 2 <= seen <= 5, "an answer that did not come may have been counted, never the reverse"


def test_a_password_is_asked_for_tried_and_leads_on(web: Web) -> None:
    slug = web.make("https://example.com/secret", password="grün 1", code=307)
    (client, other) = web.clients
    page = client.get(f"/{slug}?a=b")
    assert page.status_code == 200
    assert "<form" in page.text
    assert "example.com" not in page.text + str(page.headers)
    address = {"X-Forwarded-For": "203.0.113.50"}
    right = {"password": "gru\u0308n 1"}
    for _ in range(12):
        answer = other.post(f"/{slug}", data=right, headers=address)
        assert (answer.status_code, answer.headers["Location"]) == (303, "https://example.com/secret")
        assert answer.headers["Cache-Control"] == "private, no-store"
    wrong = [client.post(f"/{slug}", data={"password": "x"}, headers=address).status_code for _ in range(12)]
    assert wrong == [403] * 10 + [429] * 2
    limited = other.post(f"/{slug}", data=right, headers=address)
    assert limited.status_code == 429
    assert 0 < int(limited.headers["Retry-After"]) <= 61
    assert other.post(f"/{slug}", data=right, headers={"X-Forwarded-For": "203.0.113.51"}).status_code == 303
    crossed = other.post(f"/{slug}", data=right, headers={"Sec-Fetch-Site": "cross-site"})
    assert crossed.status_code == 400


def test_a_form_comes_in_any_framing_and_its_connection_goes_on(web: Web) -> None:
    slug = web.make(password="secret")
    (client, _) = web.clients
    for body in (b"password=secret", iter([b"pass", b"word=", b"secret"])):
        head = {"Expect": "100-continue", "Content-Type": "application/x-www-form-urlencoded"}
        assert client.post(f"/{slug}", content=body, headers=head).status_code == 303
        assert client.get(f"/{slug}").status_code == 200
    assert client.post(f"/{slug}", content=b"password=secret&x=" + b"x" * 5_000).status_code == 403


def test_a_form_for_anything_else_is_refused(web: Web) -> None:
    (client, _) = web.clients
    refused = client.post(f"/{web.make()}", data={"password": "x"})
    assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, HEAD")
    assert client.post("/nosuchslug", data={"password": "x"}).status_code == 404
    assert client.post("/a/b/c", data={"password": "x"}).status_code == 404


def test_path_and_query_are_forwarded_as_they_came_and_escaped(web: Web) -> None:
    slug = web.make("https://example.com/docs/?v=1#top", forward_path=True, forward_query=True)
    plain = web.make("https://example.com/docs")
    (client, other) = web.clients

    def location(path: str) -> str | None:
        answer = other.get(path)
        return answer.headers["Location"] if answer.status_code == 302 else None

    assert location(f"/{slug}") == "https://example.com/docs/?v=1#top"
    assert location(f"/{slug}/a/b.html?x=y&z") == "https://example.com/docs/a/b.html?v=1&x=y&z#top"
    assert location(f"/{slug}/%2e%2e/%2E/etc") is None
    assert location(f"/{slug}/a%2Fb%0d%0aX-Evil:1") == "https://example.com/docs/a%2Fb%0d%0aX-Evil:1?v=1#top"
    assert location(f"/{slug}/") == "https://example.com/docs/?v=1#top"
    assert location(f"/{plain}/x") is None
    assert location(f"/{slug}%2Fx") is None
    assert client.get(f"/{slug[0]}%{ord(slug[1]):02x}{slug[2:]}/x").headers["Location"].endswith("/docs/x?v=1#top")


def test_rules_and_variants_lead_each_visitor_their_way(web: Web) -> None:
    slug = web.make(
        rules=[
            {"when": {"os": ["iOS"]}, "target": "https://apps.example/ios"},
            {"when": {"query": {"lang": ["de"]}}, "target": "https://example.com/de"},
        ],
        variants=[{"target": "https://a.example/", "weight": 1}, {"target": "https://b.example/", "weight": 1}],
    )
    (client, other) = web.clients
    assert client.get(f"/{slug}", headers={"User-Agent": IPHONE}).headers["Location"] == "https://apps.example/ios"
    assert client.get(f"/{slug}?lang=de", headers=HUMAN).headers["Location"] == "https://example.com/de"
    seen = set()
    for number in range(20):
        head = {**HUMAN, "X-Forwarded-For": f"203.0.113.{number}"}
        ways = {found.get(f"/{slug}", headers=head).headers["Location"] for found in (client, other, client)}
        assert len(ways) == 1, "the same way on every process"
        seen |= ways
    assert seen == {"https://a.example/", "https://b.example/"}


def test_links_of_a_domain_answer_under_that_host_only(web: Web) -> None:
    (client, other) = web.clients
    assert web.api.post("/api/v1/domains", json={"name": "specials.example"}).status_code == 201
    slug = web.make("https://example.com/of-domain", domain="specials.example")

    def location(found: httpx.Client, host: str) -> str | None:
        answer = found.get(f"/{slug}", headers={"Host": host})
        return answer.headers["Location"] if answer.status_code == 302 else None

    for found in (client, other):
        wait_for(lambda found=found: location(found, "specials.example") is not None)  # type: ignore[misc]
        assert location(found, "SPECIALS.example:8443") == "https://example.com/of-domain"
        assert location(found, "127.0.0.1") is None
        assert location(found, "unknown.example") is None
    assert web.api.delete(f"/api/v1/links/{slug}?domain=specials.example").status_code == 204
    wait_for(lambda: location(other, "specials.example") is None)
    assert web.api.delete("/api/v1/domains/specials.example").status_code == 204
    refused = web.api.post("/api/v1/links", json={"target": "https://sho.example/", "domain": "specials.example"})
    assert refused.status_code == 422


@pytest.mark.parametrize(("key", "status"), [(ADMIN_KEY, b"422"), ("blk_nobody", b"401")])
def test_a_batch_s_long_body_is_read_only_from_who_has_a_key(web: Web, key: str, status: bytes) -> None:
    head = f"POST /api/v1/links/batch HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 4000000\r\n\r\n"
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(30)
        caller.connect(str(web.sockets[0]))
        caller.sendall(head.encode())
        if status == b"401":
            assert caller.recv(4096).split()[1] == status, "before a byte of the body came"
            return
        caller.sendall(b" " * 3_999_998 + b"{}")
        assert caller.recv(4096).split()[1] == status
