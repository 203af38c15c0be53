"""The bytes of answers, and which domain a host names."""

from __future__ import annotations

import json

import h11
import pytest

from app.links import PLAIN_OPTIONS
from app.redirect import REDIRECT_CODES, AnswerBook, Hosts

NOW = 1_700_000_000.0


def parse(answer: bytes, method: str = "GET") -> tuple[int, dict[bytes, bytes], bytes]:
    """(status, headers, body) as h11's client reads an answer."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(answer)
    response = client.next_event()
    assert isinstance(response, h11.Response)
    body = b""
    while not isinstance(event := client.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data)
        body += event.data
    assert client.trailing_data[0] == b""
    return response.status_code, dict(response.headers), body


@pytest.mark.parametrize("code", REDIRECT_CODES)
@pytest.mark.parametrize("close", [False, True])
def test_a_redirect_says_where_and_when(code: int, close: bool) -> None:
    status, headers, body = parse(AnswerBook(NOW).redirect(b"https://a/?b", code, close=close))
    assert (status, body) == (code, b"")
    assert headers[b"location"] == b"https://a/?b"
    assert headers[b"cache-control"] == b"private, no-store"
    assert headers[b"date"] == b"Tue, 14 Nov 2023 22:13:20 GMT"
    assert headers.get(b"connection") == (b"close" if close else None)


def test_the_date_is_that_of_the_last_refresh() -> None:
    book = AnswerBook(NOW)
    book.failure(404, b"", is_head=False, close=False)
    book.refresh(NOW + 1)
    for answer in (book.redirect(b"https://a/", 302, close=False), book.failure(404, b"", is_head=False, close=False)):
        assert parse(answer)[1][b"date"] == b"Tue, 14 Nov 2023 22:13:21 GMT"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (b"", b"text/plain; charset=utf-8"),
        (b"Accept: */*\r\n", b"text/plain; charset=utf-8"),
        (b"accept: text/html,*/*;q=0.8\r\n", b"text/html; charset=utf-8"),
        (b"Accept: application/json\r\n", b"application/problem+json"),
    ],
)
@pytest.mark.parametrize("status", [404, 410, 503, 431])
def test_a_failure_suits_who_asks(accept: bytes, kind: bytes, status: int) -> None:
    head = b"GET /x HTTP/1.1\r\nHost: h\r\n" + accept + b"\r\n"
    found, headers, body = parse(AnswerBook(NOW).failure(status, head, is_head=False, close=False))
    assert (found, headers[b"content-type"]) == (status, kind)
    assert headers.get(b"retry-after") == (b"2" if status == 503 else None)
    assert body
    if kind == b"application/problem+json":
        assert json.loads(body)["status"] == status
    answer = AnswerBook(NOW).failure(status, head, is_head=True, close=True)
    assert parse(answer, "HEAD")[1][b"content-length"] == b"%d" % len(body)


def test_hosts_name_domains() -> None:
    hosts = Hosts("Sho.rt", {"go.example": PLAIN_OPTIONS})
    for host in (b"sho.rt", b"SHO.RT:8000", b"sho.rt.", b"other", b"", b"[::1]:80"):
        assert hosts.prefix(host) == b""
    for host in (b"go.example", b"GO.example:443", b"go.example."):
        assert hosts.prefix(host) == b"go.example/"
        assert hosts.prefixes[host] == b"go.example/"
    strict = Hosts("sho.rt", {"go.example": PLAIN_OPTIONS}, is_strict=True)
    assert (strict.prefix(b"other"), strict.prefix(b"sho.rt"), strict.prefix(b"go.example")) == (
        None,
        b"",
        b"go.example/",
    )
    assert b"other" not in strict.prefixes


def test_invented_hosts_fill_no_memory() -> None:
    hosts = Hosts("sho.rt")
    for number in range(5_000):
        hosts.prefix(b"h%d" % number)
    assert len(hosts.prefixes) <= 1_000


def test_until_all_domains_are_known_only_the_default_host_is_answered_for() -> None:
    hosts = Hosts("sho.rt", is_complete=False)
    assert (hosts.prefix(b"sho.rt"), hosts.prefix(b""), hosts.prefix(b"go.example")) == (b"", b"", None)
    hosts.set_domains({"go.example": PLAIN_OPTIONS})
    assert (hosts.prefix(b"go.example"), hosts.prefix(b"other")) == (b"go.example/", b"")


def test_a_domain_that_comes_or_goes_changes_what_was_remembered() -> None:
    hosts = Hosts("sho.rt")
    remembered = hosts.prefixes
    assert hosts.prefix(b"go.example:80") == b""
    hosts.set_domains({"go.example": PLAIN_OPTIONS})
    assert remembered == {}
    assert hosts.prefix(b"go.example:80") == b"go.example/"
    hosts.set_domains({})
    assert hosts.prefix(b"go.example:80") == b""
    assert hosts.prefixes is remembered, "the hot path holds this one"
