"""Replies come in order and whole, however they were cut; a lost or given-up connection costs what was under way."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import ResponseError

from app.settings import Settings
from app.stores import Pipe, command, open_redis, redis_socket
from app.stores.embedded import find_engine
from app.stores.pipe import CALLS_MAX, Reply, _Call, _Link, take_replies
from tests.conftest import Engines, Stores, accepts, wait_for, wait_until

With = Callable[[Callable[[Stores], Awaitable[None]]], None]
PING = command(b"PING")


def test_replies_have_the_order_of_commands(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        pipe = Pipe(stores.redis)
        value = b"\r\n$5\r\n\x00\xff" * 30_000  # more than one read brings
        words = [(b"SET", b"a", value), (b"GET", b"a"), (b"GET", b"none"), (b"INCR", b"n"), (b"GET", b"n")]
        replies = await pipe.ask(b"".join(command(*each) for each in words), len(words))
        assert replies == [b"OK", value, None, 1, b"1"]
        one, two = await asyncio.gather(pipe.ask(command(b"GET", b"a"), 1), pipe.ask(command(b"GET", b"n"), 1))
        assert (one, two) == ([value], [b"1"])

    with_stores(scenario)


def test_an_error_is_raised_and_the_other_commands_are_carried_out(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        pipe = Pipe(stores.redis)
        commands = command(b"SET", b"a", b"1") + command(b"LPUSH", b"a", b"x") + command(b"NO") + command(b"INCR", b"a")
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            await pipe.ask(commands, 4)
        assert await pipe.ask(command(b"GET", b"a"), 1) == [b"2"]

    with_stores(scenario)


def test_a_lost_connection_fails_what_is_under_way_and_the_next_call_has_a_new_one(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        pipe = Pipe(stores.redis)
        number = (await pipe.ask(command(b"CLIENT", b"ID"), 1))[0]
        assert isinstance(number, int)
        calls = [asyncio.create_task(pipe.ask(command(b"BLPOP", b"l", b"0"), 1)) for _ in range(3)]
        await wait_for_calls(pipe, 3)
        await stores.redis.client_kill_filter(_id=str(number))
        assert [type(failure) for failure in await asyncio.gather(*calls, return_exceptions=True)] == [LostError] * 3
        assert await pipe.ask(PING * 2, 2) == [b"PONG"] * 2
        assert len(stores.redis.connection_pool._in_use_connections) == 1

    with_stores(scenario)


def test_who_gives_up_ends_the_connection(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        pipe = Pipe(stores.redis)
        await pipe.ask(PING, 1)
        other = asyncio.create_task(pipe.ask(command(b"BLPOP", b"l", b"0"), 1))
        await wait_for_calls(pipe, 1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await pipe.ask(PING, 1)  # waits behind the other
        with pytest.raises(LostError, match="took too long"):
            await other
        assert await pipe.ask(PING, 1) == [b"PONG"]

    with_stores(scenario)


def test_more_calls_than_the_limit_are_refused(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        pipe = Pipe(stores.redis)
        await pipe.ask(PING, 1)
        calls = [asyncio.create_task(pipe.ask(command(b"BLPOP", b"l", b"1"), 1)) for _ in range(CALLS_MAX)]
        await wait_for_calls(pipe, CALLS_MAX)
        with pytest.raises(LostError, match="too many"):
            await pipe.ask(PING, 1)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    with_stores(scenario)


def test_many_calls_wait_for_one_connection(with_stores: With) -> None:
    async def scenario(stores: Stores) -> None:
        pipe = Pipe(stores.redis)
        assert await asyncio.gather(*(pipe.ask(PING, 1) for _ in range(20))) == [[b"PONG"]] * 20
        given_up = Pipe(stores.redis)
        first = asyncio.create_task(given_up.ask(PING, 1))
        second = asyncio.create_task(given_up.ask(PING, 1))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == [b"PONG"]
        assert len(stores.redis.connection_pool._in_use_connections) == 2

    with_stores(scenario)


def test_with_redis_away_each_call_fails_until_it_is_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        client = open_redis(f"unix://{tmp_path}/r.sock")
        pipe = Pipe(client)
        for _ in range(40):  # more than the pool holds
            with pytest.raises(LostError):
                await pipe.ask(PING, 1)
        process = start_redis(tmp_path / "r.sock")
        try:
            await wait_until(lambda: accepts(tmp_path / "r.sock"))
            assert await pipe.ask(PING, 1) == [b"PONG"]
        finally:
            process.kill()
            process.wait()
            await client.aclose()

    asyncio.run(scenario())


def test_a_primary_that_became_a_replica_is_left(tmp_path: Path) -> None:
    path = tmp_path / "r.sock"
    process = start_redis(path)

    async def scenario() -> None:
        client = open_redis(f"unix://{path}")
        pipe = Pipe(client)
        first = await pipe.ask(command(b"CLIENT", b"ID"), 1)
        await pipe.ask(command(b"REPLICAOF", b"127.0.0.1", b"1"), 1)
        with pytest.raises(ResponseError, match="READONLY"):
            await pipe.ask(PING + command(b"SET", b"a", b"1"), 2)
        assert await pipe.ask(command(b"CLIENT", b"ID"), 1) != first
        await client.aclose()

    try:
        wait_for(lambda: accepts(path))
        asyncio.run(scenario())
    finally:
        process.kill()
        process.wait()


def start_redis(path: Path, *words: str) -> subprocess.Popen[bytes]:
    engine = find_engine("redis", Settings.from_environ({"BOLTLINK_STATE_DIR": str(path.parent)}))
    command = [str(engine), "--port", "0", "--unixsocket", str(path), "--save", "", *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_password_and_database_are_those_of_the_url(run: Callable[[Awaitable[None]], None], tmp_path: Path) -> None:
    path = tmp_path / "r.sock"
    process = start_redis(path, "--requirepass", "secret")

    async def scenario() -> None:
        for words in ("db=3&protocol=2", "db=3&protocol=3"):
            client = open_redis(f"unix://:secret@{path}?{words}")
            pipe = Pipe(client)
            commands = [command(b"SELECT", b"0"), command(b"SET", b"a", b"zero"), command(b"SELECT", b"3")]
            assert await pipe.ask(b"".join([command(b"DEL", b"a"), command(b"SET", b"a", b"three"), *commands]), 5)
            assert await pipe.ask(command(b"GET", b"a") + command(b"GET", b"b"), 2) == [b"three", None]
            await client.aclose()
        stranger = open_redis(f"unix://:wrong@{path}")
        with pytest.raises(LostError, match="invalid username-password"):
            await Pipe(stranger).ask(PING, 1)
        await stranger.aclose()

    try:
        wait_for(lambda: accepts(path))
        run(scenario())
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_what_comes_over_tls_is_read_the_same(
    run: Callable[[Awaitable[None]], None], engines: Engines, tmp_path: Path
) -> None:
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*made, "-keyout", "key.pem", "-out", "cert.pem"], cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")

    async def scenario() -> None:
        async with relay(redis_socket(engines.settings), context) as port:
            client = open_redis(f"rediss://localhost:{port}/?ssl_ca_certs={tmp_path}/cert.pem")
            value = b"v" * 100_000
            pipe = Pipe(client)
            assert await pipe.ask(command(b"SET", b"t", value) + command(b"GET", b"t"), 2) == [b"OK", value]
            await client.aclose()

    run(scenario())


@asynccontextmanager
async def relay(path: Path, context: ssl.SSLContext) -> AsyncIterator[int]:
    """A port that speaks TLS before a Redis that does not."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def on_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, before = await asyncio.open_unix_connection(str(path))
        await asyncio.gather(pass_on(reader, before), pass_on(behind, writer))

    server = await asyncio.start_server(on_client, "localhost", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]
        server.close()
        await asyncio.sleep(0.05)  # what a client closed is closed here too


