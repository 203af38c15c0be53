"""A banned link ends in every process, whatever is lost on the way: the real tree, two web processes, real sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from redis.exceptions import RedisError

from app.links import LinkStore
from app.settings import Settings
from app.stores import mongodb_url, open_mongodb, open_redis, redis_url, run_dir
from tests import fetch
from tests.conftest import wait_for
from tests.system.conftest import Tree

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

TARGET = "https://www.rfc-editor.org/rfc/rfc9110.html"
WEB = ("web_0", "web_1")


def settings_of(tree: Tree) -> Settings:
    return Settings.from_environ({name: value for name, value in tree.environ.items() if name.startswith("BOLTLINK_")})


def status(tree: Tree, name: str, slug: str) -> int:
    """What one process answers; 0 while it does not."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        try:
            connection.connect(str(run_dir(settings_of(tree)) / f"{name}.sock"))
            connection.sendall(b"GET /%s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % slug.encode())
            return int(connection.recv(65_536)[9:12] or b"0")
        except OSError:
            return 0


def statuses(tree: Tree, slug: str) -> list[int]:
    return [status(tree, name, slug) for name in WEB]


def known_link(tree: Tree) -> str:
    """A link that every process has in memory."""
    slug = tree.shorten(TARGET)
    wait_for(lambda: statuses(tree, slug) == [302, 302])
    return slug


def ban(tree: Tree, slug: str) -> None:
    headers = {"Authorization": f"Bearer {tree.key}"}
    answer = fetch.patch(f"{tree.url}/api/v1/links/{slug}", json={"state": "banned"}, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text


def ban_and_die(tree: Tree, slug: str) -> None:
    """What a writer leaves that is killed between its two writes."""

    async def write() -> None:
        database = open_mongodb(mongodb_url(settings_of(tree)))
        now_ms = int(time.time() * 1000)
        link = await LinkStore(database).change(f"/{slug}", {"state": "banned"}, now_ms=now_ms, version=None)
        assert link is not None
        await database.client.close()

    asyncio.run(write())


def in_redis(tree: Tree, deed: Callable[[Any], Awaitable[Any]]) -> None:
    async def whole() -> None:
        client = open_redis(redis_url(settings_of(tree)))
        await deed(client)
        await client.aclose()

    asyncio.run(whole())


def control(tree: Tree, *words: str) -> None:
    address = f"unix://{run_dir(settings_of(tree)) / 'supervisor.sock'}"
    subprocess.run([sys.executable, "-m", "supervisor.supervisorctl", "-s", address, *words], check=True)


@contextmanager
def nothing_lost(tree: Tree) -> Iterator[None]:
    yield


@contextmanager
def channel_killed(tree: Tree) -> Iterator[None]:
    """Every subscription is killed as soon as it is there."""
    ends = threading.Event()

    async def kill(client: Any) -> None:
        while not ends.is_set():
            await client.client_kill_filter(_type="pubsub")

    killer = threading.Thread(target=in_redis, args=(tree, kill))
    killer.start()
    try:
        yield
    finally:
        ends.set()
        killer.join()


@contextmanager
def redis_emptied(tree: Tree) -> Iterator[None]:
    in_redis(tree, lambda client: client.flushall())
    yield


@contextmanager
def announcer_killed(tree: Tree) -> Iterator[None]:
    os.kill(tree.pids()["announcer"], signal.SIGKILL)
    yield


@pytest.mark.parametrize("loss", [nothing_lost, channel_killed, redis_emptied], ids=lambda loss: loss.__name__)
def test_banned_link_ends_in_every_process(running: Tree, loss: Callable[[Tree], Any]) -> None:
    slug = known_link(running)
    with loss(running):
        ban(running, slug)
    wait_for(lambda: statuses(running, slug) == [410, 410])


@pytest.mark.parametrize("loss", [nothing_lost, announcer_killed], ids=lambda loss: loss.__name__)
def test_ban_whose_writer_died_ends_the_link_all_the_same(running: Tree, loss: Callable[[Tree], Any]) -> None:
    slug = known_link(running)
    with loss(running):
        ban_and_die(running, slug)
    wait_for(lambda: statuses(running, slug) == [410, 410])


def test_ban_while_redis_is_away_is_found_in_mongodb(running: Tree) -> None:
    slug = known_link(running)
    control(running, "stop", "redis")
    try:
        ban(running, slug)
        wait_for(lambda: statuses(running, slug) == [410, 410])
    finally:
        control(running, "start", "redis")
    wait_for(lambda: running.status()["ready"])
    assert statuses(running, slug) == [410, 410]


def test_redis_that_went_back_to_before_the_ban_is_found_out(running: Tree) -> None:
    slug = known_link(running)
    in_redis(running, lambda client: client.save())
    ban(running, slug)
    wait_for(lambda: statuses(running, slug) == [410, 410])
    os.kill(running.pids()["redis"], signal.SIGKILL)

    def redis_knows() -> bool:
        found: list[Any] = []

        async def read(client: Any) -> None:
            found.append(await client.get(f"l:/{slug}"))

        try:
            in_redis(running, read)
        except RedisError:
            return False
        return found[0] is not None and b"banned" in found[0]

    wait_for(redis_knows)
    wait_for(lambda: statuses(running, slug) == [410, 410])
