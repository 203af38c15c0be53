"""Feeds mutated streams to the front and compares each with h11, until so many were fed or so much time has passed.

In: a seed, limits. Out: how many were fed, or the first stream that differs, made as small as it goes. A stream fails
when the answers, their order, their ends, the end of the connection or the clicks are others than the oracle's; and
when one of the pure judges takes a head that h11 does not take for the same single request.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from app.front.head import judge as judge_head
from app.front.head import plain, plain_or_close
from tests.front.cases import Case, cases, write_case
from tests.front.comparing import compare
from tests.front.harness import Front
from tests.front.mutator import Mutator
from tests.front.oracle import Verdict, judge

__all__ = ["Found", "Report", "fuzz"]

FRESH_EVERY = 500  # streams that share one front: what one leaves behind must not touch the next
SHRINK_TRIES_MAX = 2_000


class How(NamedTuple):
    """Whether stores answer when all has come, and whether the first packet came before there was a transport."""

    is_late: bool
    is_early: bool


@dataclass(frozen=True)
class Report:
    """How many streams were fed in how long; how many got an answer that is no error, how many needed no h11."""

    inputs: int
    seconds: float
    answered: int
    fast: int


class Found(Exception):  # noqa: N818  it is what a fuzzer is for
    """A stream on which the front differs from h11."""

    def __init__(self, seed: int, number: int, raw: bytes, chunks: list[bytes], reason: str) -> None:
        shown = write_case("found by fuzzing", raw, str(judge(raw)))
        super().__init__(
            f"seed {seed}, input {number}: {reason}\ncut as {chunks!r}\nfor tests/corpus/found.txt:\n{shown}"
        )
        self.raw = raw


def fuzz(seed: int, *, inputs: int, seconds: float, progress: Callable[[Report], None] | None = None) -> Report:
    """Raises Found at the first difference."""
    mutator = Mutator(random.Random(seed), [case.raw for case in cases()], [_weight(case) for case in cases()])
    with asyncio.Runner() as runner:
        return runner.run(_run(mutator, seed, inputs, seconds, progress))


def _weight(case: Case) -> int:
    """What is answered well is a better start than what is refused anyway, and plain heads are the best."""
    if case.verdict.endswith("fast"):
        return 20
    return 4 if case.verdict.startswith(("2", "3")) else 1


async def _run(
    mutator: Mutator, seed: int, inputs: int, seconds: float, progress: Callable[[Report], None] | None
) -> Report:
    began = time.monotonic()
    report = Report(0, 0.0, 0, 0)
    front = Front()
    answered = fast = 0
    for number in range(inputs):
        if number % FRESH_EVERY == 0:
            front = Front()
            report = Report(number, time.monotonic() - began, answered, fast)
            if progress is not None:
                progress(report)
            if report.seconds > seconds:
                return report
        raw = mutator.make()
        chunks = mutator.cut(raw)
        how = How(mutator.rng.random() < 0.2, mutator.rng.random() < 0.2 and bool(chunks))
        verdict = judge(raw)
        try:
            exchanges = await _check(front, raw, chunks, verdict, how)
        except Exception as error:  # whatever the front raises is a find
            raw, chunks = await _shrink(raw, chunks, how)
            raise Found(seed, number, raw, chunks, f"{type(error).__name__}: {error}") from error
        answered += any(answer.status < 400 for answer in verdict.answers)
        fast += exchanges == 0 and bool(verdict.answers)
    return Report(inputs, time.monotonic() - began, answered, fast)


async def _check(front: Front, raw: bytes, chunks: list[bytes], verdict: Verdict, how: How) -> int:
    outcome = await front.drive(chunks, is_late=how.is_late, is_early=how.is_early)
    compare(outcome, verdict)
    for name, slug, closes in _judged(raw):
        assert [answer.status for answer in verdict.answers] in ([200], [302], [404]), (
            f"{name} takes {slug!r}: {verdict}"
        )
        assert closes != verdict.is_open, f"{name} says close: {closes}, h11: {verdict}"
    return outcome.exchanges


def _judged(raw: bytes) -> list[tuple[str, bytes, bool]]:
    """What the pure judges take the whole stream for."""
    found = []
    kept = plain(raw)
    if kept is not None:
        found.append(("plain", kept[0], False))
    either = plain_or_close(raw)
    if either is not None:
        found.append(("plain_or_close", either[0], either[2]))
    careful = judge_head(raw) if len(raw) <= 16 * 1024 else None
    if careful is not None:
        found.append(("judge", careful.path, careful.close))
    return found


async def _shrink(raw: bytes, chunks: list[bytes], how: How) -> tuple[bytes, list[bytes]]:
    """A smaller stream that still differs; whole if that differs, too."""

    async def differs(candidate: bytes, parts: list[bytes]) -> bool:
        try:
            await _check(Front(), candidate, parts, judge(candidate), how)
        except Exception:
            return True
        return False

    if not await differs(raw, [raw]):
        return raw, chunks
    tries, size = 0, max(1, len(raw) // 2)
    while size and tries < SHRINK_TRIES_MAX:
        at = 0
        while at < len(raw) and tries < SHRINK_TRIES_MAX:
            smaller = raw[:at] + raw[at + size :]
            tries += 1
            if smaller and await differs(smaller, [smaller]):
                raw = smaller
            else:
                at += size
        size //= 2
    return raw, [raw]