async def wait_for_calls(pipe: Pipe, count: int) -> None:
    await wait_until(lambda: pipe._link is not None and len(pipe._link._calls) == count)


@given(
    st.lists(st.one_of(st.binary(max_size=40), st.none(), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=20),
    st.data(),
)
def test_replies_are_the_same_wherever_the_bytes_are_cut(replies: list[Reply], data: st.DataObject) -> None:
    whole = b"".join(encode(reply) for reply in replies)
    call = new_call(len(replies))
    rest, at = b"", 0
    while at < len(whole):
        size = data.draw(st.integers(1, len(whole) - at))
        rest += whole[at : at + size]
        at += size
        taken = take_replies(rest, 0, call)
        rest = rest[taken:]
    assert (call.replies, rest, call.errors) == (replies, b"", {})


@pytest.mark.parametrize(
    "rubbish", [b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", b"HTTP/1.1 400\r\n", b"$x\r\n", b"$" + b"1" * 70_000]
)
def test_what_is_no_reply_is_refused(rubbish: bytes) -> None:
    with pytest.raises(ValueError, match=r"Redis sent|invalid literal|Exceeds"):
        take_replies(rubbish, 0, new_call(1))


@pytest.mark.parametrize(
    ("said", "reply"), [(b"*1\r\n", None), (b"+PONG\r\n+MORE\r\n", [b"PONG"]), (b"", None), (b"+PO", None)]
)
def test_rubbish_surplus_and_the_end_lose_the_connection(said: bytes, reply: list[Reply] | None) -> None:
    async def scenario() -> None:
        mine, theirs = socket.socketpair()
        with theirs:
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=mine)
            link = _Link(transport)
            call = asyncio.create_task(link.ask(PING, 1))
            await loop.run_in_executor(None, theirs.recv, 100)
            theirs.sendall(said)
            if not said.endswith(b"\n"):
                theirs.shutdown(socket.SHUT_WR)
            if reply is None:
                with pytest.raises(LostError):
                    await call
            else:
                assert await call == (reply, {})
            assert link.is_lost
            await wait_until(transport.is_closing)

    asyncio.run(scenario())


def new_call(count: int) -> _Call:
    loop = asyncio.new_event_loop()
    try:
        return _Call(count, loop.create_future())
    finally:
        loop.close()


def encode(reply: Reply) -> bytes:
    if reply is None:
        return b"$-1\r\n"
    return b":%d\r\n" % reply if isinstance(reply, int) else b"$%d\r\n%b\r\n" % (len(reply), reply)
