"""How pages are read: only their beginning, only from where anybody may read, and never for long."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from app.outbound import FetchError, Guard, Page, PageReader, RefusedUrlError, UnaskedError
from app.outbound.guard import Address, UnaskedNameError
from app.outbound.page import in_turns

BYTES_MAX = 64 * 1024
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
Write = Callable[[asyncio.StreamWriter, str], Awaitable[None]]


@asynccontextmanager
async def serving(write: Write) -> AsyncIterator[str]:
    """A server that answers each request, by its path, as `write` does."""

    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                head = await reader.readuntil(b"\r\n\r\n")
                await write(writer, head.split()[1].decode())
                writer.close()
                await writer.wait_closed()
        finally:
            writer.transport.abort()

    def on_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(on_client, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answering(*answers: bytes) -> Write:
    async def write(writer: asyncio.StreamWriter, path: str) -> None:
        for answer in answers:
            writer.write(answer)
            await writer.drain()

    return write


def reader(*, networks: tuple[str, ...] = ("127.0.0.0/8",), answer_s: float = 5.0) -> PageReader:
    guard = Guard([ipaddress.ip_network(network) for network in networks])
    return PageReader(guard, answer_s=answer_s, bytes_max=BYTES_MAX)


async def read(write: Write, path: str = "/", *, mark: bytes = b"\0", answer_s: float = 5.0) -> Page:
    async with serving(write) as url:
        return await reader(answer_s=answer_s).read(url + path, lambda start, new: mark in start)


def test_no_more_is_read_than_is_enough() -> None:
    sent = 0

    async def endless(writer: asyncio.StreamWriter, path: str) -> None:
        nonlocal sent
        writer.write(HEAD + b"\r\n")
        with suppress(OSError):
            while sent < 10_000:
                sent += 1
                writer.write(b"<mark>" + b"x" * 10_000)
                await writer.drain()

    page = asyncio.run(read(endless, mark=b"<mark>"))
    assert (page.status, page.type) == (200, "text/html")
    assert page.start.startswith(b"<mark>")
    assert len(asyncio.run(read(endless)).start) == BYTES_MAX
    assert sent < 10_000, "the connection stayed open"


@pytest.mark.parametrize(
    "answers",
    [
        (HEAD + b"Content-Length: 5\r\n\r\nhello",),
        (HEAD + b"\r\nhello",),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[b"1\r\n%c\r\n" % char for char in b"hello"], b"0\r\n\r\n"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3, HEAD + b"Content-Length: 5\r\n\r\nhello"),
    ],
    ids=["sized", "until the end", "chunked", "after hints"],
)
def test_an_answer_is_read_however_it_is_framed(answers: tuple[bytes, ...]) -> None:
    assert asyncio.run(read(answering(*answers))).start == b"hello"


async def leading_on(writer: asyncio.StreamWriter, path: str) -> None:
    steps = int(path.rpartition("/")[2])
    if steps:
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: ../step/%d\r\nContent-Length: 4\r\n\r\ngone" % (steps - 1))
    else:
        writer.write(HEAD + b"Content-Length: 4\r\n\r\nhere")
    await writer.drain()


def test_redirects_are_followed_but_not_for_ever() -> None:
    assert asyncio.run(read(leading_on, "/step/5")).start == b"here"
    with pytest.raises(FetchError, match="more than 5 times"):
        asyncio.run(read(leading_on, "/step/6"))


def test_a_redirect_is_followed_as_browsers_do_where_its_path_is_bare_utf_8() -> None:
    asked = []

    async def write(writer: asyncio.StreamWriter, path: str) -> None:
        asked.append(path)
        there = HEAD + b"Content-Length: 4\r\n\r\nhere"
        writer.write(there if len(asked) > 1 else b"HTTP/1.1 302 Found\r\nLocation: /caf\xc3\xa9 %7E\r\n\r\n")
        await writer.drain()

    assert asyncio.run(read(write)).start == b"here"
    assert asked == ["/", "/caf%C3%A9%20%7E"]


@pytest.mark.parametrize(
    "location", ["http://10.0.0.1/", "http://[::1]/", "http://169.254.169.254/latest", "file:///etc"]
)
def test_a_redirect_leads_nowhere_that_the_url_could_not(location: str) -> None:
    answer = b"HTTP/1.1 301 Moved\r\nLocation: %s\r\n\r\n" % location.encode()
    with pytest.raises(FetchError, match=r"public address|no URL|no web page"):
        asyncio.run(read(answering(answer)))


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://localhost/", "http://u@a.example/", "ftp://a.example/", "x"]
)
def test_what_is_not_public_is_not_asked(url: str) -> None:
    with pytest.raises(FetchError):
        asyncio.run(reader(networks=()).read(url, lambda start, new: True))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"no HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 70_000,
    ],
    ids=["nothing", "no HTTP", "no length", "endless head"],
)
def test_what_is_no_answer_is_an_error(answer: bytes) -> None:
    with pytest.raises(FetchError):
        asyncio.run(read(answering(answer)))


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 103 Hi\r\n\r\n" * 20_000, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 40_000],
    ids=["heads", "chunks"],
)
def test_what_is_sent_around_a_page_ends_it(answer: bytes) -> None:
    with pytest.raises(FetchError, match="more around its page"):
        asyncio.run(read(answering(answer)))


def test_nobody_is_waited_for_long_and_many_small_pieces_hold_up_nobody() -> None:
    async def silent(writer: asyncio.StreamWriter, path: str) -> None:
        await asyncio.sleep(30)

    began_s = time.monotonic()
    with pytest.raises(FetchError, match="did not answer within"):
        asyncio.run(read(silent, answer_s=0.2))
    assert time.monotonic() - began_s < 10

    async def beside() -> float:
        longest_s, done = 0.0, asyncio.Event()

        async def watch() -> None:
            nonlocal longest_s
            while not done.is_set():
                at_s = time.thread_time()
                await asyncio.sleep(0)
                longest_s = max(longest_s, time.thread_time() - at_s)

        watching = asyncio.create_task(watch())
        pieces = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 25_000 + b"0\r\n\r\n"
        assert len((await read(answering(pieces))).start) == 25_000
        done.set()
        await watching
        return longest_s

    assert asyncio.run(beside()) < 0.1


def test_a_body_that_is_not_wanted_is_not_waited_for() -> None:
    heads = []

    async def silent(writer: asyncio.StreamWriter, path: str) -> None:
        heads.append(path)
        writer.write(HEAD + b"Content-Length: 900\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(30)

    async def scenario() -> Page:
        guard = Guard([ipaddress.ip_network("127.0.0.0/8")])
        async with serving(silent) as url:
            return await PageReader(guard, answer_s=20.0, bytes_max=0, accept="*/*").read(url + "/a", lambda *_: False)

    assert asyncio.run(scenario()) == Page(200, "text/html", b"")
    assert heads == ["/a"]


def test_what_lies_on_this_side_says_nothing_of_a_page() -> None:
    """No name server, and no way to an address of a kind that this machine has none of: neither is an answer."""
    found: dict[str, list[Address]] = {"far.example": [(socket.AF_INET6, ("2001:4860:4860::8888", 9))]}

    async def look_up(host: str, port: int) -> Sequence[Address]:
        if host in found:
            return found[host]
        raise UnaskedNameError("no name server") if host == "silent.example" else OSError("no such name")

    async def ask(host: str) -> None:
        await PageReader(Guard((), look_up), answer_s=2.0, bytes_max=0).read(f"http://{host}/", lambda *_: True)

    with pytest.raises(UnaskedError, match="no name server"):
        asyncio.run(ask("silent.example"))
    with pytest.raises(FetchError, match="no such name") as refused:
        asyncio.run(ask("none.example"))
    assert type(refused.value) is FetchError
    found["inside.example"] = [(socket.AF_INET, ("10.0.0.1", 80))]
    with pytest.raises(RefusedUrlError, match="not public"):
        asyncio.run(ask("inside.example"))
    if not has_way("2001:4860:4860::8888"):
        with pytest.raises(UnaskedError):
            asyncio.run(ask("far.example"))


def has_way(address: str) -> bool:
    """Whether this machine knows a way to an address; nothing is sent."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asked:
            asked.connect((address, 9))
    except OSError:
        return False
    return True


