"""The front against h11 and Tornado on the same bytes: the same answers, in order, and the same end.

For no stream does the front answer where h11 refuses, or take a request for longer or shorter than h11 does; whole,
byte by byte, cut at every place, behind and before other requests, with stores that answer at once or late.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.front.cases import CORPUS, OK, Case, cases
from tests.front.comparing import compare
from tests.front.harness import CONTINUE, Front
from tests.front.oracle import judge
from tests.front.service import on_loopback

Run = Callable[[Coroutine[Any, Any, None]], None]

SPLIT_BYTES_MAX = 600  # longer streams are cut at some places only
MIXTURES = 400

every_case = pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.theme}: {case.name}")


@pytest.fixture(scope="module")
def front() -> Front:
    """One for all cases: what one stream leaves behind must not touch the next."""
    return Front()


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Tornado's handlers need a loop."""
    with asyncio.Runner() as runner:
        yield runner.run


def test_the_corpus_is_large_and_distinct() -> None:
    assert len(cases()) >= 300
    assert len({case.raw for case in cases()}) == len(cases())
    assert len({case.name for case in cases()}) == len(cases())
    assert all(case.verdict for case in cases()), f"each case in {CORPUS} says what is answered"


@every_case
def test_h11_says_what_is_written_beside_the_case(case: Case) -> None:
    assert str(judge(case.raw)) == case.verdict.removesuffix(" fast")


@every_case
def test_answers_and_end_are_those_of_h11(case: Case, front: Front, run: Run) -> None:
    async def scenario() -> None:
        for raw in (case.raw, case.raw + OK, OK + case.raw):
            verdict = judge(raw)
            compare(await front.drive([raw]), verdict)
            compare(await front.drive([raw], is_late=True), verdict)
            compare(await front.drive([raw[:9], raw[9:]], is_early=True), verdict)
            compare(await Front().drive([raw]), verdict)  # no Host was seen before: nothing is in the fast lane

    run(scenario())


@every_case
def test_answers_are_the_same_however_the_stream_is_cut(case: Case, front: Front, run: Run) -> None:
    async def scenario() -> None:
        raw = case.raw + OK if len(case.raw) <= SPLIT_BYTES_MAX else case.raw
        whole = await front.drive([raw])
        bytewise = await front.drive([raw[i : i + 1] for i in range(len(raw))])
        assert bytewise == whole
        for cut in _cuts(raw):
            parts = await front.drive([raw[:cut], raw[cut:]])
            assert parts == whole, f"cut at {cut}: {raw[:cut][-40:]!r} | {raw[cut:][:40]!r}"

    run(scenario())


def _cuts(raw: bytes) -> list[int]:
    if len(raw) <= SPLIT_BYTES_MAX:
        return list(range(1, len(raw)))
    near_ends = {at + near for at in range(len(raw)) if raw[at] in b"\r\n" for near in (0, 1)}
    chosen = random.Random(len(raw)).sample(range(1, len(raw)), 20)
    return sorted({*sorted(near_ends)[:20], *sorted(near_ends)[-20:], *chosen} - {0, len(raw)})


@pytest.mark.parametrize(
    "case", [case for case in cases() if case.verdict.endswith("fast")], ids=lambda case: case.name
)
def test_what_people_send_is_answered_without_h11(case: Case, front: Front, run: Run) -> None:
    async def scenario() -> None:
        assert (await front.drive([case.raw])).exchanges == 0

    run(scenario())


def test_mixtures_of_requests_are_judged_one_by_one(front: Front, run: Run) -> None:
    rng = random.Random(9112)
    short = [case.raw for case in cases() if len(case.raw) < 1_000]

    async def scenario() -> None:
        for _ in range(MIXTURES):
            raw = b"".join(rng.choices(short, k=rng.randint(2, 5)))
            verdict = judge(raw)
            cut = rng.randrange(len(raw))
            for chunks in ([raw], [raw[:cut], raw[cut:]]):
                try:
                    compare(await front.drive(chunks, is_late=rng.random() < 0.5), verdict)
                except AssertionError as error:
                    raise AssertionError(f"{chunks!r}: {error}") from error

    run(scenario())


def test_a_real_socket_carries_the_same_answers() -> None:
    """Through a listener, which answers some first requests itself, to a client that waits for what it is owed."""
    with on_loopback() as service:
        for case in cases():
            verdict = judge(case.raw)
            with service.client() as client:
                client.sendall(case.raw)
                out = b""
                while out.replace(CONTINUE, b"").count(b"HTTP/1.1 ") < len(verdict.answers) or not verdict.is_open:
                    more = client.recv(65536)
                    if not more:
                        break
                    out += more
                service.settle()
                client.setblocking(False)
                with suppress(BlockingIOError, ConnectionResetError):
                    out += client.recv(65536)
            shown = [int(part[:3]) for part in out.replace(CONTINUE, b"").split(b"HTTP/1.1 ")[1:]]
            assert shown == [answer.status for answer in verdict.answers], case.name
