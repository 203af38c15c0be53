"""Redis of several servers, from `etc/redis` as it is: whoever uses Redis works, and goes on when a server dies."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import RedisError

from app.accounts.flows import Flows
from app.accounts.sessions import Sessions
from app.accounts.tries import Tries
from app.cli.doctor.servers import about_servers
from app.feed.events import LIVE, WANTED, listen
from app.jobs import bell as jobs
from app.limits import Bucket, Buckets, Limiter, Rate
from app.links import CHANNEL, Cached, LinkCache
from app.links.cache import decode_message
from app.links.model import CachedLink
from app.settings import Settings, SettingsError, read_redis_place
from app.stores import Breaker, Members, RedisClient, open_redis
from tests.conftest import Stores, wait_for, wait_until
from tests.needs import find, needs
from tests.stores.node import Process
from tests.stores.servers import RedisCluster, SentinelSet

Run = Callable[[Coroutine[Any, Any, None]], None]
KEYS = [f"/k{number}" for number in range(60)]  # over all slots


def link(version: int) -> Cached:
    return Cached(version, CachedLink(version, "active", f"https://a/{version}"))


@pytest.fixture(params=["sentinels", "cluster"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param).url)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[RedisClient]:
    client = open_redis(url)
    try:
        yield client
    finally:
        await client.aclose()


def test_links_are_put_read_told_forgotten_and_marked(url: str) -> None:
    async def scenario() -> None:
        async with opened(url) as client:
            cache = LinkCache(client)
            heard: list[tuple[str, int]] = []
            listening = asyncio.create_task(
                listen(client, CHANNEL, lambda data: heard.extend(decode_message(data) or ()))
            )
            await until_heard(cache, heard)
            await cache.put_many([(key, link(1)) for key in KEYS])
            await cache.put_many([(key, link(0)) for key in KEYS])
            assert await cache.get_many(KEYS) == [link(1)] * len(KEYS)
            await cache.announce([(key, link(2)) for key in KEYS])
            assert await cache.versions(KEYS) == [2] * len(KEYS)
            await wait_until(lambda: set(heard) >= {(key, 2) for key in KEYS})
            await cache.drop(KEYS[:9])
            assert await cache.get_many(KEYS[:10]) == [None] * 9 + [link(2)]
            before = await cache.announced()
            assert await cache.mark_announced(before, "token 1 1")
            assert not await cache.mark_announced(before, "token 1 2")
            assert set(await cache.announced()) == {"token 1 1"}
            async for _ in cache.clear():
                pass
            assert await cache.get_many(KEYS) == [None] * len(KEYS)
            await cache.forget_announced()
            assert set(await cache.announced()) == {""}
            listening.cancel()

    asyncio.run(scenario())


async def until_heard(cache: LinkCache, heard: list[tuple[str, int]]) -> None:
    """A subscription has begun."""
    while not heard:
        await cache.announce([("/first", link(1))])
        await asyncio.sleep(0.02)


def test_limits_sessions_sign_ins_and_domains_work(url: str) -> None:
    async def scenario() -> None:
        async with opened(url) as client:
            assert await client.ping()
            limiter = Limiter(client, Breaker("limits", time.monotonic), Buckets(time.monotonic))
            rate = Rate(burst=2, every_s=60.0)
            for number in range(20):
                taken = [(await limiter.take(Bucket(f"{url}{number}", rate))).taken for _ in range(3)]
                assert taken == [1, 1, 0]
            assert limiter.local == 0
            sessions = Sessions(client, None, idle_s=60, life_s=60, now_s=time.time, token=secrets.token_urlsafe)  # type: ignore[arg-type]
            await sessions.end("none")
            flows = Flows(client, token=secrets.token_urlsafe)
            for _ in range(9):
                begun = await flows.begin("/dashboard")
                assert await flows.take(begun.state, begun.secret) == begun.flow
                assert await flows.take(begun.state, begun.secret) is None
            tries = Tries(limiter, client)
            async with tries.one("10.0.0.0", f"ada@{secrets.token_hex(4)}") as one:
                one.is_right = True
            await client.set("domains", b"x")
            assert await client.get("domains") == b"x"

    asyncio.run(scenario())


def test_boltlink_may_use_its_channels(url: str) -> None:
    async def scenario() -> None:
        async with opened(url) as client:
            for channel in (CHANNEL, LIVE, WANTED, jobs.CHANNEL):
                await client.publish(channel, b"")
                async with client.pubsub() as subscription:
                    await subscription.subscribe(channel)
                    assert await subscription.get_message(timeout=10)

    asyncio.run(scenario())


@needs("redis-server")
def test_configuration_is_read_by_the_systems_redis(sentinels: SentinelSet) -> None:
    program = find("redis-server") or ""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    for server in sentinels.servers:
        assert f"v={server.admin('INFO', 'server')['redis_version']} " in said


def test_nobody_may_do_more_than_boltlink_needs(sentinels: SentinelSet) -> None:
    primary = sentinels.primary()
    for words in (
        ("FLUSHALL",),
        ("CONFIG", "GET", "*"),
        ("KEYS", "*"),
        ("SET", "others", "1"),
        ("SHUTDOWN",),
        ("ACL", "LIST"),
    ):
        assert "permission" in str(primary.ask(*words)), words
    assert "permission" in str(primary.ask("PUBLISH", "others", "1"))
    assert "NOAUTH" in str(primary.ask("GET", "l:a", login={})) or primary.ask("GET", "l:a", login={}) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("/boltlink", "/nosuch"), "knows no service 'nosuch'"),
        (("change-me-sentinels", "wrong"), "refuses our password"),
        (("change-me-boltlink", "wrong"), "invalid username-password"),
    ],
)
def test_what_is_wrong_is_said_without_passwords(sentinels: SentinelSet, change: tuple[str, str], said: str) -> None:
    async def scenario() -> None:
        async with opened(sentinels.url.replace(*change)) as client:
            with pytest.raises(RedisError) as caught:
                await client.ping()
            text = f"{caught.value} {caught.value!r} {client!r} {client.connection_pool!r}"
            assert said in text
            assert "change-me" not in text
            assert "wrong" not in text.replace("wrong number", "")

    asyncio.run(scenario())


def test_servers_are_counted_and_doctor_judges_them(sentinels: SentinelSet, cluster: RedisCluster) -> None:
    async def scenario() -> None:
        wait_for(sentinels.is_whole)
        async with opened(sentinels.url) as client:
            assert await client.members() == {"redis": Members(3, 3), "sentinel": Members(3, 3)}
            assert (await about_servers(client)).state == "ok"
            sentinels.sentinels[0].kill()
            assert (await client.members())["sentinel"] == Members(2, 3)
            finding = await about_servers(client)
            assert (finding.state, "2 of 3 sentinels" in finding.found) == ("warn", True)
            sentinels.sentinels[1].kill()
            assert (await about_servers(client)).state == "fail"
            for sentinel in sentinels.sentinels[:2]:
                sentinel.run()
            sentinels.replicas()[0].kill()
            await wait_until_true(lambda: is_judged(client, "warn", "2 are known"))
        sentinels.mend()
        async with opened(cluster.url) as client:
            await wait_until_true(lambda: is_judged(client, "ok", f"{cluster.NODES} of {cluster.NODES} nodes"))
            assert (await client.members())["redis"] == Members(cluster.NODES, cluster.NODES)
            cluster.servers[-1].kill()
            await wait_until_true(lambda: is_judged(client, "warn", f"{cluster.NODES - 1} of {cluster.NODES} nodes"))
        cluster.mend()

    asyncio.run(scenario())


async def is_judged(client: RedisClient, state: str, said: str) -> bool:
    finding = await about_servers(client)
    return finding.state == state and said in finding.found


def test_a_primary_that_may_not_be_written_to_does_not_beat(
    sentinels: SentinelSet, with_stores: Callable[..., None]
) -> None:
    primary = sentinels.primary()

    async def scenario(stores: Stores) -> None:
        async with opened(sentinels.url) as client:
            process = Process(stores, client)
            listening = asyncio.create_task(process.channel.run())
            await wait_until(lambda: process.channel.is_live)
            assert not process.resolver.is_redis_doubted
            primary.admin("CONFIG SET", "min-replicas-to-write", 5)
            await wait_until(lambda: not process.channel.is_live and process.resolver.is_redis_doubted, limit_s=2.9)
            primary.admin("CONFIG SET", "min-replicas-to-write", 1)
            await wait_until(lambda: process.channel.is_live and not process.resolver.is_redis_doubted)
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    with_stores(scenario)


def test_sentinels_that_are_down_are_done_without(sentinels: SentinelSet) -> None:
    async def scenario() -> None:
        async with opened(sentinels.url) as client:
            sentinels.sentinels[0].kill()
            assert await client.ping()
            for sentinel in sentinels.sentinels[1:]:
                sentinel.kill()
            assert await client.ping()
            with pytest.raises(RedisError, match="does not answer"):
                await client.look()
            assert await client.set("l:/a", b"1")
        async with opened(sentinels.url) as stranger:
            with pytest.raises(RedisError, match="no primary of 'boltlink'"):
                await stranger.ping()
            for sentinel in sentinels.sentinels[:2]:
                sentinel.run()
            await wait_until_true(stranger.ping)

    asyncio.run(scenario())
    sentinels.mend()


async def wait_until_true(ask: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while True:
            with suppress(RedisError):
                if await ask():
                    return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://h",
        "redis+sentinel://h/",
        "redis+sentinel://h/s/x",
        "redis+sentinel:///s",
        "redis+sentinel://h,/s",
        "redis+sentinel://h:0/s",
        "redis+sentinel://h:99999/s",
        "redis+sentinel://h,h/s",
        "redis+sentinel://u:hunter2@h/s?password=hunter2",
        "redis+sentinel://u:hunter2@h/s?ssl_ca_certs=/none",
        "rediss+sentinel://u:hunter2@h/s?ssl_ca_certs=/none",
        "rediss+cluster://u:hunter2@h/?ssl_cert_reqs=perhaps",
        "rediss+cluster://u:hunter2@h/?ssl_check_hostname=maybe",
        "redis+cluster://h/1",
        "redis+cluster://u:hunter2@h/?sentinel_password=hunter2",
        "redis+other://u:hunter2@h",
        "redis+cluster://u:hunter2 @ h/",
    ],
)
def test_wrong_url_is_refused_at_start_and_not_repeated(url: str) -> None:
    with pytest.raises(SettingsError, match=r"BOLTLINK_REDIS_URL: '.hidden.' is not a ") as caught:
        Settings.from_environ({"BOLTLINK_REDIS_URL": url})
    assert "hunter2" not in str(caught.value)


def test_url_is_read_as_it_is_meant(tmp_path: Path) -> None:
    (tmp_path / "ca").touch()
    url = f"rediss+sentinel://u:p%40@a,[::1]:7,c/s/3?sentinel_password=x%20y&ssl_ca_certs={tmp_path}/ca"
    place = read_redis_place(url)
    assert place is not None
    assert place.hosts == (("a", 26379), ("::1", 7), ("c", 26379))
    assert (place.service, place.database, place.username, place.password) == ("s", 3, "u", "p@")
    assert (place.sentinel_username, place.sentinel_password) == (None, "x y")
    assert place.tls == {"ssl_ca_certs": f"{tmp_path}/ca", "ssl_check_hostname": True}
    assert "p@" not in repr(place)
    assert read_redis_place("redis://h/0") is None