def test_the_first_address_that_fails_says_why() -> None:
    """The system sorts those last to which there is no way: of a page that refuses by IPv4 it is no matter of ours."""

    async def scenario() -> None:
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()

        async def look_up(host: str, asked: int) -> Sequence[Address]:
            return [(socket.AF_INET, ("127.0.0.1", asked)), (socket.AF_INET6, ("2001:4860:4860::8888", asked))]

        guard = Guard([ipaddress.ip_network("127.0.0.0/8")], look_up)
        with pytest.raises(FetchError) as refused:
            await PageReader(guard, answer_s=20.0, bytes_max=0).read(f"http://a.example:{port}/", lambda *_: True)
        assert type(refused.value) is FetchError
        assert isinstance(refused.value.__cause__, ConnectionRefusedError)

    asyncio.run(scenario())


def test_addresses_are_tried_of_each_kind_in_turn() -> None:
    """A way by IPv6 that leads nowhere would be all that is tried of a host with many such addresses."""
    six, four = socket.AF_INET6, socket.AF_INET
    found: list[Address] = [(six, "a"), (six, "b"), (six, "c"), (four, "d"), (four, "e")]
    assert in_turns(found) == [(six, "a"), (four, "d"), (six, "b"), (four, "e"), (six, "c")]
    assert in_turns(found[::-1]) == [(four, "e"), (six, "c"), (four, "d"), (six, "b"), (six, "a")]
    assert in_turns(found[:2]) == found[:2]
