"""People who follow links, and a scanner: so many requests a second, each answer read and judged.

In: a port, slugs, a rate. Out: how many redirects came for each kind of slug, what was wrong, how long answers took.
A visitor keeps its connection until the server closes it, or EXCHANGES_MAX, and asks the next question on a new one.
May import: heads.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.heads import browser_heads

__all__ = ["UNAVAILABLE", "Noted", "visit"]

UNAVAILABLE = "503"
VISITORS = 16
EXCHANGES_MAX = 200
ANSWER_S = 10.0
UNKNOWN_SHARE = 0.05  # of requests ask for slugs that nobody has
LATE_S = 5.0  # who is so late does not catch up: the load is bounded
LATENCIES_MAX = 100_000  # of those, random ones are kept


@dataclass
class Noted:
    """What visitors noted.

    Attributes:
        redirects: whole 302 answers.
        statuses: of all whole answers; 503 is no failure by itself, a store may be late.
        wrong: requests without the answer that they should have, as text; the first few.
        seconds: a random sample of how long answers took.
    """

    redirects: int = 0
    wrong_count: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def note_wrong(self, what: str) -> None:
        """One more failure."""
        self.wrong_count += 1
        if len(self.wrong) < 20:
            self.wrong.append(what)

    def note_answer(self, status: str, wanted: str, took_s: float, rng: random.Random) -> None:
        """One whole answer."""
        self.statuses[status] += 1
        if status not in (wanted, UNAVAILABLE):
            self.note_wrong(f"{status} instead of {wanted}")
        elif status == "302":
            self.redirects += 1
        count = self.statuses.total()
        if len(self.seconds) < LATENCIES_MAX:
            self.seconds.append(took_s)
        elif (place := rng.randrange(count)) < LATENCIES_MAX:
            self.seconds[place] = took_s


async def visit(port: int, slugs: Sequence[str], rate: float, noted: Noted, is_over: Callable[[], bool]) -> None:
    """All visitors, until it is over and each has its last answer.

    Args:
        slugs: asked for in this order, again and again; each has a link.
        rate: requests a second of all together.
    """
    heads = browser_heads(1_000)
    turns = itertools.cycle(slugs)
    tasks = [
        _visitor(port, turns, heads, VISITORS / rate, noted, is_over, random.Random(number))
        for number in range(VISITORS)
    ]
    await asyncio.gather(*tasks)


async def _visitor(
    port: int,
    turns: itertools.cycle[str],
    heads: Sequence[bytes],
    every_s: float,
    noted: Noted,
    is_over: Callable[[], bool],
    rng: random.Random,
) -> None:
    writer: asyncio.StreamWriter | None = None
    due_s = time.monotonic() + rng.random() * every_s
    left = 0
    while not is_over():
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        due_s = max(due_s + every_s, time.monotonic() - LATE_S)
        is_known = rng.random() >= UNKNOWN_SHARE
        slug = next(turns) if is_known else f"none{rng.getrandbits(40):x}"
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                left = EXCHANGES_MAX
            began_s = time.perf_counter()
            writer.write(b"GET /%s HTTP/1.1\r\n" % slug.encode() + rng.choice(heads))
            async with asyncio.timeout(ANSWER_S):
                status, closes = await _read_answer(reader)
        except (OSError, EOFError, TimeoutError) as error:
            noted.note_wrong(f"{type(error).__name__} {error}".strip())
            closes = True
        else:
            noted.note_answer(status, "302" if is_known else "404", time.perf_counter() - began_s, rng)
        left -= 1
        if writer is not None and (closes or left <= 0):
            writer.close()
            writer = None
    if writer is not None:
        writer.close()


async def _read_answer(reader: asyncio.StreamReader) -> tuple[str, bool]:
    """(status, whether the connection ends), when the whole answer came."""
    head = await reader.readuntil(b"\r\n\r\n")
    lowered = head.lower()
    length = int(lowered.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or 0)
    await reader.readexactly(length)
    return head[9:12].decode(), b"\r\nconnection: close" in lowered
