"""What stands in answers: for whom, since when, and nothing of the request."""

from __future__ import annotations

import asyncio
import json

import h11
import pytest

from tests.front.harness import HOST, TARGET, Front

PEOPLE = b"Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n"
PROGRAMS = b"Accept: application/json\r\n"
ANYBODY = b"Accept: */*\r\n"
MARK = b"ReFlEcTeD"

# Status, and a request without its end that is answered so; the resolver says 404, 410 or 503 of what is unknown.
REFUSALS = {
    400: b"GET /abc7 HTTP/1.1\r\n" + HOST + b"X : y\r\n",
    404: b"GET /nosuch HTTP/1.1\r\n" + HOST,
    405: b"PUT /abc7 HTTP/1.1\r\n" + HOST,
    410: b"GET /gone HTTP/1.1\r\n" + HOST,
    413: b"POST /abc7 HTTP/1.1\r\n" + HOST + b"Content-Length: 9999999\r\n",
    431: b"GET /abc7 HTTP/1.1\r\n" + HOST + b"X: " + b"v" * 17_000 + b"\r\n",
    501: b"POST /abc7 HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n",
    503: b"GET /away HTTP/1.1\r\n" + HOST,
    505: b"GET /abc7 HTTP/2.0\r\n" + HOST,
}


def ask(request: bytes, *, status: int = 404) -> tuple[h11.Response, bytes]:
    """The answer to one request, and its body."""
    front = Front()
    front.resolver.status = status
    out = asyncio.run(front.drive([request])).out
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=request.split(b" ")[0], target="/", headers=[("Host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(out)
    response = client.next_event()
    assert isinstance(response, h11.Response), response
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert client.trailing_data[0] == b""
    return response, body


def refusal(status: int, more: bytes) -> tuple[h11.Response, bytes]:
    start, end = REFUSALS[status].split(b"\r\n", 1)
    found = ask(start + b"\r\n" + more + end + b"\r\n", status=status if status in (410, 503) else 404)
    assert found[0].status_code == status
    return found


@pytest.mark.parametrize("status", REFUSALS)
def test_people_get_a_page_programs_get_a_problem_others_a_line(status: int) -> None:
    response, page = refusal(status, PEOPLE)
    assert (b"content-type", b"text/html; charset=utf-8") in response.headers
    assert page.startswith(b"<!doctype html>")
    response, problem = refusal(status, PROGRAMS)
    assert (b"content-type", b"application/problem+json") in response.headers
    assert json.loads(problem)["status"] == status
    response, line = refusal(status, ANYBODY)
    assert (b"content-type", b"text/plain; charset=utf-8") in response.headers
    assert line.startswith(b"%d " % status)
    assert max(map(len, (page, problem, line))) < 600


@pytest.mark.parametrize("status", REFUSALS)
def test_a_refusal_says_what_its_client_must_know(status: int) -> None:
    headers = dict(refusal(status, ANYBODY)[0].headers)
    assert headers[b"cache-control"] == b"private, no-store"
    assert headers[b"date"] == b"Tue, 14 Nov 2023 22:13:20 GMT"
    assert (b"retry-after" in headers) == (status == 503)
    assert headers.get(b"allow") == (b"GET, HEAD" if status == 405 else None)
    assert (headers.get(b"connection") == b"close") == (status not in (404, 405, 410, 503))


@pytest.mark.parametrize("path", [b"/abc7", b"/%61bc7", b"/nosuch", b"/api/x", b"/", b"/abc7?q=1"])
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_head_is_get_without_a_body_and_without_a_click(path: bytes, version: bytes) -> None:
    rest = b" " + path + b" HTTP/" + version + b"\r\n" + HOST + PEOPLE + b"\r\n"
    got, _ = ask(b"GET" + rest)
    headed, body = ask(b"HEAD" + rest)
    assert body == b""
    assert headed.status_code == got.status_code
    own = (b"x-seen",)  # the test's application says which method it saw
    assert [field for field in headed.headers if field[0] not in own] == [
        field for field in got.headers if field[0] not in own
    ]
    front = Front()
    assert asyncio.run(front.drive([b"HEAD" + rest])).clicks == 0
    assert asyncio.run(front.drive([b"GET" + rest])).clicks == (got.status_code == 302)


@pytest.mark.parametrize("status", REFUSALS)
def test_nothing_of_a_request_is_in_its_refusal(status: int) -> None:
    start, end = REFUSALS[status].split(b"\r\n", 1)
    method, path, version = start.split(b" ")
    request = b"%s %s%s%%0d%%0aX-Y:%%20z?%s=%%3c %s\r\n" % (method, path, MARK, MARK, version)
    request += end + b"User-Agent: " + MARK + b"\r\nAccept: text/html;" + MARK + b"\r\nCookie: " + MARK + b"\r\n\r\n"
    front = Front()
    front.resolver.status = status if status in (410, 503) else 404
    out = asyncio.run(front.drive([request])).out
    assert out.startswith(b"HTTP/1.1 ")
    assert MARK not in out
    assert b"X-Y" not in out


def test_nothing_of_a_request_is_in_a_redirect() -> None:
    request = b"GET /abc7?" + MARK + b"%0d%0aSet-Cookie HTTP/1.1\r\n"
    out = asyncio.run(Front().drive([request + HOST + b"Cookie: " + MARK + b"\r\n\r\n"])).out
    assert out.startswith(b"HTTP/1.1 302 Found\r\nLocation: " + TARGET + b"\r\n")
    assert MARK not in out
    assert b"Set-Cookie" not in out


def test_the_date_is_that_of_the_last_second() -> None:
    front = Front()
    for path in (b"/abc7", b"/nosuch", b"/%61bc7"):
        request = b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n"
        front.gate.tick(1_700_000_000, 0)
        assert b"\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n" in asyncio.run(front.drive([request])).out
        front.gate.tick(1_700_000_001, 1)
        assert b"\r\nDate: Tue, 14 Nov 2023 22:13:21 GMT\r\n" in asyncio.run(front.drive([request])).out


def test_a_redirect_s_empty_body_has_a_length() -> None:
    response, body = ask(b"GET /abc7 HTTP/1.1\r\n" + HOST + b"\r\n")
    assert (b"content-length", b"0") in response.headers
    assert body == b""


def test_a_problem_of_the_api_is_json_whoever_asks() -> None:
    response, body = ask(b"POST /api/x HTTP/1.1\r\n" + HOST + PEOPLE + b"Content-Length: 9999999\r\n\r\n")
    assert (b"content-type", b"application/problem+json") in response.headers
    assert json.loads(body)["status"] == 413
    assert dict(response.headers)[b"x-request-id"].decode() == json.loads(body)["request_id"]


@pytest.mark.parametrize(("offered", "is_kept"), [(b"order-4711", True), (b"a b", False), (b"x" * 129, False)])
def test_a_refusal_carries_the_clients_own_id_if_it_is_harmless(offered: bytes, is_kept: bool) -> None:
    fields = HOST + b"x-request-id: " + offered + b"\r\nContent-Length: 9999999\r\n\r\n"
    response, _ = ask(b"POST /api/x HTTP/1.1\r\n" + fields)
    assert (dict(response.headers)[b"x-request-id"] == offered) == is_kept
