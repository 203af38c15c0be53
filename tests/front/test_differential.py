"""The front against h11 on the same bytes: it never answers where h11 would refuse or frame the stream otherwise."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterable, Iterator

import h11
import pytest

from tests.front.corpus import STREAMS
from tests.front.harness import HOST, OK, Expected, Front, answers

SEED = int(os.environ.get("FUZZ_SEED", "5"))
REFUSED = (400, 405, 413, 431, 501, 505)  # what h11, the body limit and CONNECT are refused with
INPUTS = int(os.environ.get("FUZZ_INPUTS", "6000"))


@pytest.fixture(scope="module", autouse=True)
def loop() -> Iterator[None]:
    """Tornado's handlers and the exchange's futures need a loop; nothing here waits for it."""
    runner = asyncio.Runner()
    asyncio.set_event_loop(runner.get_loop())
    yield
    asyncio.set_event_loop(None)
    runner.close()


def run(chunks: Iterable[bytes]) -> tuple[Front, bytes, bool]:
    """Feeds one connection on a loop, so that handlers finish; (front, what it wrote, whether it ended it)."""
    front = Front()

    async def whole() -> tuple[bytes, bool]:
        connection, transport = front.connect()
        for chunk in chunks:
            if transport.is_closed or transport.has_ended:
                break
            connection.data_received(chunk)
            for _ in range(60):
                front.turn()
                await asyncio.sleep(0)
        ended = transport.is_closed or transport.has_ended
        connection.connection_lost(None)
        return transport.out, ended

    out, ended = asyncio.get_event_loop().run_until_complete(whole())
    return front, out, ended


def check(raw: bytes, chunks: Iterable[bytes]) -> None:
    expected = Expected(raw)
    front, out, ended = run(chunks)
    out = out.replace(b"HTTP/1.1 100 \r\n\r\n", b"")
    methods = [method for method, _, _ in expected.requests]
    try:
        statuses = answers(out, methods)
    except h11.RemoteProtocolError:  # a HEAD that h11 refuses is still answered as a HEAD
        statuses = answers(out, [*methods, b"HEAD"])
    whole = len(expected.requests)
    good = [status for status in statuses if status not in REFUSED]
    assert len(good) <= whole, f"answered {len(good)} requests where h11 saw {whole}"
    if expected.end == "error":
        assert ended, "must end the connection where h11 refuses"
        assert len(statuses) == whole + 1 or len(statuses) <= whole or statuses[-1] in REFUSED
    elif not set(REFUSED) & set(statuses):
        assert len(statuses) == whole, f"answered {len(statuses)} of {whole}"
    if expected.end == "close":
        assert ended, "must end the connection where h11 does"
    clicks = sum(method == b"GET" for method, _, has_body in expected.requests)
    assert front.clicks <= clicks


@pytest.mark.parametrize("raw", STREAMS, ids=lambda raw: repr(raw[:60]))
def test_a_stream_is_judged_as_h11_does(raw: bytes) -> None:
    check(raw, [raw])


@pytest.mark.parametrize("raw", [s for s in STREAMS if len(s) < 700], ids=lambda raw: repr(raw[:60]))
def test_a_stream_fed_one_byte_at_a_time_gives_the_same(raw: bytes) -> None:
    check(raw, [raw[i : i + 1] for i in range(len(raw))])


def test_mutated_streams_are_judged_as_h11_does() -> None:
    rng = random.Random(SEED)
    seeds = [s for s in STREAMS if len(s) < 600] + [browser_head(rng) for _ in range(100)]
    tokens = [
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b":",
        b"\t",
        b"\0",
        b"a",
        b"Content-Length: 1",
        b"Host: x",
        b"Connection: close",
    ]
    tokens += [
        b"Transfer-Encoding: chunked",
        b"GET /abc7 HTTP/1.1",
        b",",
        b"\x0b",
        b"\x0c",
        b"\xff",
        b"?",
        b"/",
        b"0",
        b"HTTP/1.0",
        OK,
    ]
    for _ in range(INPUTS):
        raw = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(raw) + 1)
            end = at if rng.random() < 0.5 else at + rng.randint(0, 4)
            raw[at:end] = rng.choice(tokens)
        stream = bytes(raw)
        cuts = sorted(rng.sample(range(len(stream) + 1), min(2, len(stream)))) if rng.random() < 0.3 else []
        chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True) if a < b]
        try:
            check(stream, chunks)
        except (AssertionError, h11.RemoteProtocolError) as error:
            raise AssertionError(f"seed {SEED}, stream {stream!r}, chunks {chunks!r}: {error}") from error


def browser_head(rng: random.Random) -> bytes:
    connection = rng.choice([b"", b"Connection: keep-alive\r\n", b"Connection: close\r\n"])
    agent = b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:%d.0) Gecko/20100101 Firefox/%d.0\r\n" % (
        (rng.randint(90, 140),) * 2
    )
    rest = b"Accept: text/html,*/*;q=0.8\r\nAccept-Language: de-DE,de;q=0.9\r\nAccept-Encoding: gzip, br\r\n"
    more = rng.choice(
        [
            b"",
            b"Referer: https://x.example/%d\r\n" % rng.randint(1, 99),
            b"Cookie: a=b; c=d\r\nSec-Fetch-Mode: navigate\r\n",
        ]
    )
    return b"GET /abc7 HTTP/1.1\r\n" + HOST + connection + agent + rest + more + b"Upgrade-Insecure-Requests: 1\r\n\r\n"
