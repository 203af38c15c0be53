"""Who guesses slugs is answered 429 before a store is asked; what memory knows is answered as ever."""

from __future__ import annotations

from app.limits import Scans
from tests.front.harness import Front

HEAD = b"GET /%s HTTP/1.1\r\nHost: s.example\r\n\r\n"


def ask(front: Front, slug: bytes) -> bytes:
    connection, transport = front.connect()
    connection.data_received(HEAD % slug)
    front.turn()
    return bytes(transport.out)


def test_who_guesses_slugs_is_refused_before_a_store_is_asked() -> None:
    front = Front()
    front.gate.scans = Scans(1, lambda: 1_000.0)
    answers = [ask(front, b"nosuch%d" % number) for number in range(20)]
    assert [answer[9:12] for answer in answers] == [b"404"] * 10 + [b"429"] * 10
    assert b"\r\nRetry-After: 1\r\n" in answers[-1]
    assert front.gate.counts.limited == 10
    assert front.gate.counts.not_found == len(front.records) == 10
    assert ask(front, b"abc7")[9:12] == b"302"


def test_unknown_slugs_of_nobody_in_particular_are_all_looked_up() -> None:
    front = Front()
    assert {ask(front, b"nosuch%d" % number)[9:12] for number in range(1_000)} == {b"404"}
