"""Visits are told live by the real tree, to every stream of every process, whatever is slow, killed or ending."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.feed.events import LIVE, Message, encode
from app.main import DRAIN_S
from app.stores import open_redis, redis_url
from tests import fetch
from tests.conftest import wait_for
from tests.feed.test_hub import seen
from tests.system.conftest import Tree
from tests.system.test_coherence import TARGET, settings_of

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0"
LIMIT_S = 30.0
BATCH = 400  # visits of one message, fewer than a stream's queue holds
BATCHES = 60  # 5 MB, more than sockets and transports keep


class Watcher:
    """A client of one web process's own socket, with a stream of everything."""

    def __init__(self, tree: Tree, name: str, *, receives_bytes: int = 0) -> None:
        self.seen = b""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(LIMIT_S)
        if receives_bytes:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives_bytes)
        self._socket.connect(str(tree.state / "run" / f"{name}.sock"))
        ask = f"GET /api/v1/live HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {tree.key}\r\n\r\n"
        self._socket.sendall(ask.encode())
        self.read_until(b": visits as they are counted")

    def read_until(self, wanted: bytes, count: int = 1) -> None:
        """Reads until `wanted` has come so often."""
        deadline = time.monotonic() + LIMIT_S
        while self.seen.count(wanted) < count:
            data = self._socket.recv(1 << 20)
            assert data, f"ended after {self.seen[-500:]!r}"
            assert time.monotonic() < deadline, f"only {self.seen[-500:]!r}"
            self.seen += data

    def read_to_end(self) -> bytes:
        """What comes until the server ends the connection, before it would have to cut off whoever is left."""
        deadline = time.monotonic() + DRAIN_S / 2
        data = b""
        while more := self._socket.recv(1 << 20):
            assert time.monotonic() < deadline
            data += more
        return data

    def close(self) -> None:
        self._socket.close()


@contextmanager
def watching(tree: Tree, name: str, **options: int) -> Iterator[Watcher]:
    watcher = Watcher(tree, name, **options)
    try:
        yield watcher
    finally:
        watcher.close()


def click(tree: Tree, slug: str) -> None:
    assert fetch.get(f"{tree.url}/{slug}", headers={"User-Agent": FIREFOX}).status_code == 302


def click_until_told(tree: Tree, slug: str, watcher: Watcher) -> None:
    """A wish takes a moment to reach the aggregator."""
    mark = f'"slug":"{slug}"'.encode()

    def is_told() -> bool:
        click(tree, slug)
        watcher._socket.settimeout(1)
        try:
            watcher.read_until(mark)
        except TimeoutError:
            return False
        finally:
            watcher._socket.settimeout(LIMIT_S)
        return True

    wait_for(is_told)


def test_a_click_is_told_by_every_process(running: Tree) -> None:
    slug = running.shorten(TARGET)
    with watching(running, "web_0") as one, watching(running, "web_1") as other:
        click_until_told(running, slug, one)
        other.read_until(f'"slug":"{slug}"'.encode())
        assert b'"browser":"Firefox","os":"Linux"' in one.seen


def test_who_reads_nothing_loses_events_and_holds_up_nobody(running: Tree) -> None:
    async def publish() -> None:
        client = open_redis(redis_url(settings_of(running)))
        for number in range(BATCHES):
            visits = [seen(1, referrer="a" * 48)] * BATCH
            await client.publish(LIVE, encode(Message(visits, {1: "/one"}, {})))
            await asyncio.to_thread(quick.read_until, b"event: visit", (number + 1) * BATCH)
        await client.aclose()

    with watching(running, "web_0", receives_bytes=4096) as slow, watching(running, "web_0") as quick:
        asyncio.run(publish())
        assert b"event: lost" not in quick.seen
        slow.read_until(b"event: lost")
        assert slow.seen.count(b"event: visit") < BATCH * BATCHES


def test_a_stream_ends_in_order_with_its_process(running: Tree) -> None:
    with watching(running, "web_1") as watcher:
        os.kill(running.pids()["web_1"], signal.SIGTERM)
        assert watcher.read_to_end().endswith(b"0\r\n\r\n")
    wait_for(lambda: running.status()["ready"])


def test_a_stream_outlives_redis(running: Tree) -> None:
    slug = running.shorten(TARGET)
    with watching(running, "web_0") as watcher:
        click_until_told(running, slug, watcher)
        os.kill(running.pids()["redis"], signal.SIGKILL)
        watcher.read_until(b": Redis is away")
        watcher.read_until(b": Redis can be heard")
        watcher.seen = b""
        click_until_told(running, slug, watcher)
