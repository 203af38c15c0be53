"""Compares what the front did with what the oracle demands; raises AssertionError with the difference."""

from __future__ import annotations

import re

import h11

from tests.front.harness import TARGET, Outcome
from tests.front.oracle import Answer, Verdict

__all__ = ["compare"]

#: All that stands in the front's answers: nothing of a request can be there.
_FIELDS = {
    name: re.compile(pattern).fullmatch
    for name, pattern in {
        b"allow": rb"GET, HEAD",
        b"cache-control": rb"private, no-store",
        b"connection": rb"close",
        b"content-length": rb"[0-9]+",
        b"content-type": rb"application/problem\+json|text/(html|plain); charset=utf-8",
        b"date": rb"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} 20[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
        b"location": re.escape(TARGET),
        b"retry-after": rb"[0-9]+",
        b"x-content-type-options": rb"nosniff",
        b"x-request-id": rb"[A-Za-z0-9._:+/=-]{1,128}",
    }.items()
}


def compare(outcome: Outcome, verdict: Verdict) -> None:
    """The same answers in the same order, the same end, the same clicks; and every answer is a proper one."""
    answers = _read(outcome.out, verdict)
    shown = [answer.status for answer in answers]
    assert shown == [answer.status for answer in verdict.answers], f"answered {shown}, h11: {verdict}"
    for number, (answer, expected) in enumerate(zip(answers, verdict.answers, strict=True)):
        assert answer.closes == expected.closes, f"answer {number} says close: {answer.closes}, h11: {verdict}"
    assert outcome.has_ended != verdict.is_open, f"ended: {outcome.has_ended}, h11: {verdict}"
    assert outcome.clicks == verdict.clicks, f"{outcome.clicks} clicks, h11: {verdict.clicks}"


def _read(out: bytes, verdict: Verdict) -> list[Answer]:
    """The answers as h11's client reads them, which knows which of its requests were HEADs."""
    found: list[Answer] = []
    rest = out
    while rest:
        expected = verdict.answers[len(found)] if len(found) < len(verdict.answers) else None
        is_head = expected is not None and expected.is_head
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method="HEAD" if is_head else "GET", target="/", headers=[("Host", "x")]))
        client.send(h11.EndOfMessage())
        client.receive_data(rest)
        response = client.next_event()
        assert isinstance(response, h11.Response), f"{response} in {rest!r}"
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            assert isinstance(event, h11.Data), f"{event} in {rest!r}"
        _inspect(response)
        found.append(Answer(response.status_code, is_head, (b"connection", b"close") in response.headers))
        rest = client.trailing_data[0]
    return found


def _inspect(response: h11.Response) -> None:
    """What holds for every answer (RFC 9110 6.6.1, 10.2.1, 15.3.3)."""
    names = [name for name, _ in response.headers]
    fields = dict(response.headers)
    for name in (b"date", b"content-length"):
        assert names.count(name) == 1, f"{response.status_code} has {names.count(name)} {name.decode()}"
    if response.status_code == 302:
        assert fields[b"location"] == TARGET
        assert fields[b"content-length"] == b"0"
    if b"server" in fields:  # Tornado's own
        return
    for name, value in response.headers:
        assert _FIELDS[name](value), f"{name!r}: {value!r} is none of the front's own words"
    assert (b"allow" in fields) == (response.status_code == 405)
    assert (b"retry-after" in fields) == (response.status_code == 503)
    assert (b"location" in fields) == (response.status_code == 302)
