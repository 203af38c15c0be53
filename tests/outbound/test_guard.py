"""Which addresses may be asked where a caller of the API named the URL."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from app.outbound import Fetcher, FetchError, Guard, UnknownNameError
from app.outbound.guard import UnaskedNameError, look_up
from tests.outbound.test_fetch import http, serving

#: Addresses, one a word: a line is a sort of them.
CLOSED = (
    "0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.254 169.254.0.1 "
    "169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.170 192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 "
    "168.63.129.16 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 "
    ":: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0:127.0.0.1 64:ff9b::7f00:1 "
    "64:ff9b::a9fe:a9fe 64:ff9b:1::1 100::1 100:0:0:1::1 2001::1 2001:2::1 2001:10::1 2001:20::1 2001:db8::1 "
    "2002:7f00:1:: 2002:a9fe:a9fe::1 3fff::1 5f00::1 fc00::1 fd12:3456::1 fe80::1 fe80::1%eth0 febf::1 fec0::1 "
    "ff02::1 ff0e::1 not-an-address 127.1 0x7f.1 2130706433"
)
OPEN = (
    "1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.1 172.15.255.255 172.32.0.1 192.0.1.1 198.17.255.255 198.20.0.1 "
    "223.255.255.255 2606:4700:4700::1111 2a00:1450:4001::1 64:ff9b::808:808 ::ffff:8.8.8.8 2002:808:808::1"
)


@pytest.mark.parametrize("address", CLOSED.split(" "))
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    async def scenario() -> None:
        guard = Guard(lookup=saying(address))
        assert not guard.allows(address)
        with pytest.raises(OSError, match="not public"):
            await guard.resolve("any.example", 443)

    asyncio.run(scenario())


@pytest.mark.parametrize("address", OPEN.split(" "))
def test_a_public_address_is_allowed(address: str) -> None:
    assert Guard().allows(address)


def test_networks_that_the_operator_names_are_allowed_and_nothing_beside_them() -> None:
    guard = Guard([ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00:1::/32")])
    assert [guard.allows(one) for one in ("10.1.2.3", "::ffff:10.1.2.3", "10.2.0.1", "fd00:1::5", "fd00:2::1")] == [
        *(True, True, False, True, False)
    ]


def saying(*addresses: str) -> Callable[[str, int], Awaitable[Sequence[tuple[int, Any]]]]:
    """A name server that says each of these in turn, the last one for ever."""
    left = list(addresses)

    async def lookup(host: str, port: int) -> Sequence[tuple[int, Any]]:
        address = left.pop(0) if len(left) > 1 else left[0]
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [(family, (address, port))]

    return lookup


def test_of_a_name_with_several_addresses_the_public_ones_are_asked() -> None:
    async def lookup(host: str, port: int) -> Sequence[tuple[int, Any]]:
        return [(socket.AF_INET, ("127.0.0.1", port)), (socket.AF_INET, ("8.8.8.8", port))]

    assert asyncio.run(Guard(lookup=lookup).resolve("a.example", 443)) == [(socket.AF_INET, ("8.8.8.8", 443))]


def test_a_name_that_is_asked_twice_and_says_another_address_leads_nowhere() -> None:
    """The connection goes to what was judged: with a look-up of its own it would reach the server, which is there."""

    async def scenario() -> None:
        asked: list[str] = []

        async def lookup(host: str, port: int) -> Sequence[tuple[int, Any]]:
            asked.append(host)
            return [(socket.AF_INET, ("127.0.0.1", port))]

        async with serving(http(b"inside")) as url:
            port = url.rsplit(":", 1)[1]
            open_ = Fetcher(allows_http=True, guard=Guard([ipaddress.ip_network("127.0.0.0/8")], lookup))
            assert (await open_.post(f"http://rebind.example:{port}", b"", {})).body == b"inside"
            assert asked == ["rebind.example"]
            closed = Fetcher(allows_http=True, guard=Guard((), lookup))
            for host in ("rebind.example", "localhost.example", "127.1", "0x7f000001", "2130706433"):
                with pytest.raises(FetchError, match="not public"):
                    await closed.post(f"http://{host}:{port}", b"", {})

    asyncio.run(scenario())


def test_a_silent_name_server_is_asked_once_however_often_a_name_is_wanted() -> None:
    async def scenario() -> None:
        asked, silence = list[str](), asyncio.Event()

        async def lookup(host: str, port: int) -> Sequence[tuple[int, Any]]:
            asked.append(host)
            await silence.wait()
            raise OSError("no such name")

        guard = Guard(lookup=lookup)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await guard.resolve("silent.example", 443)
        waiting = [asyncio.create_task(guard.resolve(name, 443)) for name in ("silent.example", "b.example")]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert asked == ["silent.example", "b.example"]
        silence.set()
        for task in waiting:
            with pytest.raises(OSError, match="no such name"):
                await task
        with pytest.raises(OSError, match="no such name"):
            await guard.resolve("silent.example", 443)
        assert len(asked) == 3

    asyncio.run(scenario())


def test_who_asks_for_many_names_of_silent_servers_leaves_some_to_others() -> None:
    async def scenario() -> None:
        silence = asyncio.Event()

        async def lookup(host: str, port: int) -> Sequence[tuple[int, Any]]:
            await silence.wait()
            return [(socket.AF_INET, ("8.8.8.8", port))]

        guard = Guard((), lookup, 2)
        waiting = [asyncio.create_task(guard.resolve(f"{n}.example", 443)) for n in (0, 1, 0)]
        await asyncio.sleep(0)
        with pytest.raises(OSError, match="too many names"):
            await guard.resolve("2.example", 443)
        silence.set()
        await asyncio.gather(*waiting)
        assert await guard.resolve("2.example", 443) == [(socket.AF_INET, ("8.8.8.8", 443))]

    asyncio.run(scenario())


def test_names_are_looked_up_by_the_system_where_nothing_else_is_said() -> None:
    async def scenario() -> None:
        with pytest.raises(OSError, match="not public"):
            await Guard().resolve("localhost", 443)
        with pytest.raises(UnknownNameError, match=r"^x{70}\.example: "):
            await Guard().resolve("x" * 70 + ".example", 443)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        *(
            (code, UnaskedNameError)
            for code in (socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_MEMORY, socket.EAI_SYSTEM)
        ),
        (socket.EAI_NONAME, UnknownNameError),
    ],
)
def test_silence_of_name_servers_is_no_word_of_theirs(
    code: int, kind: type[OSError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object, **named: object) -> None:
        raise socket.gaierror(code, "words of the system")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(OSError, match=r"^a\.example: words of the system$") as refused:
        asyncio.run(look_up("a.example", 80))
    assert type(refused.value) is kind


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://hooks.example.com/",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://localhost/x",
            "ftp://a.example/",
        ),
        *(
            "https://a.localhost/",
            "https://169.254.169.254/latest/meta-data",
            "https://[::ffff:10.0.0.1]/",
            "https://a b/",
        ),
        *("https://user:pass@a.example/", "https://a.example/\r\nX-Injected: 1", "https://a.example/#x", "https://"),
        *("https://[fe80::1%25eth0]/", "javascript:alert(1)", "https://é.example/"),
    ],
)
def test_a_url_that_is_refused_is_refused_when_it_is_named(url: str) -> None:
    async def scenario() -> None:
        with pytest.raises(FetchError):
            Fetcher(allows_http=False, guard=Guard()).check(url)

    asyncio.run(scenario())


def test_redirects_lead_nowhere() -> None:
    async def scenario() -> None:
        here = [ipaddress.ip_network("127.0.0.0/8")]
        fields = b"Location: http://169.254.169.254/latest/meta-data/\r\n"
        async with serving(http(b"", status=b"307 Temporary Redirect", fields=fields)) as url:
            answer = await Fetcher(allows_http=True, guard=Guard(here)).post(url, b"{}", {})
            assert answer.status == 307

    asyncio.run(scenario())
