"""Visitors who note what they really got: keep-alive connections, pipelines, a new connection now and then.

In: a port and slugs with their targets. Out: for each link how many redirects came whole and how many requests were
sent whose answer never came whole, as `boltlink audit` reads it; when answers came, and what was no redirect.

A request that could not be sent, because nobody accepted a connection, is nothing that anyone may have counted. One
that was handed to the kernel is unanswered until its answer is whole.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from random import Random

ANSWER_S = 10.0  # well above any pause that a fault makes; who waits longer gives up
CONNECT_S = 2.0
RETRY_S = 0.01
DEPTH_MAX = 4
EXCHANGES_MAX = 60  # then a new connection
HEAD = (
    "GET /%s HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 "
    "Firefox/128.0\r\nAccept: text/html\r\nX-Note: %s\r\n\r\n"
)


@dataclass
class Notes:
    """What visitors noted. Times are by time.monotonic."""

    received: Counter[str] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)
    redirects_at: array[float] = field(default_factory=lambda: array("d"))
    unanswered_at: list[float] = field(default_factory=list)
    failures: list[tuple[float, int]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    not_connected: int = 0
    last_at: float = 0.0

    @property
    def requests(self) -> int:
        """All that were sent."""
        return self.received.total() + self.unanswered.total() + len(self.failures)

    def redirects_between(self, since: float, until: float) -> int:
        """How many came."""
        return bisect_right(self.redirects_at, until) - bisect_left(self.redirects_at, since)

    def longest_silence_s(self, since: float, until: float) -> float:
        """The longest time without a redirect among those that overlap [since, until]."""
        first = max(0, bisect_left(self.redirects_at, since) - 1)
        last = bisect_left(self.redirects_at, until) + 1
        times = self.redirects_at[first:last]
        return max((later - sooner for sooner, later in pairwise(times)), default=0.0)

    def write(self, path: Path) -> None:
        """The file that `boltlink audit --expect` reads."""
        with path.open("w") as file:
            for slug in sorted(self.received.keys() | self.unanswered.keys()):
                row = {"slug": slug, "received": self.received[slug], "unanswered": self.unanswered[slug]}
                file.write(json.dumps({**row, "at": self.last_at}) + "\n")


class Load:
    """Visitors in a thread of their own, between `start` and `stop`; may be started again.

    Args:
        links: slug -> target; each visitor chooses among them evenly.
        rate: redirects a second asked for by all visitors together.
        note_bytes: how much each request's head carries, to fill journals faster.
        depth_max: requests sent at once on one connection. What stands behind an answer that closes is not asked again.
    """

    def __init__(
        self,
        port: int,
        links: Mapping[str, str],
        seed: int,
        *,
        rate: int,
        visitors: int = 16,
        note_bytes: int = 8,
        depth_max: int = DEPTH_MAX,
    ) -> None:
        self.notes = Notes()
        self._port = port
        self._links = links
        self._slugs = list(links)
        self._random = Random(seed)
        self._visitors = visitors
        self._depth_max = depth_max
        self._pause_s = visitors * (1 + depth_max) / 2 / rate
        self._note = "x" * note_bytes
        self._ends = False
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self) -> None:
        """Visitors begin."""
        self._ends = False
        self._thread = threading.Thread(target=self._run, name="load")
        self._thread.start()

    def stop(self) -> None:
        """Each visitor ends when it has its answers, or gave up; raises what ended one."""
        self._ends = True
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            asyncio.run(self._visit_all())
        except BaseException as error:  # raised again by `stop`
            self._error = error

    async def _visit_all(self) -> None:
        seeds = [self._random.random() for _ in range(self._visitors)]
        await asyncio.gather(*(self._visit(Random(seed)) for seed in seeds))

    async def _visit(self, random: Random) -> None:
        while not self._ends:
            try:
                async with asyncio.timeout(CONNECT_S):
                    reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:  # TimeoutError is one
                self.notes.not_connected += 1
                await asyncio.sleep(RETRY_S)
                continue
            try:
                await self._converse(reader, writer, random)
            except (OSError, EOFError):
                pass  # noted as unanswered; the visitor comes back
            finally:
                writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, random: Random) -> None:
        """One connection's requests; raises OSError or EOFError when it ends before its answers."""
        for _ in range(random.randint(1, EXCHANGES_MAX)):
            if self._ends:
                return
            slugs = random.choices(self._slugs, k=random.randint(1, self._depth_max))
            left = len(slugs)
            try:
                writer.write("".join(HEAD % (slug, self._note) for slug in slugs).encode())
                async with asyncio.timeout(ANSWER_S):
                    for slug in slugs:
                        closes = await self._receive(reader, slug)
                        left -= 1
                        if closes:
                            return
            finally:
                self._note_unanswered(slugs[len(slugs) - left :])
            await asyncio.sleep(random.expovariate(1 / self._pause_s))

    async def _receive(self, reader: asyncio.StreamReader, slug: str) -> bool:
        """Notes one whole answer; whether the server closes after it."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n")[1:])}
        await reader.readexactly(int(fields["content-length"]))
        status = int(head[9:12])
        now = time.monotonic()
        if status == 302:
            self.notes.received[slug] += 1
            self.notes.redirects_at.append(now)
            self.notes.last_at = time.time()
            if fields.get("location") != self._links[slug]:
                self.notes.wrong.append(f"{slug}: {fields.get('location')}")
        else:
            self.notes.failures.append((now, status))
        return fields.get("connection") == "close"

    def _note_unanswered(self, slugs: list[str]) -> None:
        now = time.monotonic()
        for slug in slugs:
            self.notes.unanswered[slug] += 1
            self.notes.unanswered_at.append(now)
