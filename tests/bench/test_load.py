"""The load says what came back: each answer's status, what was lost, when it was due. wrk's report is understood."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.heads import browser_heads, write_heads, write_numbers
from bench.load import Traffic, parse_wrk, run_generator
from tests.needs import needs

pytestmark = needs("cc")

FOUND = b"HTTP/1.1 302 Found\r\nLocation: https://example.com/\r\nContent-Length: 0\r\n\r\n"
WRK = """Running 2s test @ http://127.0.0.1:9955/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   616.23us  339.35us  14.93ms   97.55%
    Req/Sec   106.51k     4.93k  111.02k    90.48%
  Latency Distribution
     50%  566.00us
     75%  607.00us
     90%  756.00us
     99%    1.36ms
  222579 requests in 2.10s, 80.66MB read
  Socket errors: connect 0, read 3, write 0, timeout 1
  Non-2xx or 3xx responses: 17
Requests/sec: 105993.34
Transfer/sec:     38.41MB

  95%  900us
  99.9%  2501us
"""


@contextmanager
def server(answer: Callable[[bytes], bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Answers each head with `answer(head)`, and closes after an empty one or where a head asks for it."""
    heads: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                heads.append(head)
                data = answer(head)
                writer.write(data)
                if not data or b"Connection: close" in head:
                    return
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()

    async def run() -> None:
        async with await asyncio.start_server(serve, sock=listener):
            started.set()
            await asyncio.to_thread(stop.wait)

    started, stop = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    started.wait()
    try:
        yield listener.getsockname()[1], heads
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def traffic(tmp_path: Path) -> Callable[..., Traffic]:
    def make(*, slugs: list[int], close: bool = False, **options: object) -> Traffic:
        write_heads(tmp_path / "heads", browser_heads(50, close=close))
        write_numbers(tmp_path / "slugs", array("I", slugs))
        return Traffic(tmp_path / "heads", tmp_path / "slugs", close=close, connections=4, **options)  # type: ignore[arg-type]

    return make


def test_every_link_is_asked_for_in_turn_with_different_heads(traffic: Callable[..., Traffic]) -> None:
    with server(lambda head: FOUND) as (port, heads):
        run = run_generator(port, os.getpid(), traffic(slugs=[7, 8, 9]), requests=300)
    assert (run.answered, run.errors, run.statuses) == (300, 0, {"302": 300})
    paths = [head.split()[1] for head in heads]
    assert sorted(paths) == sorted([b"/b7", b"/b8", b"/b9"] * 100)
    assert len({head.partition(b"\r\n")[2] for head in heads}) > 40


def test_other_statuses_are_counted_apart(traffic: Callable[..., Traffic]) -> None:
    missing = b"HTTP/1.1 404 Not Found\r\ncontent-length: 5\r\n\r\nnever"
    with server(lambda head: missing if b"/b2 " in head else FOUND) as (port, _):
        run = run_generator(port, os.getpid(), traffic(slugs=[1, 2]), requests=100)
    assert run.statuses == {"302": 50, "404": 50}


def test_closed_connection_counts_as_an_error(traffic: Callable[..., Traffic]) -> None:
    with server(lambda head: b"" if b"/b2 " in head else FOUND) as (port, _):
        run = run_generator(port, os.getpid(), traffic(slugs=[1, 2]), requests=100)
    assert run.errors >= 50
    assert run.statuses == {"302": 50}


def test_closing_asks_by_a_new_connection_each_time(traffic: Callable[..., Traffic]) -> None:
    with server(lambda head: FOUND) as (port, heads):
        run = run_generator(port, os.getpid(), traffic(slugs=[1], close=True), requests=100)
    assert (run.answered, run.errors) == (100, 0)
    assert len(heads) == 100


def test_pipelined_answers_are_all_counted(traffic: Callable[..., Traffic]) -> None:
    with server(lambda head: FOUND) as (port, heads):
        run = run_generator(port, os.getpid(), traffic(slugs=[1], depth=16), requests=250)
    assert (run.answered, run.errors, len(heads)) == (250, 0, 250)


def test_other_request_takes_its_turn(traffic: Callable[..., Traffic], tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"GET /api HTTP/1.1\r\nHost: a\r\n\r\n")
    done = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    with server(lambda head: done if b"/api" in head else FOUND) as (port, _):
        run = run_generator(port, os.getpid(), traffic(slugs=[1], other=other, every=10), requests=100)
    assert run.statuses == {"200": 10, "302": 90}


def test_open_loop_keeps_its_pace_and_charges_a_pause_to_all_who_were_due(traffic: Callable[..., Traffic]) -> None:
    paused = threading.Event()

    def pause_once(head: bytes) -> bytes:
        if not paused.is_set():
            paused.set()
            threading.Event().wait(0.3)
        return FOUND

    with server(pause_once) as (port, _):
        run = run_generator(port, os.getpid(), traffic(slugs=[1], rate=500.0), seconds=0.6)
    assert run.errors == 0
    assert run.answered == pytest.approx(300, rel=0.25)
    # A closed loop would have charged the pause to its four clients alone: 1 % of the requests.
    assert run.p50 > 10


def test_report_of_wrk_is_understood() -> None:
    run = parse_wrk(WRK)
    assert (run.rate, run.answered, run.errors) == (105993.34, 222_579, 4)
    assert [run.p50, run.p95, run.p99, run.p999, run.max] == pytest.approx([0.566, 0.9, 1.36, 2.501, 14.93])
    assert run.statuses == {"2xx or 3xx": 222_562, "others": 17}


def test_report_of_wrk_without_failures_is_understood() -> None:
    lines = [line for line in WRK.splitlines() if "Socket" not in line and "Non-2xx" not in line]
    run = parse_wrk("\n".join(lines))
    assert (run.errors, run.statuses) == (0, {"2xx or 3xx": 222_579})
